"""The kinds of input that benchmarks/reliability.py damages: how undamaged files are written, and how they are read."""

import contextlib
import dataclasses
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from tests.helpers import toy_fit, toy_step, write_split
from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import CityscapesSequences, generate, import_archive, open_split
from vidseg_utils.data.mask_file import read_mask_file
from vidseg_utils.data.png import read_png, write_png
from vidseg_utils.data.sources.clevrer_video import ClevrerVideo, load_clevrer_video
from vidseg_utils.evaluation import (
    evaluate_system,
    leaderboard_table,
    read_leaderboard,
    score_submission,
    write_submission,
)
from vidseg_utils.models import build_model
from vidseg_utils.run_folders import read_history, read_run_folders
from vidseg_utils.running.sweep import plan_sweep
from vidseg_utils.systems import Workspace, build_system
from vidseg_utils.systems.copy_last import UnetCopyLast
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.training.run_folder import write_history
from vidseg_utils.training.weights import load_model, save_model
from vidseg_utils.world import Trajectory, write_annotation


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of input."""

    make: Callable[[Path], None]  # write undamaged files into a folder
    read: Callable[[Path], object]  # read them; AssertionError if they are read wrong
    damaged: str  # pattern of the files that are damaged, one at a time


def _check_masks(masks: np.ndarray, shape: tuple[int, ...]) -> None:
    assert masks.shape == shape and masks.dtype == np.uint8 and ((masks < N_CLASSES) | (masks == 255)).all()


def _make_png(folder: Path) -> None:
    pixels = np.zeros((160, 240, 3), np.uint8)
    pixels[40:90, 30:200] = (173, 35, 35)
    write_png(folder / "image_0.png", pixels)


def _read_png(folder: Path) -> None:
    read = read_png(folder / "image_0.png", height=160, width=240)
    assert read.shape == (160, 240, 3) and read.dtype == np.uint8


def _make_mask(folder: Path) -> None:
    np.save(folder / "mask.npy", np.full((22, 160, 240), 10, np.uint8))


def _read_mask(folder: Path) -> None:
    _check_masks(read_mask_file(folder / "mask.npy", shape=(22, 160, 240)), (22, 160, 240))


def _make_clevrer(folder: Path) -> None:
    with av.open(str(folder / "video_00000.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=480, height=320, pix_fmt="yuv420p")
        for t in [*range(128), None]:
            picture = None if t is None else np.full((320, 480, 3), 60 + t, np.uint8)
            frame = None if picture is None else av.VideoFrame.from_ndarray(picture, format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
    positions = np.stack([np.zeros(128), np.linspace(-1.5, 1.5, 128), np.full(128, 0.2)], axis=1)[:, None]
    rotations = np.broadcast_to(np.eye(3), (128, 1, 3, 3))
    still = np.zeros_like(positions)
    trajectory = Trajectory(np.array([3], np.uint8), positions, rotations, still, still, np.ones((128, 1), bool))
    write_annotation(folder / "annotation_00000.json", trajectory, number=0)


def _read_clevrer(folder: Path) -> None:
    video = ClevrerVideo(0, folder / "video_00000.mp4", folder / "annotation_00000.json")
    loaded = load_clevrer_video(video, labelled=True)
    if isinstance(loaded, str):
        raise ValueError(loaded)
    frames, masks = loaded
    assert frames.shape == (22, 3, 160, 240) and frames.dtype == np.uint8 and masks is not None
    _check_masks(masks, (22, 160, 240))


ARCHIVED = [b"0" * 300, b"mask" * 200, bytes(range(256)) * 4]


def _make_archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for number, content in enumerate(ARCHIVED):
            file.writestr(f"set/train/video_{number}/image_{number}.png", content)
            file.writestr(f"set/train/video_{number}/mask.npy", content, compress_type=zipfile.ZIP_STORED)


def _read_archive(folder: Path) -> None:
    try:
        import_archive(folder / "a.zip", folder / "out", progress=False)
    finally:
        assert {path.name for path in folder.iterdir()} <= {"a.zip", "out"}, "a file outside the folder"
        written = [path for path in (folder / "out" / "train").rglob("*.*") if path.is_file()]
        assert all(path.read_bytes() in ARCHIVED for path in written), "another content"


def _make_folder(folder: Path) -> None:
    write_split(folder, "train", (0, 1))


def _read_split(folder: Path) -> None:
    split = open_split(folder, "train", height=40, width=60, progress=False)
    assert split.masks is not None and split.frames.shape[1:] == (22, 3, 40, 60)
    _check_masks(np.asarray(split.masks), (len(split), 22, 40, 60))


def _make_cache(folder: Path) -> None:
    generate(folder, train=1, val=0, unlabeled=0, hidden=0, seed=0, store="cache", progress=False)
    _read_split(folder)


def _read_cache(folder: Path) -> None:
    _read_split(folder)
    split = open_split(folder, "train", progress=False)
    assert split.frames.shape == (1, 22, 3, 160, 240) and split.numbers.tolist() == [0]
    good = np.load(folder.parent / "good/.cache/train_160x240/frames.npy", mmap_mode="r")
    assert np.array_equal(split.frames[0], good[0]), "other pixels"


def _generate(folder: Path) -> None:
    generate(folder, train=1, val=1, unlabeled=0, hidden=1, seed=0, progress=False)


def _make_cityscapes(folder: Path) -> None:
    for name, kind in (("gtFine", "gtFine_labelIds"), ("leftImg8bit_sequence", "leftImg8bit")):
        (folder / name / "train/aachen").mkdir(parents=True)
        picture = np.full((64, 128) if name == "gtFine" else (64, 128, 3), 7, np.uint8)
        Image.fromarray(picture).save(folder / name / "train/aachen" / f"aachen_000000_000019_{kind}.png")


def _read_cityscapes(folder: Path) -> None:
    item = CityscapesSequences(folder, "train", 1)[0]
    assert item["masks"].max() < 20 and item["frames"].shape[-2:] == item["masks"].shape[-2:]


def _make_run(folder: Path) -> None:
    torch.manual_seed(0)
    save_model(folder, build_model("unet", base_channels=2), name="unet", config={"base_channels": 2})
    write_history(folder, [{"epoch": n, "train_loss": 0.5, "jaccard": 0.1, "seconds": 1.0} for n in (1, 2, 3)])


def _read_run(folder: Path) -> None:
    torch.manual_seed(0)
    expected, found = build_model("unet", base_channels=2).state_dict(), load_model(folder).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items()), "other weights"


def _read_history(folder: Path) -> None:
    history = read_history(folder)
    assert all(isinstance(epoch, dict) for epoch in history), "an epoch that is no object"


def _make_state(folder: Path) -> None:
    """A training that was stopped after its first of two epochs."""
    calls = iter(range(6))

    def step(model: torch.nn.Module, batch: object) -> torch.Tensor:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return toy_step(model, batch)

    with contextlib.suppress(KeyboardInterrupt):
        toy_fit(folder, step=step, epochs=2)


def _read_state(folder: Path) -> None:
    model, history = toy_fit(folder, epochs=2)
    digest = [len(history), *(tensor.double().sum().item() for tensor in model.state_dict().values())]
    expected = folder.parent / "expected.json"
    if not expected.exists():
        expected.write_text(json.dumps(digest))
    assert digest == json.loads(expected.read_text()), "another result"


def _make_constants(folder: Path) -> None:
    PhysicsConstants().to_json(folder / "constants.json")


def _read_constants(folder: Path) -> None:
    values = dataclasses.astuple(PhysicsConstants.from_json(folder / "constants.json"))
    assert all(type(value) is float and np.isfinite(value) for value in values)


def _make_evaluation(folder: Path) -> None:
    workspace = Workspace.for_profile("smoke", root=folder / "data", runs=folder)
    _generate(workspace.root)
    system = build_system("copy_last", workspace=workspace)
    result = evaluate_system(system, workspace.split("val"), true_masks=True, progress=False)
    result.save(folder / "copy_last-smoke", system="copy_last", workspace=workspace, split="val", true_masks=True)
    shutil.rmtree(workspace.root)


def _read_evaluation(folder: Path) -> None:
    if faults := [run.fault for run in read_run_folders(folder) if run.fault]:
        raise ValueError(faults[0])
    rows = read_leaderboard(folder)
    assert all(0 <= row["jaccard"] <= 1 for row in rows), "a score outside 0..1"
    assert all(row["system"] in leaderboard_table(rows) for row in rows), "a system without a line"


def _make_submission(folder: Path) -> None:
    _generate(folder / "data")
    torch.manual_seed(0)
    system = UnetCopyLast(segmenter=build_model("unet", base_channels=2).eval())
    split = open_split(folder / "data", "hidden", height=40, width=60, progress=False)
    write_submission(folder / "masks.pt", system, split, progress=False)


def _read_submission(folder: Path) -> None:
    score = score_submission(folder / "masks.pt", folder / "data")["jaccard"]
    expected = folder.parent / "expected.json"
    if not expected.exists():
        expected.write_text(json.dumps(score))
    assert score == json.loads(expected.read_text()), "another score"


def _make_sweep(folder: Path) -> None:
    text = (
        'question: Why?\nnotebook: "02"\nparameters: {EPOCHS: 1}\ngrid:\n  MODEL: [unet, deeplabv3]\n  SEED: [0, 1]\n'
    )
    (folder / "sweep.yaml").write_text(text.replace("  SEED: [0, 1]\n", ""))


def _read_sweep(folder: Path) -> None:
    runs = plan_sweep(folder / "sweep.yaml", profile="smoke")
    assert runs and all(Path(run.name).name == run.name for run in runs)


KINDS = {
    "png": Kind(_make_png, _read_png, "*.png"),
    "mask": Kind(_make_mask, _read_mask, "*.npy"),
    "annotation": Kind(_make_clevrer, _read_clevrer, "*.json"),
    "mp4": Kind(_make_clevrer, _read_clevrer, "*.mp4"),
    "archive": Kind(_make_archive, _read_archive, "*.zip"),
    "folder": Kind(_make_folder, _read_split, "train/**/*"),
    "cache": Kind(_make_cache, _read_cache, ".cache/*/*.*"),
    "generated.json": Kind(_generate, _generate, "generated.json"),
    "cityscapes": Kind(_make_cityscapes, _read_cityscapes, "*/*/*/*.png"),
    "weights": Kind(_make_run, _read_run, "weights.safetensors"),
    "config.json": Kind(_make_run, _read_run, "config.json"),
    "history": Kind(_make_run, _read_history, "history.jsonl"),
    "state": Kind(_make_state, _read_state, "last/*/*.*"),
    "constants": Kind(_make_constants, _read_constants, "constants.json"),
    "evaluation": Kind(_make_evaluation, _read_evaluation, "*/*.*"),
    "submission": Kind(_make_submission, _read_submission, "masks.*"),
    "sweep file": Kind(_make_sweep, _read_sweep, "*.yaml"),
}
