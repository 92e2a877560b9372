"""Proves that the score of SlotFormer's protocol is right, and which systems forecast every frame from six."""

import numpy as np
import pytest
import torch

from tests.helpers import fill_cache, moving_square
from vidseg_utils.data import open_split
from vidseg_utils.evaluation.slotformer_protocol import (
    FORECAST_FRAMES,
    GIVEN_FRAMES,
    can_forecast_every_frame,
    forecast_every_frame,
    foreground_miou,
    score_as_slotformer,
)
from vidseg_utils.models import build_model
from vidseg_utils.systems.copy_last import CopyLast
from vidseg_utils.systems.image_dynamics.system import ImageDynamics
from vidseg_utils.systems.jepa.system import JEPASystem
from vidseg_utils.systems.object_dynamics import ObjectDynamics
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.simvp_unet import SimVPUnet
from vidseg_utils.world.mask_drawing import draw_masks

SPHERE = 17


def gliding_sphere(frames=22):
    """(frames, 80, 120) masks of a sphere that glides over the ground."""
    poses = np.array([[[-1.5 + 0.15 * frame, -1.0 + 0.1 * frame, 0.0]] for frame in range(frames)])
    ids = np.full((frames, 1), SPHERE, dtype=np.uint8)
    return torch.from_numpy(draw_masks(ids, poses, ids > 0, height=80, width=120))


def test_a_frame_scores_the_mean_iou_of_its_own_objects_and_none_without_objects():
    target = np.zeros((3, 4, 4), dtype=np.uint8)
    target[0, 0, :2], target[0, 2, :2], target[1, 0, :2] = 5, 9, 5
    prediction = np.zeros_like(target)
    prediction[0, 0, :2] = 5  # all of the first object, nothing of the second one
    prediction[1, 0, 1:3], prediction[1, 3, 3] = 5, 7  # a third of it, and an object that is not there
    np.testing.assert_allclose(foreground_miou(prediction, target), [0.5, 1 / 3, np.nan])
    assert foreground_miou(target, target)[0] == 1.0


def test_copying_scores_less_from_frame_to_frame_where_an_object_moves(tmp_path):
    fill_cache(tmp_path, "val", [moving_square(0)])
    split = open_split(tmp_path, "val", height=80, width=120)
    scores = score_as_slotformer(CopyLast(), split, true_masks=True, progress=False)
    assert scores.shape == (FORECAST_FRAMES,)
    assert scores[0] == pytest.approx(54 / 66, abs=0.05)  # the square is 60 wide and moves by 6
    assert (np.diff(scores) < 0).all()


def test_object_dynamics_forecasts_a_gliding_sphere_from_six_frames_better_than_copying():
    masks, system = gliding_sphere(), ObjectDynamics(PhysicsConstants())
    past, truth = masks[:GIVEN_FRAMES].long(), masks[GIVEN_FRAMES : GIVEN_FRAMES + FORECAST_FRAMES].numpy()
    scores, copied = (
        foreground_miou(forecast_every_frame(each, past, horizon=FORECAST_FRAMES), truth)
        for each in (system, CopyLast())
    )
    assert (scores[2:5] > copied[2:5] + 0.3).all()


def test_eleven_frames_ahead_of_eleven_frames_it_is_the_forecast_of_the_system():
    past = gliding_sphere()[:11].long()
    torch.manual_seed(0)
    for system in (ObjectDynamics(PhysicsConstants()), ImageDynamics(build_model("image_rollout", hidden=8).eval())):
        answer = forecast_every_frame(system, past, horizon=11)
        assert answer.shape == (11, 80, 120)
        np.testing.assert_array_equal(answer[-1], system.predict(past[None])[0].numpy())


def test_the_jepa_predicts_frame_after_frame():
    torch.manual_seed(0)
    system = JEPASystem(
        build_model("jepa_forecaster", channels=8, hidden=8, predictor_hidden=8, decoder_hidden=8).eval()
    )
    frames = torch.rand(11, 3, 16, 24)
    answer = forecast_every_frame(system, frames, horizon=11)
    assert answer.shape == (11, 16, 24)
    np.testing.assert_array_equal(answer[-1], system.predict(frames[None])[0].numpy())


def test_a_system_that_reads_eleven_frames_is_refused():
    simvp = build_model("simvp", in_shape=(11, 3, 16, 24), hid_s=4, hid_t=8, n_s=2, n_t=2)
    system = SimVPUnet(simvp, segmenter=build_model("unet", base_channels=4))
    assert not can_forecast_every_frame(system)
    with pytest.raises(ValueError, match="simvp_unet reads exactly 11 frames"):
        forecast_every_frame(system, torch.rand(6, 3, 16, 24), horizon=10)
