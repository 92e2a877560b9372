"""What several test files use: small videos and caches, notebooks, a full disk, and a fit that takes a second."""

import contextlib
import json
from dataclasses import fields, replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from torch import nn

from vidseg_utils.data import open_split, write_video
from vidseg_utils.data.cache import filling
from vidseg_utils.data.layout import LABELLED, n_frames
from vidseg_utils.task import CLIP_FRAMES, HEIGHT, WIDTH
from vidseg_utils.training.loop import FitConfig, fit

# ---- videos and caches -----------------------------------------------------------------------------------------------


def make_frames(seed: int, n_frames: int = CLIP_FRAMES) -> np.ndarray:
    """(T, 3, 160, 240) uint8: a shaded ground and a coloured block that moves; every seed and frame differs."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(90, 150, HEIGHT).astype(np.uint8)
    frames = np.broadcast_to(rows[:, None], (n_frames, 3, HEIGHT, WIDTH)).copy()
    colour, row, column = rng.integers(0, 255, 3), rng.integers(20, 100), rng.integers(0, 100)
    for t in range(n_frames):
        frames[t, :, row : row + 24, column + 4 * t : column + 4 * t + 24] = colour[:, None, None]
        frames[t, 0, 0, 0], frames[t, 1, 0, 0] = t, seed % 256
    return frames


def make_masks(seed: int) -> np.ndarray:
    """(22, 160, 240) uint8: the block of `make_frames`, with class 1 + seed % 48."""
    rng = np.random.default_rng(seed)
    _, row, column = rng.integers(0, 255, 3), rng.integers(20, 100), rng.integers(0, 100)
    masks = np.zeros((CLIP_FRAMES, HEIGHT, WIDTH), dtype=np.uint8)
    for t in range(CLIP_FRAMES):
        masks[t, row : row + 24, column + 4 * t : column + 4 * t + 24] = 1 + seed % 48
    return masks


def write_split(root: Path, split: str, numbers, *, pattern: str = "video_{}") -> None:
    """Write the videos of `make_frames` and `make_masks` in the course layout; a video's number is its seed."""
    for number in numbers:
        frames = make_frames(number, n_frames(split))
        masks = make_masks(number) if split in LABELLED else None
        write_video(root / split / pattern.format(number), frames, masks)


def moving_square(number: int) -> tuple[int, np.ndarray, np.ndarray]:
    """(number, frames, masks) of a bright square of class 9 that moves to the right."""
    masks = np.zeros((CLIP_FRAMES, HEIGHT, WIDTH), dtype=np.uint8)
    for t in range(CLIP_FRAMES):
        masks[t, 40 + 8 * number : 100 + 8 * number, 6 * t : 6 * t + 60] = 9
    frames = np.repeat(np.where(masks > 0, 220, 60).astype(np.uint8)[:, None], 3, axis=1)
    return number, frames, masks


def fill_cache(root: Path, split: str, videos, *, key: str = "test"):
    """Append the videos, (number, frames, masks or None) each, that the split's cache lacks; returns the split."""
    videos = list(videos)
    with filling(root, split, key=key, n_new=len(videos)) as writer:
        for number, frames, masks in videos:
            if number not in writer.numbers:
                writer.append(number, frames, masks)
    return open_split(root, split, progress=False)


def data_files(root: Path) -> dict[str, bytes]:
    """Relative path of every file of a data set -> its bytes, without locks, reports and the random ids of caches."""
    files = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != "check_report.json" and path.suffix != ".lock":
            content = path.read_bytes()
            if path.name == "meta.json":
                content = json.dumps(json.loads(content) | {"id": ""}).encode()
            files[str(path.relative_to(root))] = content
    return files


@contextlib.contextmanager
def full_disk(file_bytes: int):
    """Within this context the kernel refuses to make a file larger than `file_bytes`, in the middle of a write."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ---- notebooks -------------------------------------------------------------------------------------------------------


def write_notebook(path: Path, parameters: str, *sources: str) -> Path:
    """Write a notebook with a title, the parameters cell and these code cells."""
    cells = [new_markdown_cell("# Title"), new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = new_notebook(cells=cells + [new_code_cell(source) for source in sources], metadata=metadata)
    nbformat.write(notebook, path)
    return path


# ---- a fit with everything random that a real one has: order, augmentation, dropout ----------------------------------


class NoisyStripes(torch.utils.data.Dataset):
    """Pictures whose blocks are bright where the class is 1; each reading flips them and adds noise at random."""

    def __init__(self, n=11, augment=True):
        generator = torch.Generator().manual_seed(n)
        self.masks = torch.randint(0, 2, (n, 1, 4), generator=generator).repeat_interleave(6, 1).repeat_interleave(2, 2)
        self.augment = augment

    def __len__(self):
        return len(self.masks)

    def __getitem__(self, index):
        mask = self.masks[index]
        image = mask[None].float().expand(3, -1, -1)
        if self.augment:
            if torch.rand(()) < 0.5:
                mask, image = mask.flip(-1), image.flip(-1)
            image = image + 0.1 * torch.randn(image.shape)
        return image, mask


def toy_model():
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(8, 2, 1)
    )


def toy_step(model, batch):
    images, masks = batch
    return nn.functional.cross_entropy(model(images), masks)


def toy_validate(model, loader, device):
    right = total = 0
    for images, masks in loader:
        answer = model(images.to(device)).argmax(dim=1).cpu()
        right, total = right + (answer == masks).sum().item(), total + masks.numel()
    return {"accuracy": right / total, "wrong": total - right}


def toy_fit(run, *, step=toy_step, validate=toy_validate, device=None, **settings):
    """Three epochs of four batches; returns (model, history)."""
    model = toy_model()
    config = FitConfig(
        **{
            "epochs": 3,
            "batch_size": 3,
            "learning_rate": 0.02,
            "monitor": "accuracy",
            "mode": "max",
            "plateau_patience": 0,
        }
        | settings
    )
    description = {"model": {"name": "toy", "config": {"sizes": (3, 8, 2)}}}
    history = fit(
        model,
        NoisyStripes(),
        NoisyStripes(6, False),
        step=step,
        validate=validate,
        config=config,
        run=run,
        description=description,
        device=device,
    )
    return model, history


def each(record, **changes):
    """A dataclass with a function applied to each of the named fields."""
    return replace(record, **{name: change(getattr(record, name)) for name, change in changes.items()})


def assert_fields_close(one, other, *, atol):
    """Two dataclasses of tensors are the same but for rounding."""
    for field in fields(one):
        torch.testing.assert_close(getattr(one, field.name), getattr(other, field.name), rtol=1e-4, atol=atol)
