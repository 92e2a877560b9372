"""Proves that recipes save what they train, that systems load it, and that the same seed gives the same weights."""

import pytest
import torch

from vidseg_utils.evaluation.evaluate import evaluate_system
from vidseg_utils.models.sequence_translators import FactoredTransformer, RecurrentTranslator
from vidseg_utils.models.translators import GatedAttention, Inception, TemporalAttention
from vidseg_utils.systems import SYSTEMS, build_system
from vidseg_utils.systems.mask_simvp.recipe import MaskSimVPRecipe
from vidseg_utils.systems.simvp_unet import SimVPRecipe
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.training.fit_config import truth_probability
from vidseg_utils.training.weights import load_model

TRANSLATORS = {
    "inception": Inception,
    "gsta": GatedAttention,
    "tau": TemporalAttention,
    "transformer": FactoredTransformer,
    "convlstm": RecurrentTranslator,
}


def trained(workspace, runs):
    here = workspace(runs)
    SYSTEMS["simvp_unet"].train(here)
    return here


def test_a_trained_system_is_loaded_and_scored(workspace):
    here = trained(workspace, "runs")
    system = build_system("simvp_unet", workspace=here)
    metrics = evaluate_system(system, here.split("val"), progress=False).metrics
    assert 0 <= metrics["jaccard"] <= 1
    assert metrics["parameters"] == sum(p.numel() for network in system.modules() for p in network.parameters())
    assert metrics["gflops_per_video"] > 0


def test_the_same_seed_gives_the_same_weights_bit_for_bit(workspace):
    torch.manual_seed(1)  # earlier random draws must not matter
    first = trained(workspace, "first")
    torch.manual_seed(2)
    second = trained(workspace, "second")
    for name in ("unet", "simvp"):
        weights = [here.run_folder(name) / "weights.safetensors" for here in (first, second)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_finished_run_is_not_trained_again(workspace):
    here = trained(workspace, "runs")
    path = here.run_folder("unet") / "weights.safetensors"
    before = path.stat().st_mtime_ns
    trained(workspace, "runs")
    assert path.stat().st_mtime_ns == before


def test_a_rollout_is_trained_loaded_and_scored(workspace):
    here = workspace(sizes={"simvp.epochs": 2})
    SYSTEMS["simvp_rollout_unet"].train(here)
    system = build_system("simvp_rollout_unet", workspace=here)
    assert 0 <= evaluate_system(system, here.split("val"), progress=False).metrics["jaccard"] <= 1
    past = torch.rand(1, 11, 3, 40, 60)
    frames = system.predictor(past)
    assert frames.shape == past.shape
    window = torch.cat([past[:, 1:], frames[:, :1]], dim=1)
    torch.testing.assert_close(frames[:, 1], system.predictor.model(window)[:, -1])  # its own output was the input


@pytest.mark.parametrize(("translator", "part"), TRANSLATORS.items())
def test_every_translator_is_trained_and_loaded_for_frames_and_for_masks(workspace, translator, part):
    here = workspace()
    for name, recipe in (("frames", SimVPRecipe), ("masks", MaskSimVPRecipe)):
        run = here.run_folder(f"{name}_{translator}")
        more = {"train_on": "true"} if name == "masks" else {}
        recipe(here, translator=translator, **more).train(run)
        network = load_model(run)
        assert isinstance((network.simvp if name == "masks" else network).translator, part)


def test_the_loss_compares_all_future_frames_or_only_the_last(workspace):
    """A network that answers 0 where only frame 21 is white: 1 for the last frame, 1/11 for all of them."""
    frames = torch.zeros(2, 22, 3, 8, 8, dtype=torch.uint8)
    frames[:, -1] = 255
    for loss_frames, expected in (("all", 1 / 11), ("last", 1.0)):
        recipe = SimVPRecipe(workspace(), loss_frames=loss_frames)
        assert recipe.step(torch.zeros_like, {"frames": frames}).item() == pytest.approx(expected)


def test_scheduled_sampling_goes_from_true_frames_to_own_outputs():
    assert [truth_probability(epoch, 3) for epoch in (1, 2, 3)] == [1, 0.5, 0]
    assert truth_probability(1, 1) == 1


def test_a_run_of_another_augmentation_is_refused(workspace):
    here = workspace()
    SegmenterRecipe(here, augmentation=()).train()
    SegmenterRecipe(here, augmentation=()).train()  # loaded
    with pytest.raises(ValueError, match="augmentation"):
        SegmenterRecipe(here, augmentation=("hflip",)).train()


def test_training_can_start_from_the_weights_of_a_run_at_another_size(workspace):
    small, _ = SegmenterRecipe(workspace(sizes={"unet.learning_rate": 1e-2})).train()
    here = workspace(sizes={"height": 80, "width": 120, "unet.learning_rate": 1e-9})
    large, _ = SegmenterRecipe(here, start_from="unet-smoke").train(here.run_folder("large"))
    weights = small.head.scores.weight
    torch.testing.assert_close(large.head.scores.weight, weights, rtol=0, atol=1e-6)
    fresh, _ = SegmenterRecipe(here).train(here.run_folder("fresh"))
    assert (fresh.head.scores.weight - weights).abs().max() > 1e-3
    with pytest.raises(ValueError, match=r"unet-nobody.*train it first"):
        SegmenterRecipe(here, start_from="unet-nobody").train(here.run_folder("other"))


def test_a_finished_segmenter_is_loaded_whatever_its_epochs_unless_epochs_are_given(workspace):
    here = workspace()
    SegmenterRecipe(workspace(sizes={"unet.epochs": 2}), augmentation=()).train()
    SegmenterRecipe(here).train()
    with pytest.raises(ValueError, match="epochs: 2 in the folder, 3 now"):
        SegmenterRecipe(workspace(sizes={"unet.epochs": 3})).train()
