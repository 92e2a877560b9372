"""Proves where objects are, where they would go, what a wrong place costs, and that chances of places draw masks."""

import pytest
import torch

from vidseg_utils.models.location_maps import (
    CLAIM,
    NEVER,
    Places,
    around,
    centroids,
    last_seen,
    moved,
    paint,
    pixel_chances,
    place_losses,
    shares,
)

SIZE, CELL = (4, 6), 2


def square(top=4, left=6, n_frames=1):
    """(1, T, 12, 16) masks: a square of class 9, of 2x2 cells."""
    masks = torch.zeros(1, n_frames, 12, 16, dtype=torch.long)
    masks[:, :, top : top + 4, left : left + 4] = 9
    return masks


def places(*cells, nowhere=0.0):
    """The square at (4, 6), and how likely it will have moved by so many cells: (row, column, chance)."""
    chances = torch.zeros(1, 1, SIZE[0] * SIZE[1] + 1)
    for row, column, chance in cells:
        chances[0, 0, (row + SIZE[0] // 2) * SIZE[1] + column + SIZE[1] // 2] = chance
    chances[0, 0, -1] = nowhere
    return Places(
        logits=chances.clamp(min=1e-12).log(),
        clip=torch.tensor([0]),
        channel=torch.tensor([1]),
        class_ids=torch.tensor([[0, 9]]),
        start=torch.tensor([[3.0, 4.0]]),
        shape=square()[0] == 9,
        size=SIZE,
        cell=CELL,
    )


def test_shares_say_how_much_of_a_cell_is_whose_also_at_the_edge():
    channels = torch.zeros(1, 1, 3, 4, dtype=torch.long)
    channels[..., :, 1] = 1
    channels[..., 2, 3] = 255
    planes = shares(channels, 2, 2)
    assert planes[0, 0, 1].tolist() == [[0.5, 0], [0.5, 0]]
    torch.testing.assert_close(planes.sum(2), torch.ones(1, 1, 2, 2))


def test_the_middle_of_a_plane():
    plane = torch.zeros(2, 3, 4)
    plane[0, 1, 2], plane[0, 1, 3] = 0.5, 0.5
    assert centroids(plane)[0].tolist() == [1.5, 3.0]
    assert centroids(plane)[1].isnan().all()


def test_velocity_is_measured_across_a_gap_and_from_when_an_object_was_last_seen():
    time = torch.arange(8.0)
    track = torch.stack([torch.stack([2 * time, 5 - time], 1), torch.full((8, 2), 3.0)])
    track[0, [4, 7]] = torch.nan
    track[1, 1:] = torch.nan
    last, place, velocity = last_seen(track)
    assert last.tolist() == [6, 0]
    torch.testing.assert_close(place, torch.tensor([[12.0, -1.0], [3.0, 3.0]]))
    torch.testing.assert_close(velocity, torch.tensor([[2.0, -1.0], [0.0, 0.0]]))


def test_a_window_around_an_object_is_empty_outside_the_picture():
    planes = torch.arange(1.0, 13).view(1, 1, 1, 3, 4)
    windows = around(planes, torch.tensor([0, 0]), torch.tensor([[0.9, 0.1], [2.0, 3.0]]), (2, 2))
    assert windows[:, 0, 0].tolist() == [[[0, 0], [0, 1]], [[7, 8], [11, 12]]]


@pytest.mark.parametrize(
    ("forecast", "truth", "loss"),
    [
        (places((1, -1, 1.0)), square(6, 4), 0.0),
        (places((0, 0, 0.5), (0, 1, 0.5)), square(4, 7), 0.6931),  # between two cells
        (places((0, 0, 0.25), (1, 0, 0.75)), square(4, 6), 1.3863),
        (places((0, 0, 0.5), nowhere=0.5), torch.zeros_like(square()), 0.6931),
        (places((0, 2, 1.0)), square(4, 12), 0.0),  # three cells away: the edge of the map
    ],
)
def test_the_loss_is_the_cross_entropy_of_the_true_place(forecast, truth, loss):
    assert float(place_losses(forecast, truth)) == pytest.approx(loss, abs=2e-2 if loss == 0 else 1e-3)


def test_a_certain_place_moves_the_mask_there_and_out_of_the_picture():
    for row, column in ((0, 0), (1, 2), (-2, -3)):
        chances = pixel_chances(places((row, column, 1.0)))
        torch.testing.assert_close(chances[0], (square(4 + 2 * row, 6 + 2 * column)[0] == 9).float())
    gone = places((0, -3, 1.0))._replace(shape=square(4, 2)[0] == 9)
    assert pixel_chances(gone).sum() == pytest.approx(0, abs=1e-4)


def test_a_mask_is_moved_to_where_its_object_is_expected_or_left_out():
    between = places((1, 0, 0.5), (1, 1, 0.25), nowhere=0.25)  # a third of a cell to the right
    torch.testing.assert_close(moved(between), square(6, 7))
    assert not moved(places((0, 0, 0.4), nowhere=0.6)).any()
    for_certain = places()._replace(logits=torch.tensor([[[-1e3] * (SIZE[0] * SIZE[1]) + [1e3]]]))
    assert not moved(for_certain).any()
    torch.testing.assert_close(moved(places((-2, -3, 1.0))), square(0, 0))
    half_gone = places((0, -3, 1.0))._replace(shape=square(4, 4)[0] == 9)
    assert moved(half_gone).sum() == 9 * 4 * 2


def test_of_two_moved_masks_the_lower_one_stands_in_front():
    one = places((0, 0, 1.0))
    both = Places(
        logits=one.logits.repeat(2, 1, 1),
        clip=torch.tensor([0, 0]),
        channel=torch.tensor([1, 2]),
        class_ids=torch.tensor([[0, 9, 30]]),
        start=torch.tensor([[3.0, 4.0], [2.0, 4.0]]),
        shape=torch.cat([square()[0] == 9, square(2)[0] == 9]),
        size=SIZE,
        cell=CELL,
    )
    masks = moved(both)[0, 0]
    assert (masks == 9).sum() == 16  # rows 4..7
    assert (masks == 30).sum() == 8  # rows 2..5, the lower half of it hidden


def test_doubt_is_shared_out_and_claimed_where_it_is_likely_enough():
    forecast = places((0, 0, 0.7), (0, 2, 0.9 * CLAIM), nowhere=0.3 - 0.9 * CLAIM)
    assert pixel_chances(forecast)[0, 0, 5, [7, 11]].tolist() == pytest.approx([0.7, 0.9 * CLAIM])
    logits = paint(forecast)
    assert logits.shape == (1, 1, 49, 12, 16)
    torch.testing.assert_close(logits.argmax(2), square())
    assert (logits[:, :, 1:9] == NEVER).all()
    assert not logits[:, :, 0].any()
