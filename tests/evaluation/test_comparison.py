"""Proves, on cases counted by hand, error rates of pixels, the agreement of forecasts and recall after collisions."""

import math

import numpy as np
import pytest
import torch

from vidseg_utils.evaluation.comparison import (
    count_future_collisions,
    error_rate_per_pixel,
    object_agreement,
    recall_by_collisions,
)
from vidseg_utils.world.trajectory import Collision, Trajectory


def trajectory(class_ids, collisions):
    n = len(class_ids)
    zeros = np.zeros((128, n, 3))
    hits = tuple(Collision(frame, objects, (0.0, 0.0, 0.2)) for frame, objects in collisions)
    return Trajectory(
        np.array(class_ids, dtype=np.uint8),
        positions=zeros,
        rotations=np.broadcast_to(np.eye(3), (128, n, 3, 3)),
        velocities=zeros,
        angular_velocities=zeros,
        in_view=np.ones((128, n), dtype=bool),
        collisions=hits,
    )


def test_the_error_rate_of_a_pixel_is_over_the_videos_with_a_target_there():
    targets = torch.tensor([[[1, 0, 255]], [[1, 2, 255]], [[0, 2, 5]]])
    predictions = torch.tensor([[[1, 3, 9]], [[0, 2, 0]], [[0, 0, 4]]])
    torch.testing.assert_close(error_rate_per_pixel(predictions, targets), torch.tensor([[1 / 3, 2 / 3, 1]]))
    assert error_rate_per_pixel(targets[:1], targets[:1])[0, 2] == 0


def test_agreement_ignores_pixels_where_both_have_background():
    one, other = torch.tensor([[[0, 0, 0, 1, 2, 3]]]), torch.tensor([[[0, 0, 4, 1, 0, 5]]])
    assert object_agreement(one, other) == object_agreement(other, one) == pytest.approx(1 / 4)
    assert object_agreement(one, one) == object_agreement(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)) == 1


def test_collisions_are_counted_after_the_last_past_frame_and_up_to_the_last():
    hits = [(60, (0, 1)), (61, (0, 1)), (126, (0, 2)), (127, (1, 2))]
    assert count_future_collisions(trajectory([7, 9, 30], hits)) == {7: 2, 9: 1, 30: 1}


def test_recall_is_given_by_the_number_of_collisions():
    masks = torch.zeros(1, 22, 4, 8, dtype=torch.uint8)
    masks[0, :, 0], masks[0, :, 1], masks[0, :, 2, :4] = 7, 9, 30
    masks[0, -1, 3] = 40  # no past frame shows it
    prediction = masks[:, -1].clone()
    prediction[0, 1, 4:] = 0  # half of object 9 is missed
    path = trajectory([7, 9, 30, 40], [(70, (1, 3)), (80, (1, 3)), (90, (1, 2)), (95, (1, 3))])
    rows = recall_by_collisions(prediction, masks, [path], max_collisions=3)
    assert rows[0] == (1, 1.0)  # object 7
    assert rows[1] == (1, 1.0)  # object 30
    assert rows[2][0] == 0
    assert math.isnan(rows[2][1])
    assert rows[3] == (1, 0.5)  # object 9, four times
