"""Proves that the six stages are trained one by one, also with some skipped, and that the final system works."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers import fill_cache
from vidseg_utils.data import ClipDataset
from vidseg_utils.evaluation.evaluate import evaluate_system
from vidseg_utils.models import build_model, parameter_count
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import SYSTEMS, Workspace, build_system
from vidseg_utils.systems.semi_supervised import STAGES, SemiSupervisedSimVP, Stages
from vidseg_utils.systems.semi_supervised.forecaster import class_logits, forecaster_model, fresh_forecaster
from vidseg_utils.training.losses import build_loss
from vidseg_utils.training.weights import load_model, save_model

PROFILE = get_profile(
    "smoke",
    {"height": 16, "width": 24, "unet.base_channels": 4, "unet.frames_every": 11, "simvp.hid_t": 8},
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three training, two validation and two unlabelled videos of a moving bright square; one has a late object."""
    root = tmp_path_factory.mktemp("data")

    def video(number):
        masks = np.zeros((22, 160, 240), dtype=np.uint8)
        for t in range(22):
            masks[t, 40 + 5 * number : 110 + 5 * number, 6 * t : 6 * t + 60] = 9
        if number == 1:
            masks[12:, 120:, :40] = 20
        return number, np.repeat(np.where(masks > 0, 220, 60).astype(np.uint8)[:, None], 3, axis=1), masks

    fill_cache(root, "train", map(video, range(3)))
    fill_cache(root, "val", map(video, (3, 4)))
    fill_cache(root, "unlabeled", ((*video(n)[:2], None) for n in (5, 6)))
    return root


def workspace_of(root, runs):
    return Workspace.for_profile(PROFILE, root=root, runs=runs, device="cpu")


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    workspace = workspace_of(root, tmp_path_factory.mktemp("runs"))
    SYSTEMS["semi_supervised_simvp"].train(workspace)
    return workspace


def test_the_system_is_trained_loaded_and_scored(trained):
    system = build_system("semi_supervised_simvp", workspace=trained)
    val = trained.split("val")
    metrics = evaluate_system(system, val, progress=False).metrics
    assert 0 <= metrics["jaccard"] <= 1
    assert metrics["parameters"] == sum(p.numel() for network in system.modules() for p in network.parameters())
    past = torch.tensor(val.frames[:, :11]) / 255
    answer = system.predict(past)
    assert answer.shape == (2, 16, 24)
    assert answer.dtype == torch.uint8
    torch.testing.assert_close(answer[:1], system.predict(past[:1]))  # clips of a batch do not affect each other


def test_finished_stages_are_loaded_and_not_trained_again(trained):
    weights = [trained.run_folder(run) / "weights.safetensors" for run in (*SemiSupervisedSimVP.run_names, "unet")]
    tree = trained.run_folder("semi_suppression") / "tree.txt"
    before = [path.stat().st_mtime_ns for path in weights]
    stages = Stages(trained)
    histories = {stage: stages.train(stage) for stage in STAGES}
    assert [path.stat().st_mtime_ns for path in weights] == before
    assert [len(rows) for rows in histories.values()] == [1, 1, 1, 1, 1, 0]
    assert "class: " in tree.read_text()


def test_the_same_seed_gives_the_same_weights_bit_for_bit(trained, root, tmp_path):
    again = workspace_of(root, tmp_path)
    torch.manual_seed(1)  # earlier random draws must not matter
    for stage in STAGES:
        Stages(again).train(stage)
    for run in SemiSupervisedSimVP.run_names:
        first, second = (workspace.run_folder(run) / "weights.safetensors" for workspace in (trained, again))
        assert first.read_bytes() == second.read_bytes(), run


def test_a_stage_names_the_run_that_it_needs(trained):
    stages = Stages(trained, skip=("self_supervision",))
    with pytest.raises(ValueError, match=r"no run folder .*semi_pseudo_labels_without_self_supervision-smoke; train"):
        stages.train("cleaning")


def test_skipped_stages_are_not_trained_and_later_ones_start_from_the_stage_before(trained):
    stages = Stages(trained, skip=("self_supervision", "pseudo_labels", "suppression"))
    assert stages.folder("cleaning").name == "semi_cleaning_without_self_supervision_without_pseudo_labels-smoke"
    for stage in STAGES:
        stages.train(stage)
    assert not trained.run_folder("semi_pseudo_labels_without_self_supervision").exists()
    assert stages.forecaster_folder() == stages.folder("cleaning")
    assert stages.forecaster_folder(before="cleaning") == stages.folder("segmentation")
    assert SemiSupervisedSimVP.from_stages(stages).suppression is None


def test_another_segmenter_has_its_own_run_folders(trained):
    stages = Stages(trained, segmenter="deeplabv3")
    assert stages.folder("segmenter") == trained.run_folder("deeplabv3")
    assert stages.folder("cleaning").name == "semi_cleaning_by_deeplabv3-smoke"
    assert Stages(trained, segmenter="unet") == Stages(trained)
    elsewhere = Stages(trained, runs=trained.runs / "other")
    assert elsewhere.folder("cleaning") == trained.runs / "other" / "semi_cleaning-smoke"
    assert elsewhere.folder("segmenter") == trained.run_folder("unet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip": ("cleanin",)}, "unknown stage 'cleanin'; choose from"),
        ({"skip": ("segmentation",)}, "'segmentation' cannot be skipped"),
        ({"segmenter": "simvp"}, "unknown segmenter 'simvp'"),
    ],
)
def test_unknown_stages_and_segmenters_are_refused(trained, options, message):
    with pytest.raises(ValueError, match=message):
        Stages(trained, **options)


def test_cleaning_excludes_the_video_with_a_late_object(trained):
    stages = Stages(trained)
    assert stages.clean_videos()[:3].tolist() == [True, False, True]
    assert len(stages._clips("segmentation")) == 3
    assert len(stages._clips("pseudo_labels")) == 5
    assert len(stages._clips("cleaning")) == stages.clean_videos().sum() < 5


def test_the_decoder_is_new_and_encoder_and_translator_are_self_supervised():
    torch.manual_seed(0)
    start = build_model("simvp", in_shape=(11, 3, 16, 24), hid_s=8, hid_t=8, n_s=2, n_t=2)
    network = fresh_forecaster(PROFILE, start=start)
    torch.testing.assert_close(network.encoder.state_dict(), start.encoder.state_dict())
    torch.testing.assert_close(network.translator.state_dict(), start.translator.state_dict())
    assert network.decoder.readout.out_channels == 49
    assert not torch.equal(network.decoder.last[0].weight, start.decoder.last[0].weight)


def test_an_untrained_residual_forecaster_is_copy_last():
    network = fresh_forecaster(PROFILE, start=None)
    last = torch.randint(0, 49, (2, 16, 24))
    last[0, 0, 0] = 255
    logits = class_logits(network, torch.rand(2, 11, 3, 16, 24), last, residual=True)
    torch.testing.assert_close(logits.argmax(dim=1), last.where(last < 49, 0))


def test_the_published_size_has_its_number_of_parameters():
    with torch.device("meta"):
        network = fresh_forecaster(get_profile("gpu"), start=None)
    assert parameter_count(network) == 16_000_561
    assert network(torch.empty(2, 11, 3, 160, 240, device="meta"), last_frames=1).shape == (2, 1, 49, 160, 240)


def test_every_weight_gets_a_finite_gradient():
    network = fresh_forecaster(get_profile("smoke", {"height": 16, "width": 24, "simvp.residual": False}), start=None)
    logits = class_logits(network, torch.rand(2, 11, 3, 16, 24), torch.zeros(2, 16, 24), residual=False)
    logits.square().mean().backward()
    for name, weights in network.named_parameters():
        assert weights.grad is not None, name
        assert weights.grad.isfinite().all(), name
        assert weights.grad.any(), name


def test_a_saved_forecaster_forecasts_the_same(tmp_path):
    network = fresh_forecaster(PROFILE, start=None).eval()
    torch.nn.init.normal_(network.decoder.readout.weight)
    save_model(tmp_path, network, name="simvp", config=forecaster_model(PROFILE)[1])
    past = torch.rand(1, 11, 3, 16, 24)
    torch.testing.assert_close(load_model(tmp_path)(past), network(past), rtol=0, atol=0)


def test_the_forecaster_can_overfit_one_batch(root):
    torch.manual_seed(0)
    network = fresh_forecaster(get_profile("smoke", {"height": 16, "width": 24, "simvp.residual": False}), start=None)
    clip = ClipDataset(workspace_of(root, root).split("train"))[0]
    past, masks = clip["frames"][None, :11] / 255, clip["masks"][None].long()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(100):
        logits = class_logits(network, past, masks[:, 10], residual=False)
        optimiser.zero_grad()
        build_loss("cross_entropy")(logits, masks[:, -1]).backward()
        optimiser.step()
    assert (logits.argmax(dim=1) == masks[:, -1]).float().mean() > 0.97


class ConstantNetwork(nn.Module):
    """Predicts one class in the left half and background in the right half, for any input (…, C, H, W)."""

    def __init__(self, class_id):
        super().__init__()
        self.class_id = class_id

    def forward(self, images, last_frames=None):
        logits = torch.zeros(*images.shape[:-3], 49, *images.shape[-2:])
        logits[..., self.class_id, :, : images.shape[-1] // 2] = 9
        return logits if last_frames is None else logits[:, -last_frames:]


def test_the_known_classes_are_those_of_the_segmenter():
    past = torch.rand(1, 11, 3, 16, 24)
    suppressed = SemiSupervisedSimVP(ConstantNetwork(20), ConstantNetwork(12))
    assert set(suppressed.predict(past).unique().tolist()) == {
        0,
        12,
    }  # 20 was not seen, 12 was
    assert set(SemiSupervisedSimVP(ConstantNetwork(20), ConstantNetwork(0)).predict(past).unique().tolist()) == {0}
    unsuppressed = SemiSupervisedSimVP(ConstantNetwork(20), ConstantNetwork(12), suppression=None)
    assert set(unsuppressed.predict(past).unique().tolist()) == {0, 20}


def test_the_forecast_of_a_split_equals_that_of_the_system(trained):
    stages = Stages(trained)
    masks, known = stages.forecast("val")
    system = SemiSupervisedSimVP.from_stages(stages)
    past = torch.tensor(trained.split("val").frames[:, :11]) / 255
    np.testing.assert_array_equal(system.suppression(masks, known), system.predict(past))
    first = load_model(stages.folder("segmentation"))
    assert stages.forecast("val", run=stages.folder("segmentation"))[0].shape == masks.shape
    assert sum(p.numel() for p in first.parameters()) == sum(p.numel() for p in system.forecaster.parameters())
