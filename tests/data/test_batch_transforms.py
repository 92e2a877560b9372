"""Proves that augmenting a batch at once changes pictures and masks as augmenting one after another does."""

import math

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from vidseg_utils.classes import IGNORE_INDEX
from vidseg_utils.data import batch_transforms, build_augmentation
from vidseg_utils.data.batch_transforms import augment_batch, has_batch_form, resize_crops, rotate
from vidseg_utils.data.transforms import AUGMENTATIONS, augment

N, HEIGHT, WIDTH = 1000, 20, 30


@pytest.fixture
def batch():
    """Five random pictures, and masks of large areas."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (5, 3, 40, 60), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 49, (5, 8, 12), dtype=torch.uint8, generator=generator)
    return pictures, labels.repeat_interleave(5, 1).repeat_interleave(5, 2)


@pytest.fixture
def numbered():
    """N pictures whose first two channels are the pixel's row and column, with one object."""
    rows, columns = torch.arange(HEIGHT)[:, None].expand(-1, WIDTH), torch.arange(WIDTH).expand(HEIGHT, -1)
    picture = torch.stack([rows, columns, rows]).to(torch.uint8)
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    mask[4:9, 10:24], mask[6:8, 12:14] = 7, IGNORE_INDEX
    return picture.expand(N, -1, -1, -1), mask.expand(N, -1, -1)


def assert_close_levels(ours, theirs):
    """Equal to one level of 255: rounding differs."""
    assert (ours.int() - theirs.int()).abs().max() <= 1


def assert_same_distribution(ours, theirs):
    """The test of Kolmogorov and Smirnov finds no difference between two samples of one size (1 % level)."""
    values, n = torch.cat([ours, theirs]).unique(), len(ours)
    shares = [(sample[:, None] <= values).float().mean(dim=0) for sample in (ours, theirs)]
    assert (shares[0] - shares[1]).abs().max() < 1.63 * math.sqrt(2 / n)


@pytest.mark.parametrize(("name", "axis"), [("hflip", -1), ("vflip", -2)])
def test_half_of_the_pictures_are_flipped_with_their_masks(numbered, name, axis):
    torch.manual_seed(0)
    pictures, masks = augment_batch(build_augmentation(name), *numbered)
    flipped = (pictures == numbered[0].flip(axis)).flatten(1).all(1)
    assert 0.4 < flipped.float().mean() < 0.6
    assert torch.equal(pictures[~flipped], numbered[0][~flipped])
    assert torch.equal(masks[flipped], numbered[1][flipped].flip(axis))
    assert torch.equal(masks[~flipped], numbered[1][~flipped])


def test_a_crop_is_resized_as_by_torchvision(batch):
    boxes = torch.tensor([[0, 0, 40, 60], [3, 5, 31, 44], [9, 16, 31, 44], [0, 1, 33, 59], [7, 0, 33, 51]])
    top, left, height, width = boxes.float().unbind(dim=1)
    pictures, masks = resize_crops(*batch, top=top, left=left, height=height, width=width)
    for index, box in enumerate(boxes.tolist()):
        picture = functional.resized_crop(batch[0][index], *box, [40, 60], antialias=True)
        assert_close_levels(pictures[index], picture)
        mask = functional.resized_crop(batch[1][index, None], *box, [40, 60], v2.InterpolationMode.NEAREST)[0]
        assert torch.equal(masks[index], mask)


def test_crops_have_the_sizes_and_positions_of_single_crops(numbered, monkeypatch):
    ours, theirs = [], []
    monkeypatch.setattr(batch_transforms, "resize_crops", lambda *batch, **box: ours.append(box) or batch)
    torch.manual_seed(0)
    transform = AUGMENTATIONS["crop"]()
    augment_batch(transform, *numbered)
    single = v2.RandomResizedCrop((HEIGHT, WIDTH), scale=transform.scale, ratio=transform.ratio(HEIGHT, WIDTH))
    theirs = [single.make_params([numbered[0][0]]) for _ in range(N)]
    for name in ("top", "left", "height", "width"):
        assert_same_distribution(ours[0][name], torch.tensor([box[name] for box in theirs]).float())


@pytest.mark.parametrize("has_object", [True, False])
def test_windows_lie_around_object_pixels_as_single_windows_do(numbered, has_object):
    pictures, masks = numbered[0], numbered[1] * has_object
    torch.manual_seed(0)
    transform = AUGMENTATIONS["object_crop"]()
    ours, labels = augment_batch(transform, pictures, masks)
    theirs = torch.stack([augment(transform, pictures[0], masks[0])[0] for _ in range(N)])
    assert ours.shape == theirs.shape == (N, 3, 16, 16)
    for axis in range(2):
        assert_same_distribution(ours[:, axis, 0, 0], theirs[:, axis, 0, 0])
    rows, columns = ours[:, :2].long().unbind(dim=1)
    assert torch.equal(labels, masks[0][rows, columns])  # the mask moves with the picture
    if has_object:
        assert (labels == 7).flatten(1).any(1).all()


def test_pictures_are_turned_as_by_torchvision(batch):
    degrees = torch.tensor([-10.0, -3.0, 0.5, 6.0, 10.0])
    pictures, masks = rotate(*batch, degrees=degrees)
    for index, angle in enumerate(degrees.tolist()):
        bilinear = v2.InterpolationMode.BILINEAR
        assert_close_levels(pictures[index], functional.rotate(batch[0][index], angle, bilinear, fill=0))
        mask = functional.rotate(batch[1][index, None], angle, fill=IGNORE_INDEX)[0]
        assert (masks[index] == mask).float().mean() > 0.995  # a pixel between two labels may take either


def test_angles_are_uniform(numbered, monkeypatch):
    angles = []
    monkeypatch.setattr(batch_transforms, "rotate", lambda *batch, degrees: angles.append(degrees) or batch)
    torch.manual_seed(0)
    augment_batch(AUGMENTATIONS["rotate"](), *numbered)
    assert_same_distribution(angles[0], torch.linspace(-10, 10, N))


@pytest.mark.parametrize(
    ("ours", "theirs", "amounts"),
    [
        ("brighten", "adjust_brightness", [0.95, 1.0, 1.05, 1.3, 0.5]),
        ("contrast", "adjust_contrast", [0.92, 1.0, 1.08, 1.3, 0.5]),
        ("saturate", "adjust_saturation", [0.92, 1.0, 1.08, 1.3, 0.5]),
        ("shift_hue", "adjust_hue", [-0.01, 0.0, 0.01, 0.3, -0.45]),
    ],
)
def test_colours_change_as_by_torchvision(batch, ours, theirs, amounts):
    batch[0][0, :, :4] = 77  # grey
    changed = getattr(batch_transforms, ours)(batch[0].float(), torch.tensor(amounts).view(-1, 1, 1, 1))
    for picture, original, amount in zip(changed, batch[0], amounts, strict=True):
        assert_close_levels(picture, getattr(functional, theirs)(original, amount))


def test_jitter_has_the_distribution_of_single_jitters(batch):
    torch.manual_seed(0)
    picture, mask, n = batch[0][0, :, :8, :8], batch[1][0, :8, :8], 300
    transform = AUGMENTATIONS["light"]()
    ours, _ = augment_batch(transform, picture.expand(n, -1, -1, -1), mask.expand(n, -1, -1))
    theirs = torch.stack([transform(picture) for _ in range(n)])
    for pixel in range(3):
        for channel in range(3):
            assert_same_distribution(ours[:, channel, pixel, pixel], theirs[:, channel, pixel, pixel])


def test_what_has_no_batch_form_is_known():
    known = {name for name in AUGMENTATIONS if has_batch_form(build_augmentation(name))}
    assert known == {"hflip", "vflip", "crop", "object_crop", "rotate", "light"}
    assert has_batch_form(None)
    assert has_batch_form(build_augmentation())
    assert has_batch_form(build_augmentation("hflip", "object_crop"))
    assert not has_batch_form(build_augmentation("hflip", "real"))
