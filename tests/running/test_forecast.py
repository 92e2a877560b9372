"""Proves that `vidseg forecast` writes what it says for video files and folders, and refuses the rest in one line."""

import json
import shutil
from pathlib import Path

import av
import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from torch import nn

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import load_clip, to_float, write_video
from vidseg_utils.data.sources.generated_video import make_video
from vidseg_utils.paths import read_json
from vidseg_utils.running.forecast import forecast_video
from vidseg_utils.systems import CopyLast, ObjectDynamics, UnetCopyLast, Workspace, forecast_clip
from vidseg_utils.systems.object_dynamics import forecast_ahead
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.training import SHIPPED_EXAMPLE
from vidseg_utils.world import COURSE_LABELS

pytestmark = pytest.mark.slow
FILES = ["forecast.gif", "forecast.mp4", "forecast.png", "mask.npy", "objects.json"]
SHIFTS = {"label_shift_x": COURSE_LABELS.x, "label_shift_y": COURSE_LABELS.y, "label_fatness": COURSE_LABELS.fatness}


class KnownMasks(nn.Module):
    """A segmenter that knows the masks of one video, and sees background in all other frames."""

    def __init__(self, frames, masks):
        super().__init__()
        self.masks = {frame.tobytes(): mask for frame, mask in zip(frames, masks, strict=True)}

    def forward(self, frames):
        pixels = (frames * 255).round().to(torch.uint8).numpy()
        masks = [self.masks.get(frame.tobytes(), np.zeros(frame.shape[1:], np.uint8)) for frame in pixels]
        one_hot = nn.functional.one_hot(torch.from_numpy(np.stack(masks)).long(), N_CLASSES)
        return 10.0 * one_hot.movedim(-1, 1).float()


@pytest.fixture(scope="module")
def video():
    """Frames and masks of a generated video in which objects move."""
    frames, masks, _ = make_video(1_000_003, 23, label_offset=COURSE_LABELS)
    return frames, masks


@pytest.fixture
def system(video):
    return ObjectDynamics(PhysicsConstants(**SHIFTS), segmenter=KnownMasks(*video))


@pytest.fixture
def folder(video, tmp_path):
    """The video in the course layout, with masks."""
    write_video(tmp_path / "video_7", *video)
    return tmp_path / "video_7"


@pytest.fixture
def workspace(tmp_path):
    return Workspace.for_profile("cpu_full", root=tmp_path / "data", runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def write_film(path: Path, *, frames: int = 128, size=(480, 320), rate: int = 25) -> Path:
    """A video file in which a red block moves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, width=size[0], height=size[1], pix_fmt="yuv420p")
        for number in range(frames):
            picture = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
            picture[60:100, number : number + 40] = (200, 30, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_folder_is_forecast_and_compared_with_its_own_masks(system, workspace, folder, video, out):
    lines = forecast_video(folder, system, workspace, out=out)
    assert sorted(path.name for path in out.iterdir()) == FILES
    past = to_float(torch.from_numpy(video[0][None, :11]))
    mask = np.load(out / "mask.npy")
    assert mask.dtype == np.uint8 and (mask == system.predict(past)[0].numpy()).all()
    assert lines[-1].startswith("Jaccard against the video's frame 21 (true mask): ")
    score, copied = (float(part.rpartition(": ")[2]) for part in lines[-1].split(";"))
    assert score > copied + 0.2
    assert len(imageio.imread(out / "forecast.mp4", plugin="pyav")) == 22 + 6
    assert imageio.imread(out / "forecast.png").shape[1] > 900


def test_objects_json_says_what_each_object_is_and_where_and_when_it_will_be(system, workspace, folder, video, out):
    forecast_video(folder, system, workspace, out=out, horizon=5)
    said = json.loads((out / "objects.json").read_text())
    assert {key: said[key] for key in ("video", "system", "first_frame", "horizon")} == {
        "video": "video_7",
        "system": "object_dynamics",
        "first_frame": 0,
        "horizon": 5,
    }
    assert {entry["class_id"] for entry in said["objects"]} == set(np.unique(video[1][10]).tolist()) - {0}
    for entry in said["objects"]:
        rows, columns = np.nonzero(video[1][10] == entry["class_id"])
        assert abs(entry["pixel"][0] - columns.mean()) < 6 and abs(entry["pixel"][1] - rows.mean()) < 9
        assert entry["uncertainty"] < 0.1 and entry["speed"] >= 0
        assert [moment["frame"] for moment in entry["path"]] == [11, 12, 13, 14, 15]
        assert [moment["seconds"] for moment in entry["path"]] == [0.24, 0.48, 0.72, 0.96, 1.2]
    moving = max(said["objects"], key=lambda entry: entry["speed"])
    moved = np.linalg.norm(np.subtract(moving["path"][0]["position"], moving["position"]))
    assert moved == pytest.approx(moving["speed"] * 0.24, rel=0.2)


def test_the_forecast_goes_on_where_the_video_ends(system, workspace, folder, out):
    lines = forecast_video(folder, system, workspace, out=out, start=5, horizon=20)
    assert "frame 30 forecast" in lines[0]
    assert not any("Jaccard" in line for line in lines)
    assert len(imageio.imread(out / "forecast.mp4", plugin="pyav")) == 31 + 6
    assert len(json.loads((out / "objects.json").read_text())["objects"][0]["path"]) == 20


def test_a_hidden_video_and_one_without_masks_are_forecast_too(system, workspace, folder, out):
    (folder / "mask.npy").unlink()
    assert "(mask by the segmenter)" in forecast_video(folder, system, workspace, out=out)[-1]
    for number in range(11, 22):
        (folder / f"image_{number}.png").unlink()
    assert "Jaccard" not in forecast_video(folder, system, workspace, out=out)[-1]


def test_other_systems_forecast_the_last_mask_only(workspace, folder, video, out):
    system = UnetCopyLast(segmenter=KnownMasks(*video))
    lines = forecast_video(folder, system, workspace, out=out)
    assert (np.load(out / "mask.npy") == video[1][10]).all()
    entry = json.loads((out / "objects.json").read_text())["objects"][0]
    assert entry["pixel"] == entry["path"][0]["pixel"] and "position" not in entry
    assert "at pixel [" in lines[1]
    with pytest.raises(ValueError, match="unet_copy_last forecasts 11 frames ahead, not 5; use object_dynamics"):
        forecast_video(folder, system, workspace, out=out, horizon=5)
    with pytest.raises(ValueError, match="copy_last reads true masks; choose a system that reads frames"):
        forecast_video(folder, CopyLast(), workspace, out=out)


def test_masks_ahead_do_not_depend_on_the_horizon(system, folder):
    clip = load_clip(folder, start=0, horizon=20)
    far, near = (forecast_clip(system, clip, horizon=horizon, size=(160, 240)) for horizon in (13, 11))
    assert all((a == b).all() for a, b in zip(far.masks, near.masks, strict=False))
    again = forecast_ahead(system, far.past_masks, horizon=11)
    assert (again.masks[-1] == near.last_mask).all()
    assert (again.spread[0] < again.spread[-1] + 1e-9).all()


def test_video_files_of_both_sizes_are_read_from_any_frame(tmp_path):
    large = load_clip(write_film(tmp_path / "film.mp4"), start=0, horizon=11)
    assert large.frames.shape == (22, 3, 160, 240) and large.name == "film" and large.masks is None
    later = load_clip(tmp_path / "film.mp4", start=60, horizon=20)
    assert len(later.frames) == 12  # video frames 60, 66, …, 126
    assert (later.frames[0] == large.frames[10]).all()
    small = load_clip(write_film(tmp_path / "small.mp4", frames=61, size=(240, 160)), start=0, horizon=11)
    assert small.frames.shape == (11, 3, 160, 240)


@pytest.mark.parametrize(
    ("settings", "start", "message"),
    [
        ({"size": (320, 240)}, 0, "film.mp4 is 240x320 (height x width); expected 320x480 or 160x240"),
        ({"rate": 30}, 0, "film.mp4 has 30 frames a second; expected 25"),
        ({"frames": 50}, 0, "film.mp4 has too few frames: 9 of 11 are there, every sixth up to 60"),
        ({}, 70, "film.mp4 has too few frames: 10 of 11 are there, every sixth up to 130"),
        ({}, -1, "the first frame is -1; it must be 0 or more"),
    ],
)
def test_a_video_file_that_does_not_fit_is_refused_in_one_line(tmp_path, settings, start, message):
    with pytest.raises(ValueError) as refusal:
        load_clip(write_film(tmp_path / "film.mp4", **settings), start=start, horizon=11)
    assert str(refusal.value) == message


def test_other_files_and_folders_are_refused_in_one_line(tmp_path, folder):
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "nothing.mp4", "there is no .*nothing.mp4; give a video file or a folder video_N of the course"),
        (tmp_path / "notes.txt", "notes.txt cannot be read as a video: "),
        (tmp_path / "empty", "image_0.png: missing image"),
        (folder.parent, "is no video but holds some; give one of them, such as .*video_"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            load_clip(path, start=0, horizon=11)
    with pytest.raises(ValueError, match="has 22 frames, of which eleven are given: the first can be 0 to 11, not 12"):
        load_clip(folder, start=12, horizon=11)


def test_nothing_is_written_where_no_object_is_found_or_the_horizon_is_impossible(system, workspace, tmp_path, out):
    film = write_film(tmp_path / "film.mp4")
    with pytest.raises(ValueError, match="film: no object is found in the eleven given frames"):
        forecast_video(film, system, workspace, out=out)
    for horizon in (0, 21):
        with pytest.raises(ValueError, match=f"the horizon is {horizon}; choose 1 to 20 frames ahead"):
            forecast_video(film, system, workspace, out=out, horizon=horizon)
    assert not out.exists()


@pytest.mark.skipif(not SHIPPED_EXAMPLE.is_file(), reason=f"{SHIPPED_EXAMPLE.parent} holds no weights yet")
def test_the_example_is_forecast_better_than_by_copying(vidseg, tmp_path):
    code, printed, errors = vidseg("forecast", "example", "--runs", str(tmp_path / "mine"))
    assert code == 0, errors
    score, copied = (float(part.rpartition(": ")[2]) for part in printed.splitlines()[-2].split(";"))
    assert score > copied
    assert sorted(path.name for path in (tmp_path / "mine" / "forecast-example").iterdir()) == FILES
    assert SHIPPED_EXAMPLE.stat().st_size <= 300_000


@pytest.mark.real_data
@pytest.mark.skipif(not SHIPPED_EXAMPLE.is_file(), reason=f"{SHIPPED_EXAMPLE.parent} holds no weights yet")
def test_videos_of_clevrer_and_of_the_course_are_forecast(vidseg, real_sample, tmp_path):
    for video in (real_sample / "val" / "video_1000", real_sample.parent / "clevrer" / "video_10000.mp4"):
        code, printed, errors = vidseg("forecast", str(video), "--out", "here")
        assert code == 0, errors
        assert "Jaccard against the video's frame 21" in printed
    assert read_json(tmp_path / "here" / "objects.json")["video"] == "video_10000"
    shutil.rmtree(tmp_path / "here")
