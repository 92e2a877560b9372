"""Location maps: where objects are, how they move, what a wrong location costs, and how a map becomes a mask."""

import pytest
import torch

from vidseg_utils.models.class_filter import IMPOSSIBLE_LOGIT
from vidseg_utils.models.location_maps import (
    OBJECT_PROBABILITY,
    LocationMaps,
    cell_occupancy,
    centroids,
    crop_windows,
    estimate_motion,
    location_losses,
    maps_to_logits,
    move_masks,
    pixel_probabilities,
)

SIZE, CELL = (4, 6), 2


def square(top=4, left=6, n_frames=1):
    """(1, T, 12, 16) masks: a square of class 9, of 2x2 cells."""
    masks = torch.zeros(1, n_frames, 12, 16, dtype=torch.long)
    masks[:, :, top : top + 4, left : left + 4] = 9
    return masks


def maps(*cells, invisible=0.0):
    """The square at (4, 6), and the probability that it moves by some cells: (rows, columns, probability)."""
    probabilities = torch.zeros(1, 1, SIZE[0] * SIZE[1] + 1)
    for row, column, probability in cells:
        probabilities[0, 0, (row + SIZE[0] // 2) * SIZE[1] + column + SIZE[1] // 2] = probability
    probabilities[0, 0, -1] = invisible
    return LocationMaps(
        logits=probabilities.clamp(min=1e-12).log(),
        clip_index=torch.tensor([0]),
        channel=torch.tensor([1]),
        class_ids=torch.tensor([[0, 9]]),
        position=torch.tensor([[3.0, 4.0]]),
        mask=square()[0] == 9,
        map_size=SIZE,
        cell=CELL,
    )


def test_cell_occupancy_is_the_share_of_each_channel_also_at_the_edge():
    channels = torch.zeros(1, 1, 3, 4, dtype=torch.long)
    channels[..., :, 1] = 1
    channels[..., 2, 3] = 255
    planes = cell_occupancy(channels, 2, 2)
    assert planes[0, 0, 1].tolist() == [[0.5, 0], [0.5, 0]]
    torch.testing.assert_close(planes.sum(2), torch.ones(1, 1, 2, 2))


def test_the_centroid_of_a_plane():
    plane = torch.zeros(2, 3, 4)
    plane[0, 1, 2], plane[0, 1, 3] = 0.5, 0.5
    assert centroids(plane)[0].tolist() == [1.5, 3.0]
    assert centroids(plane)[1].isnan().all()


def test_velocity_is_measured_across_a_gap_and_up_to_the_last_frame_that_shows_the_object():
    time = torch.arange(8.0)
    track = torch.stack([torch.stack([2 * time, 5 - time], 1), torch.full((8, 2), 3.0)])
    track[0, [4, 7]] = torch.nan
    track[1, 1:] = torch.nan
    last_frame, position, velocity = estimate_motion(track)
    assert last_frame.tolist() == [6, 0]
    torch.testing.assert_close(position, torch.tensor([[12.0, -1.0], [3.0, 3.0]]))
    torch.testing.assert_close(velocity, torch.tensor([[2.0, -1.0], [0.0, 0.0]]))


def test_a_window_around_an_object_is_empty_outside_the_picture():
    planes = torch.arange(1.0, 13).view(1, 1, 1, 3, 4)
    windows = crop_windows(planes, torch.tensor([0, 0]), torch.tensor([[0.9, 0.1], [2.0, 3.0]]), (2, 2))
    assert windows[:, 0, 0].tolist() == [[[0, 0], [0, 1]], [[7, 8], [11, 12]]]


@pytest.mark.parametrize(
    ("forecast", "truth", "loss"),
    [
        (maps((1, -1, 1.0)), square(6, 4), 0.0),
        (maps((0, 0, 0.5), (0, 1, 0.5)), square(4, 7), 0.6931),  # between two cells
        (maps((0, 0, 0.25), (1, 0, 0.75)), square(4, 6), 1.3863),
        (maps((0, 0, 0.5), invisible=0.5), torch.zeros_like(square()), 0.6931),
        (maps((0, 2, 1.0)), square(4, 12), 0.0),  # three cells away: the edge of the map
    ],
)
def test_the_loss_is_the_cross_entropy_of_the_true_location(forecast, truth, loss):
    assert float(location_losses(forecast, truth)) == pytest.approx(loss, abs=2e-2 if loss == 0 else 1e-3)


def test_a_certain_location_moves_the_mask_to_it_or_out_of_the_picture():
    for row, column in ((0, 0), (1, 2), (-2, -3)):
        probabilities = pixel_probabilities(maps((row, column, 1.0)))
        torch.testing.assert_close(probabilities[0], (square(4 + 2 * row, 6 + 2 * column)[0] == 9).float())
    outside = maps((0, -3, 1.0))._replace(mask=square(4, 2)[0] == 9)
    assert pixel_probabilities(outside).sum() == pytest.approx(0, abs=1e-4)


def test_a_mask_moves_to_the_expected_location_or_is_left_out():
    between = maps((1, 0, 0.5), (1, 1, 0.25), invisible=0.25)  # a third of a cell to the right
    torch.testing.assert_close(move_masks(between), square(6, 7))
    assert not move_masks(maps((0, 0, 0.4), invisible=0.6)).any()
    certainly_invisible = maps()._replace(logits=torch.tensor([[[-1e3] * (SIZE[0] * SIZE[1]) + [1e3]]]))
    assert not move_masks(certainly_invisible).any()
    torch.testing.assert_close(move_masks(maps((-2, -3, 1.0))), square(0, 0))
    half_outside = maps((0, -3, 1.0))._replace(mask=square(4, 4)[0] == 9)
    assert move_masks(half_outside).sum() == 9 * 4 * 2


def test_of_two_moved_masks_the_lower_one_is_in_front():
    one = maps((0, 0, 1.0))
    both = LocationMaps(
        logits=one.logits.repeat(2, 1, 1),
        clip_index=torch.tensor([0, 0]),
        channel=torch.tensor([1, 2]),
        class_ids=torch.tensor([[0, 9, 30]]),
        position=torch.tensor([[3.0, 4.0], [2.0, 4.0]]),
        mask=torch.cat([square()[0] == 9, square(2)[0] == 9]),
        map_size=SIZE,
        cell=CELL,
    )
    masks = move_masks(both)[0, 0]
    assert (masks == 9).sum() == 16  # rows 4..7
    assert (masks == 30).sum() == 8  # rows 2..5, the lower half of it hidden


def test_pixels_are_drawn_where_their_probability_is_large_enough():
    forecast = maps((0, 0, 0.7), (0, 2, 0.9 * OBJECT_PROBABILITY), invisible=0.3 - 0.9 * OBJECT_PROBABILITY)
    assert pixel_probabilities(forecast)[0, 0, 5, [7, 11]].tolist() == pytest.approx([0.7, 0.9 * OBJECT_PROBABILITY])
    logits = maps_to_logits(forecast)
    assert logits.shape == (1, 1, 49, 12, 16)
    torch.testing.assert_close(logits.argmax(2), square())
    assert (logits[:, :, 1:9] == IMPOSSIBLE_LOGIT).all()
    assert not logits[:, :, 0].any()


def test_logits_of_the_last_frames_are_those_of_all():
    one, other = maps((0, 0, 1.0)), maps((1, 1, 0.7), invisible=0.3)
    both = one._replace(logits=torch.cat([one.logits, other.logits], dim=1))
    assert torch.equal(maps_to_logits(both, last_frames=1), maps_to_logits(both)[:, 1:])
    assert torch.equal(maps_to_logits(both, last_frames=2), maps_to_logits(both))
