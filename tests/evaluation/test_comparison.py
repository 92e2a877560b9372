"""Proves, on cases counted by hand, that errors and agreement are counted where and how they are said to be."""

import math

import numpy as np
import pytest
import torch

from vidseg_utils.evaluation.comparison import agreement, error_share, recall_by_collisions, unseen_collisions
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


def test_errors_are_counted_pixel_by_pixel_over_the_videos_that_judge_it():
    targets = torch.tensor([[[1, 0, 255]], [[1, 2, 255]], [[0, 2, 5]]])
    predictions = torch.tensor([[[1, 3, 9]], [[0, 2, 0]], [[0, 0, 4]]])
    torch.testing.assert_close(error_share(predictions, targets), torch.tensor([[1 / 3, 2 / 3, 1]]))
    assert error_share(targets[:1], targets[:1])[0, 2] == 0


def test_agreement_is_about_objects_not_about_the_floor():
    one, other = torch.tensor([[[0, 0, 0, 1, 2, 3]]]), torch.tensor([[[0, 0, 4, 1, 0, 5]]])
    assert agreement(one, other) == agreement(other, one) == pytest.approx(1 / 4)
    assert agreement(one, one) == agreement(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)) == 1


def test_collisions_count_after_the_last_past_frame_and_up_to_the_last():
    hits = [(60, (0, 1)), (61, (0, 1)), (126, (0, 2)), (127, (1, 2))]
    assert unseen_collisions(trajectory([7, 9, 30], hits)) == {7: 2, 9: 1, 30: 1}


def test_recall_falls_with_collisions_where_the_answer_does():
    masks = torch.zeros(1, 22, 4, 8, dtype=torch.uint8)
    masks[0, :, 0], masks[0, :, 1], masks[0, :, 2, :4] = 7, 9, 30
    masks[0, -1, 3] = 40  # nobody has seen it before
    prediction = masks[:, -1].clone()
    prediction[0, 1, 4:] = 0  # half of object 9 is missed
    path = trajectory([7, 9, 30, 40], [(70, (1, 3)), (80, (1, 3)), (90, (1, 2)), (95, (1, 3))])
    rows = recall_by_collisions(prediction, masks, [path], most=3)
    assert rows[0] == (1, 1.0)  # object 7
    assert rows[1] == (1, 1.0)  # object 30
    assert rows[2][0] == 0
    assert math.isnan(rows[2][1])
    assert rows[3] == (1, 0.5)  # object 9, four times
