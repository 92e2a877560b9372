"""Proves that a system turns past frames or masks into one mask, and that wrong input gets one clear error."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.helpers import fill_cache, moving_square
from vidseg_utils.models import build_model
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import SYSTEMS, Forecaster, Workspace, base, build_system
from vidseg_utils.systems.convlstm_unet import ConvLSTMUnet
from vidseg_utils.systems.copy_last import CopyLast, UnetCopyLast
from vidseg_utils.systems.simvp_unet import CopyLastFrame, SimVPUnet


def tiny_unet():
    torch.manual_seed(0)
    return build_model("unet", base_channels=4).eval()


def tiny_simvp():
    torch.manual_seed(0)
    return build_model("simvp", in_shape=(11, 3, 16, 24), hid_s=4, hid_t=8, n_s=2, n_t=2, groups=2).eval()


def past_frames(batch=2):
    return torch.rand(batch, 11, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "system",
    [UnetCopyLast(segmenter=tiny_unet()), SimVPUnet(tiny_simvp(), tiny_unet())],
    ids=lambda system: system.name,
)
def test_frames_in_one_mask_of_class_ids_out(system):
    mask = system.predict(past_frames())
    assert mask.shape == (2, 16, 24)
    assert mask.dtype == torch.uint8
    assert mask.max() < 49
    torch.testing.assert_close(mask, system.predict(past_frames()))  # reproducible
    torch.testing.assert_close(mask[:1], system.predict(past_frames()[:1]))  # clips of a batch do not affect each other


@pytest.mark.parametrize(
    "system",
    [UnetCopyLast(segmenter=tiny_unet()), SimVPUnet(tiny_simvp(), tiny_unet()), ConvLSTMUnet(None, tiny_unet())],
    ids=lambda system: system.name,
)
def test_probabilities_sum_to_one_and_the_most_probable_class_is_the_forecast(system):
    probabilities = system.predict_probabilities(past_frames())
    assert probabilities.shape == (2, 49, 16, 24) and system.gives_probabilities
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 16, 24))
    torch.testing.assert_close(probabilities.argmax(dim=1).to(torch.uint8), system.predict(past_frames()))


def test_a_system_without_probabilities_says_so():
    assert not CopyLast.gives_probabilities
    with pytest.raises(ValueError, match="copy_last gives no probabilities, only a mask"):
        CopyLast().predict_probabilities(past_frames())
    with pytest.raises(ValueError, match="probabilities are forecast from frames"):
        CopyLast().predict_probabilities(torch.zeros(1, 11, 16, 24, dtype=torch.uint8))


def test_copy_last_returns_the_last_mask():
    masks = torch.randint(0, 49, (2, 11, 16, 24))
    torch.testing.assert_close(CopyLast().predict(masks), masks[:, -1].to(torch.uint8))


def test_unet_copy_last_is_the_segmentation_of_frame_10():
    system = UnetCopyLast(segmenter=tiny_unet())
    expected = system.segmenter(past_frames()[:, -1]).argmax(dim=1).to(torch.uint8)
    torch.testing.assert_close(system.predict(past_frames()), expected)


@pytest.mark.parametrize("units", ["bf16", "fp16", "no"])
def test_unet_segments_in_bf16_where_the_device_has_units_for_it(units, monkeypatch):
    monkeypatch.setattr(base, "fastest_precision", lambda device: units)
    network, frames = tiny_unet(), past_frames()[0]
    system, exact = UnetCopyLast(segmenter=network), network(frames)
    assert system.segmenter_precision(frames.device) == ("bf16" if units == "bf16" else "no")
    logits = system.segmenter_logits(frames)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, exact) != (units == "bf16")
    torch.testing.assert_close(logits, exact, atol=0.02, rtol=0.02)
    assert UnetCopyLast(segmenter=torch.nn.Identity()).segmenter_precision(frames.device) == "no"


def test_a_system_uses_only_masks_if_it_segments_all_frames_and_forecasts_from_the_masks():
    assert CopyLast().uses_only_masks
    assert not UnetCopyLast(segmenter=tiny_unet()).uses_only_masks  # it segments only one frame
    assert not SimVPUnet(tiny_simvp(), tiny_unet()).uses_only_masks


def test_only_a_forecaster_of_masks_without_a_segmenter_needs_masks():
    assert CopyLast().needs_masks
    assert not UnetCopyLast(segmenter=tiny_unet()).needs_masks

    class FromFrames(Forecaster):
        name = "from_frames"
        train = load = classmethod(lambda cls, workspace: cls())

        def forecast_frames(self, frames):
            return torch.zeros_like(frames[:, -1, 0], dtype=torch.uint8)

    assert not FromFrames().needs_masks
    assert FromFrames().predict(past_frames()).shape == (2, 16, 24)


def test_no_network_has_the_run_folder_of_a_systems_score():
    assert not {run_name for system in SYSTEMS.values() for run_name in system.run_names} & set(SYSTEMS)


def test_simvp_unet_segments_the_predicted_frame():
    class Predictor(torch.nn.Module):
        def forward(self, past):
            return past.flip(1)  # frame 21 is frame 0

    system = SimVPUnet(Predictor(), tiny_unet())
    expected = system.segmenter(past_frames()[:, 0]).argmax(dim=1).to(torch.uint8)
    torch.testing.assert_close(system.predict(past_frames()), expected)


def test_the_copy_last_frame_model_repeats_the_last_frame():
    past = past_frames()
    torch.testing.assert_close(CopyLastFrame()(past)[:, 7], past[:, -1])


@pytest.mark.parametrize(
    ("past", "message"),
    [
        (torch.rand(1, 10, 3, 16, 24), r"expected \(B, 11, 3, H, W\)"),
        (torch.zeros(1, 10, 16, 24, dtype=torch.long), r"expected \(B, 11, H, W\)"),
        (torch.rand(1, 11, 16, 24), "expected float frames"),
        (torch.zeros(1, 11, 3, 16, 24, dtype=torch.uint8), "expected float frames"),
        (torch.rand(1, 11, 3, 16, 24), "copy_last has no segmenter"),
    ],
)
def test_a_past_of_wrong_shape_or_type_is_refused(past, message):
    with pytest.raises(ValueError, match=message):
        CopyLast().predict(past)


def test_a_system_that_needs_frames_refuses_masks():
    with pytest.raises(ValueError, match="simvp_unet forecasts from frames"):
        SimVPUnet(tiny_simvp(), tiny_unet()).predict(torch.zeros(1, 11, 16, 24, dtype=torch.long))


def test_unknown_and_untrained_systems_are_refused_with_the_cure(tmp_path):
    workspace = Workspace.for_profile(get_profile("smoke"), root=tmp_path, runs=tmp_path)
    with pytest.raises(ValueError, match=r"unknown system 'unett'; choose from .*'copy_last'"):
        build_system("unett", workspace=workspace)
    with pytest.raises(ValueError, match=r"vidseg train simvp_unet --profile smoke"):
        build_system("simvp_unet", workspace=workspace)


def test_every_system_is_registered_under_its_own_name():
    assert {"copy_last", "unet_copy_last", "simvp_unet"} <= set(SYSTEMS)
    assert all(system.name == name for name, system in SYSTEMS.items())


def test_home_in_a_path_of_a_workspace_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    workspace = Workspace.for_profile("smoke", root="~/data", runs="~/runs")
    assert (workspace.root, workspace.runs) == (tmp_path / "data", tmp_path / "runs")
    assert replace(workspace, root=Path("~/real")).root == tmp_path / "real"


def test_real_splits_are_the_labelled_ones_of_other_videos(workspace, root, home, tmp_path):
    assert workspace().real_root() is None and workspace().real_splits() == []  # there is no data/course
    assert workspace().real_splits(tmp_path / "missing") == []
    assert workspace().real_splits(root) == []  # the videos of the training test nothing
    course = home / "data" / "course"
    fill_cache(course, "train", [moving_square(0), moving_square(1)])
    fill_cache(course, "hidden", [(4, moving_square(4)[1][:11], None)])
    assert workspace().real_root() == course
    assert [(split.root, split.split, len(split)) for split in workspace().real_splits()] == [(course, "train", 2)]
