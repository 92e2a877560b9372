"""Proves that the recurrent U-Net learns from labelled frames, that its options work, and that systems use it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers import fill_cache, moving_square
from vidseg_utils.data import to_float
from vidseg_utils.models import build_model
from vidseg_utils.paths import read_json
from vidseg_utils.systems import Workspace
from vidseg_utils.systems.recurrent_unet.recipe import RecurrentUNetRecipe, score_sequences
from vidseg_utils.systems.recurrent_unet.system import ClipSegmenter, RecurrentCopyLast
from vidseg_utils.training.losses import CrossEntropyLoss, temporal_consistency
from vidseg_utils.training.weights import load_model, save_model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two training videos and one validation video."""
    root = tmp_path_factory.mktemp("clips")
    fill_cache(root, "train", [moving_square(0), moving_square(1)])
    fill_cache(root, "val", [moving_square(2)])
    return root


def workspace(root, runs, sizes=None):
    return Workspace.for_profile("smoke", sizes=sizes, root=root, runs=runs, device="cpu")


def weights(workspace, **options):
    RecurrentUNetRecipe(workspace, **options).train()
    return (workspace.run_folder("recurrent_unet") / "weights.safetensors").read_bytes()


# ---- one step --------------------------------------------------------------------------------------------------------


def batch_and_model(cell="gru"):
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (2, 3, 3, 16, 24), dtype=torch.uint8)
    masks = torch.full((2, 3, 16, 24), 255, dtype=torch.uint8)
    masks[0, 2], masks[1, 0] = 1, 2  # one labelled frame each, at different positions
    return {"frames": frames, "masks": masks}, build_model("recurrent_unet", cell=cell, n_classes=5).eval()


def step_of(**options):
    return RecurrentUNetRecipe(Workspace.for_profile("smoke"), **options).step


def test_the_loss_is_that_of_the_labelled_frames():
    batch, model = batch_and_model()
    logits, _ = model(to_float(batch["frames"]))
    labelled, masks = torch.stack([logits[0, 2], logits[1, 0]]), torch.tensor([1, 2])[:, None, None].expand(2, 16, 24)
    torch.testing.assert_close(step_of()(model, batch), CrossEntropyLoss()(labelled, masks))


def test_a_label_teaches_the_frames_before_it_through_memory():
    batch, model = batch_and_model()
    batch["masks"][1] = 255  # only the last frame of the first sequence is labelled
    pixels = to_float(batch["frames"]).requires_grad_()
    step_of()(lambda frames: model(pixels), batch).backward()
    assert all(pixels.grad[0, t].any() for t in range(3))
    assert not pixels.grad[1].any()


def test_consistency_adds_the_weighted_temporal_loss():
    batch, model = batch_and_model()
    batch["frames"][:, 1:] = batch["frames"][:, :1]  # nothing moves
    frames = to_float(batch["frames"])
    added = step_of(consistency=3.0)(model, batch) - step_of()(model, batch)
    torch.testing.assert_close(added, 3 * temporal_consistency(model(frames)[0], frames))
    assert added > 0


def test_mixup_mixes_frames_and_losses_with_the_same_share():
    batch, model = batch_and_model()
    seen = []

    def network(frames):
        seen.append(frames)
        return model(frames)

    torch.manual_seed(3)
    loss = step_of(mixup=0.4)(network, batch)
    torch.manual_seed(3)
    share = float(torch.distributions.Beta(0.4, 0.4).sample())
    frames = to_float(batch["frames"])
    torch.testing.assert_close(seen[0], share * frames + (1 - share) * frames.flip(0))
    logits, _ = model(seen[0])
    first, second = (torch.full((1, 16, 24), class_id) for class_id in (1, 2))
    own = CrossEntropyLoss()(torch.stack([logits[0, 2], logits[1, 0]]), torch.cat([first, second]))
    partners = CrossEntropyLoss()(torch.stack([logits[0, 0], logits[1, 2]]), torch.cat([second, first]))
    torch.testing.assert_close(loss, share * own + (1 - share) * partners)


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="consistency -1 and mixup 0"):
        step_of(consistency=-1, mixup=0)


# ---- whole trainings -------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_every_option_gives_others(root, tmp_path):
    torch.manual_seed(1)  # earlier random draws must not matter
    usual = weights(workspace(root, tmp_path / "usual"), labels="one")
    torch.manual_seed(2)
    assert weights(workspace(root, tmp_path / "again"), labels="one") == usual
    recipe = RecurrentUNetRecipe(workspace(root, tmp_path), labels="one")
    replace(recipe, cell="none").train(tmp_path / "frame_wise")
    for name, value in {
        "seed": 1, "labels": "all", "noise": 0.1, "frame_step": 2, "consistency": 1.0, "mixup": 0.4,
        "start_from": "frame_wise",
    }.items():  # fmt: skip
        replace(recipe, **{name: value}).train(tmp_path / name)
        assert (tmp_path / name / "weights.safetensors").read_bytes() != usual, name


def test_training_on_sequences_starts_from_the_weights_of_single_frames(root, tmp_path):
    space = workspace(root, tmp_path, {"recurrent.frame_epochs": 2, "recurrent.frame_windows": 3})
    RecurrentUNetRecipe(space, labels="one", consistency=1.0).for_single_frames().train(tmp_path / "frames")
    config = read_json(tmp_path / "frames" / "config.json")
    assert (config["recipe"]["cell"], config["recipe"]["labels"]) == ("none", "one")
    assert config["train_samples"] == 3 * 2  # windows of each clip
    assert len((tmp_path / "frames" / "history.jsonl").read_text().splitlines()) == 2
    still = space.with_sizes({"recurrent.learning_rate": 1e-12})
    model, _ = RecurrentUNetRecipe(still, cell="rnn", labels="one", start_from="frames").train()
    frame_wise = load_model(tmp_path / "frames")
    torch.testing.assert_close(model.head.scores.weight, frame_wise.head.scores.weight, rtol=1e-4, atol=1e-6)


def test_training_starts_only_from_a_recurrent_unet(root, tmp_path):
    space = workspace(root, tmp_path)
    save_model(tmp_path / "unet", build_model("unet", base_channels=4), name="unet", config={"base_channels": 4})
    with pytest.raises(ValueError, match="run unet holds a UNet, not a recurrent U-Net"):
        RecurrentUNetRecipe(space, start_from="unet").train()


def test_empty_validation_data_are_not_scored():
    _, model = batch_and_model()
    with pytest.raises(ValueError, match="no sequences to score"):
        score_sequences(model, [], torch.device("cpu"))


def test_the_forecaster_uses_the_memory_of_the_whole_past(root, tmp_path):
    space = workspace(root, tmp_path)
    RecurrentCopyLast.train(space)
    system = RecurrentCopyLast.load(space)
    past = to_float(torch.tensor(np.array(space.split("val").frames[:, :11])))
    logits, _ = system.segmenter.model(past)
    torch.testing.assert_close(system.predict(past), logits[:, -1].argmax(dim=1).to(torch.uint8))


def test_the_clip_segmenter_takes_a_batch_as_one_clip():
    _, model = batch_and_model()
    clip = torch.rand(4, 3, 16, 24)
    torch.testing.assert_close(ClipSegmenter(model)(clip), model(clip[None])[0][0])


# ---- Cityscapes ------------------------------------------------------------------------------------------------------


def test_a_tiny_cityscapes_trains(tiny_cityscapes, tmp_path):
    space = workspace(tmp_path, tmp_path / "runs", {"recurrent.augmentation": ("hflip", "crop")})
    model, history = RecurrentUNetRecipe(space, cityscapes=tiny_cityscapes).train()
    assert model(torch.rand(1, 2, 3, 64, 128))[0].shape == (1, 2, 20, 64, 128)
    assert 0 <= history[-1]["miou"] <= 1
    assert 0 < history[-1]["pixel_accuracy"] <= 1
