"""CLEVRER's files are imported into the course layout: the right frames, masks on the objects, any subset, resumed."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from vidseg_utils.classes import class_id
from vidseg_utils.data.cache import open_split
from vidseg_utils.data.check import check_root
from vidseg_utils.data.identity import dataset_identity
from vidseg_utils.data.layout import list_videos, read_frames, read_masks
from vidseg_utils.data.locks import lock_dataset
from vidseg_utils.data.sources import clevrer
from vidseg_utils.data.sources.clevrer import import_clevrer
from vidseg_utils.data.sources.clevrer_video import ClevrerVideo, decode_video, load_clevrer_video
from vidseg_utils.paths import read_json
from vidseg_utils.task import CLIP_VIDEO_FRAMES
from vidseg_utils.world import COURSE_LABELS, Trajectory, project, write_annotation

RED_BALL, BLUE_BALL = class_id("sphere", "rubber", "red"), class_id("sphere", "rubber", "blue")


def _rolling_ball(id_: int = RED_BALL, frames: int = 128) -> Trajectory:
    positions = np.stack([np.zeros(frames), np.linspace(-1.5, 1.5, frames), np.full(frames, 0.2)], axis=1)[:, None]
    still = np.zeros_like(positions)
    turned = np.broadcast_to(np.eye(3), (frames, 1, 3, 3))
    return Trajectory(np.array([id_], np.uint8), positions, turned, still, still, np.ones((frames, 1), bool))


def _write_video(path: Path, *, frames: int = 128, size=(320, 480)) -> None:
    """Write a grey video that gets lighter with each frame; its left half is darker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=size[1], height=size[0], pix_fmt="yuv420p")
        stream.bit_rate = 4_000_000
        for t in range(frames):
            picture = np.full((*size, 3), 60 + t, np.uint8)
            picture[:, : size[1] // 2] -= 40
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """Videos 0, 3, 5, 7 in two folders as the archives unpack, annotations for all but 5."""
    root = tmp_path_factory.mktemp("clevrer")
    _write_video(root / "videos" / "video_00000-01000" / "video_00000.mp4")
    for number, folder in ((3, "video_00000-01000"), (5, "video_00000-01000"), (7, "more")):
        copy = root / "videos" / folder / f"video_{number:05d}.{'MP4' if number == 3 else 'mp4'}"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((root / "videos" / "video_00000-01000" / "video_00000.mp4").read_bytes())
    (root / "annotations").mkdir()
    for number, id_ in ((0, RED_BALL), (3, BLUE_BALL), (7, RED_BALL)):
        write_annotation(root / "annotations" / f"annotation_{number:05d}.json", _rolling_ball(id_), number=number)
    return root / "videos", root / "annotations"


def _numbers(out):
    return {s: [v.number for v in list_videos(out, s)] for s in clevrer.IMPORTED_SPLITS if (out / s).is_dir()}


def test_every_sixth_frame_is_taken_and_halved(downloaded, tmp_path):
    import_clevrer(*downloaded, tmp_path, split_sizes=(1, 0, 0), progress=False)
    frames = read_frames(list_videos(tmp_path, "train")[0]).astype(float)
    assert frames.shape == (22, 3, 160, 240)
    levels = frames[:, :, 40:120, 150:210].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, 60 + np.array(CLIP_VIDEO_FRAMES), atol=2)
    np.testing.assert_allclose(frames[:, :, 40:120, 30:90].mean(axis=(1, 2, 3)), levels - 40, atol=2)


def test_masks_lie_where_the_camera_sees_the_object(downloaded, tmp_path):
    import_clevrer(*downloaded, tmp_path, split_sizes=(2, 0, 0), progress=False)
    first, second = list_videos(tmp_path, "train")
    masks = read_masks(first)
    assert set(np.unique(masks)) == {0, RED_BALL}
    assert set(np.unique(read_masks(second))) == {0, BLUE_BALL}
    seen = np.array([ndimage.center_of_mass(mask == RED_BALL) for mask in masks]) + 0.5
    expected = project(_rolling_ball().positions[list(CLIP_VIDEO_FRAMES), 0])[:, 1::-1]
    np.testing.assert_allclose(seen, expected, atol=1.0)


def test_splits_fill_in_number_order_and_unannotated_videos_are_unlabeled(downloaded, tmp_path):
    report = import_clevrer(*downloaded, tmp_path, split_sizes=(1, 1, 5), progress=False)
    assert _numbers(tmp_path) == {"train": [0], "val": [3], "unlabeled": [5, 7]}
    assert report.imported == {"train": 1, "val": 1, "unlabeled": 2}
    assert (tmp_path / "train" / "video_0" / "annotation.json").is_file()
    assert not (tmp_path / "unlabeled" / "video_7" / "mask.npy").exists()
    assert check_root(tmp_path, progress=False).sound


def test_an_import_resumes_and_grows_without_moving_a_video(downloaded, tmp_path):
    import_clevrer(*downloaded, tmp_path, split_sizes=(0, 1, 0), progress=False)
    assert _numbers(tmp_path) == {"val": [0]}
    before = (tmp_path / "val" / "video_0" / "mask.npy").stat().st_mtime_ns
    report = import_clevrer(*downloaded, tmp_path, split_sizes=(1, 1, 1), progress=False)
    assert _numbers(tmp_path) == {"train": [3], "val": [0], "unlabeled": [5]}
    assert (report.already_present, report.beyond_sizes) == (1, 1)
    assert (tmp_path / "val" / "video_0" / "mask.npy").stat().st_mtime_ns == before


def test_an_import_can_fill_the_caches_directly(downloaded, tmp_path, monkeypatch):
    real_load, loads = clevrer.load_clevrer_video, []

    def load(source, **options):
        loads.append(source.number)
        if source.number == 3 and len(loads) < 3:
            raise KeyboardInterrupt  # stopped in the middle of a split
        return real_load(source, **options)

    monkeypatch.setattr(clevrer, "load_clevrer_video", load)
    with pytest.raises(KeyboardInterrupt):
        import_clevrer(*downloaded, tmp_path, split_sizes=(3, 0, 1), processes=1, store="cache", progress=False)
    report = import_clevrer(*downloaded, tmp_path, split_sizes=(3, 0, 1), processes=1, store="cache", progress=False)
    assert report.already_present == 1
    cache = open_split(tmp_path, "train", progress=False)
    assert cache.numbers.tolist() == [0, 3, 7]
    assert set(np.unique(cache.masks[1])) == {0, BLUE_BALL}
    assert cache.annotation(1).class_ids.tolist() == [BLUE_BALL]
    assert open_split(tmp_path, "unlabeled", progress=False).masks is None
    assert not (tmp_path / "train").exists()
    again = import_clevrer(*downloaded, tmp_path, split_sizes=(3, 0, 1), store="cache", progress=False)
    assert again.already_present == 4


def test_damaged_files_are_reported_and_the_rest_imported(downloaded, tmp_path):
    videos, annotations = tmp_path / "videos", tmp_path / "annotations"
    videos.mkdir()
    annotations.mkdir()
    good = next(downloaded[0].rglob("video_00000.mp4")).read_bytes()
    for number, content in (
        (0, good),
        (1, good[: len(good) // 2]),
        (2, b"not a video"),
        (3, good),
        (4, good),
        (8, b""),
    ):
        videos.mkdir(exist_ok=True)
        (videos / f"video_{number:05d}.mp4").write_bytes(content)
        source = downloaded[1] / "annotation_00000.json"
        (annotations / f"annotation_{number:05d}.json").write_bytes(source.read_bytes())
    (annotations / "annotation_00003.json").write_text("{}")
    write_annotation(annotations / "annotation_00004.json", _rolling_ball(frames=100), number=4)
    _write_video(videos / "video_00005.mp4", frames=90)
    _write_video(videos / "video_00006.mp4", frames=127, size=(320, 320))
    report = import_clevrer(videos, annotations, tmp_path / "out", progress=False)
    assert report.imported == {"train": 1, "val": 0, "unlabeled": 0}
    assert sorted(report.failed) == [f"video_{n:05d}.mp4" for n in (1, 2, 3, 4, 5, 6, 8)]
    assert "annotation_00003.json is not a CLEVRER annotation" in report.failed["video_00003.mp4"]
    assert "annotation_00004.json has 100 frames; needs 127" in report.failed["video_00004.mp4"]
    assert "too few frames: 15 of 22" in report.failed["video_00005.mp4"]
    assert "is 320x320" in report.failed["video_00006.mp4"]
    assert len(str(report).splitlines()) == 8


def test_a_folder_of_generated_videos_stays_unchanged(downloaded, tmp_path):
    (tmp_path / "generated.json").write_text("{}")
    with pytest.raises(ValueError, match="holds generated videos"):
        import_clevrer(*downloaded, tmp_path, progress=False)


def test_labels_are_recorded_and_a_set_keeps_its_labels(downloaded, tmp_path):
    exact, course = tmp_path / "exact", tmp_path / "course"
    import_clevrer(*downloaded, exact, split_sizes=(1, 0, 0), labels="exact", progress=False)
    import_clevrer(*downloaded, course, split_sizes=(1, 0, 0), progress=False)
    masks, shifted = (read_masks(list_videos(root, "train")[0]) for root in (exact, course))
    centres = [np.array(ndimage.center_of_mass(m == RED_BALL)) for m in (masks, shifted)]
    np.testing.assert_allclose((centres[1] - centres[0])[1:], [COURSE_LABELS.y, COURSE_LABELS.x], atol=0.05)
    assert (shifted == RED_BALL).sum() > 1.02 * (masks == RED_BALL).sum()
    assert read_json(course / "imported.json")["labels"] == "course"
    assert dataset_identity(exact)["id"] != dataset_identity(course)["id"]
    with pytest.raises(ValueError, match="labels course, not exact; continue it with --labels course, or use another"):
        import_clevrer(*downloaded, course, labels="exact", progress=False)
    with pytest.raises(ValueError, match="labels exact, not course; continue it with --labels exact, or use another"):
        import_clevrer(*downloaded, exact, progress=False)
    again = import_clevrer(*downloaded, exact, split_sizes=(2, 0, 0), labels="exact", progress=False)
    assert again.imported["train"] == 1


@pytest.mark.parametrize("record", [None, {"source": "CLEVRER"}], ids=["no file", "no scaling in it"])
def test_a_set_whose_frames_are_means_of_areas_does_not_grow(downloaded, tmp_path, record):
    import_clevrer(*downloaded, tmp_path, split_sizes=(1, 0, 0), labels="exact", progress=False)
    assert read_json(tmp_path / "imported.json")["scaling"] == "bicubic"
    (tmp_path / "imported.json").unlink()  # the first releases wrote no such file
    if record is not None:
        (tmp_path / "imported.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="imported with scaling area, not bicubic; use another folder"):
        import_clevrer(*downloaded, tmp_path, split_sizes=(2, 0, 0), labels="exact", progress=False)
    assert _numbers(tmp_path) == {"train": [0]}


def test_frames_are_scaled_by_antialiased_bicubic_interpolation(downloaded, tmp_path):
    path = next(downloaded[0].rglob("video_00000.mp4"))
    with av.open(str(path)) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    expected = Image.fromarray(first).resize((240, 160), Image.Resampling.BICUBIC)
    assert np.array_equal(decode_video(path)[0], np.asarray(expected).transpose(2, 0, 1))


def test_two_imports_into_one_folder_are_refused(downloaded, tmp_path, monkeypatch):
    monkeypatch.setattr("vidseg_utils.data.locks.DATASET_TIMEOUT_SECONDS", 0)
    with lock_dataset(tmp_path), pytest.raises(OSError, match="another process is adding videos to"):
        import_clevrer(*downloaded, tmp_path, progress=False)


def test_wrong_calls_are_one_line(downloaded, tmp_path):
    videos, annotations = downloaded
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent"):
        import_clevrer(tmp_path / "absent", annotations, tmp_path / "out")
    with pytest.raises(ValueError, match="holds no video"):
        import_clevrer(annotations, annotations, tmp_path / "out")
    with pytest.raises(ValueError, match="unknown store 'zip'"):
        import_clevrer(videos, annotations, tmp_path / "out", store="zip")
    with pytest.raises(ValueError, match="unknown labels 'thin'"):
        import_clevrer(videos, annotations, tmp_path / "out", labels="thin")
    with pytest.raises(ValueError, match="0 or more"):
        import_clevrer(videos, annotations, tmp_path / "out", split_sizes=(1, -1, 0))
    assert not (tmp_path / "out").exists()


@pytest.mark.real_data
@pytest.mark.parametrize("number", ["00000", "10000"])
def test_cast_outlines_fall_on_the_real_objects(real_sample, number):
    """The ground and its shadows are grey, so a strong colour edge is the edge of an object."""
    folder = real_sample.parent / "clevrer"
    source = ClevrerVideo(int(number), folder / f"video_{number}.mp4", folder / f"annotation_{number}.json")
    frames, masks = load_clevrer_video(source, labelled=True)
    assert (frames == decode_video(source.video_path)).all()
    shares, shifted = [], []
    for frame, mask in zip(frames.astype(float), masks.astype(int), strict=True):
        red, green, blue = frame
        strength = sum(ndimage.gaussian_gradient_magnitude(c, 1.0) for c in (red - green, blue - (red + green) / 2))
        strong = strength > 12
        outline = ndimage.grey_dilation(mask, 3) != ndimage.grey_erosion(mask, 3)
        near = ndimage.binary_dilation(outline, iterations=1)  # the outline is 2 px wide already
        shares.append(near[strong].mean())
        shifted.append(np.roll(near, 8, axis=1)[strong].mean())
    assert np.mean(shares) > 0.9
    assert np.mean(shifted) < 0.5  # the same outlines 8 px off do not fit


@pytest.mark.real_data
def test_imported_frames_are_as_sharp_as_the_courses(real_sample):
    """The empty ground shows the same texture in all videos, so the power of its finest details can be compared."""
    background = Image.open(real_sample.parent / "clevrer" / "background.png").convert("RGB")
    empty = np.asarray(background.resize((240, 160), Image.Resampling.BICUBIC)).astype(int).transpose(2, 0, 1)

    def finest_power(frames: np.ndarray) -> float:
        ground = np.abs(frames - empty).max(axis=1) < 14
        grey = frames.mean(axis=1)
        finest = grey[:, 1:, 1:] - grey[:, :-1, 1:] - grey[:, 1:, :-1] + grey[:, :-1, :-1]
        return (finest[ndimage.binary_erosion(ground, np.ones((1, 9, 9)))[:, 1:, 1:]] ** 2).mean()

    course = [read_frames(video) for split in ("train", "val") for video in list_videos(real_sample, split)]
    imported = [decode_video(path) for path in sorted((real_sample.parent / "clevrer").glob("video_*.mp4"))]
    powers = [np.mean([finest_power(frames.astype(int)) for frames in videos]) for videos in (course, imported)]
    assert powers[0] / powers[1] == pytest.approx(1.0, abs=0.15)  # means of areas give 0.5
