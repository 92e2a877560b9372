"""The course layout: videos and frames in number order, every faulty file named, nothing half-written."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.helpers import make_frames, make_masks, write_split
from vidseg_utils.data.faults import FAULT_EFFECTS, Fault
from vidseg_utils.data.layout import list_videos, read_frames, read_masks, write_video
from vidseg_utils.world import Trajectory, read_annotation


def test_videos_are_listed_by_number_in_both_editions(tmp_path):
    for name in ("video_10", "video_2", "video_00007", "video_1000"):
        (tmp_path / "train" / name).mkdir(parents=True)
    (tmp_path / "train" / ".video_3.tmp").mkdir()
    videos = list_videos(tmp_path, "train")
    assert [v.number for v in videos] == [2, 7, 10, 1000]
    assert [v.name for v in videos] == ["video_2", "video_00007", "video_10", "video_1000"]


def test_what_was_written_is_read_back(tmp_path):
    write_split(tmp_path, "train", [7])
    (video,) = list_videos(tmp_path, "train")
    np.testing.assert_array_equal(read_frames(video), make_frames(7))
    np.testing.assert_array_equal(read_masks(video), make_masks(7))


def test_frame_10_comes_after_frame_9(small_root):
    frames = read_frames(list_videos(small_root, "train")[0])
    assert frames[:, 0, 0, 0].tolist() == list(range(22))


def test_a_hidden_video_has_eleven_frames(small_root):
    assert read_frames(list_videos(small_root, "hidden")[0]).shape == (11, 3, 160, 240)


@pytest.mark.parametrize(
    ("split", "error", "words"),
    [("test", ValueError, "unknown split 'test'; choose from"), ("val", FileNotFoundError, "has no split 'val'"),
     ("train", ValueError, "is empty")],
)  # fmt: skip
def test_a_wrong_split_gets_one_clear_line(tmp_path, split, error, words):
    (tmp_path / "train").mkdir()
    with pytest.raises(error, match=words) as caught:
        list_videos(tmp_path, split)
    assert "\n" not in str(caught.value)


def test_a_missing_root_names_the_cure(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data at .*absent; make some with: vidseg data generate"):
        list_videos(tmp_path / "absent", "train")


def test_two_folders_with_one_number_are_refused(tmp_path):
    for name in ("video_7", "video_007", "video_8"):
        (tmp_path / "train" / name).mkdir(parents=True)
    with pytest.raises(ValueError, match="video_007 and video_7; remove all but one"):
        list_videos(tmp_path, "train")


def _png(pixels, mode=None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


RGB = np.full((160, 240, 3), 90, np.uint8)
GOOD = _png(RGB)


def _flip_in_pixels(content: bytes) -> bytes:
    offset = content.index(b"IDAT") + 30
    return content[:offset] + bytes([content[offset] ^ 4]) + content[offset + 1 :]


def _bomb() -> bytes:
    """The header says 160x240, but the pixels are 60 MB of zeros; all checksums are right."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 240, 160, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(60_000_000), level=1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


BAD_IMAGES = {
    "truncated": (GOOD[:-40], "unreadable image"),
    "no end": (GOOD[:-12], "unreadable image"),
    "bad checksum": (_flip_in_pixels(GOOD), "unreadable image"),
    "text": (b"<html>not found</html>", "unreadable image"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(500), "unreadable image"),
    "signature only": (GOOD[:8], "unreadable image"),
    "empty": (b"", "empty file"),
    "wrong size": (_png(RGB[:159]), "wrong image size"),
    "turned": (_png(RGB.transpose(1, 0, 2)), "wrong image size"),
    "huge": (_png(np.zeros((1, 200_000, 3), np.uint8)), "wrong image size"),
    "greyscale": (_png(RGB, "L"), "image not RGB"),
    "palette": (_png(RGB, "P"), "image not RGB"),
    "alpha": (_png(RGB, "RGBA"), "image not RGB"),
    "16 bit": (_png(np.zeros((160, 240), np.uint16)), "image not RGB"),
}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    root = tmp_path_factory.mktemp("one")
    write_split(root, "train", [0])
    return list_videos(root, "train")[0]


@pytest.fixture
def replaced(video):
    """Replace one file of the video for one test: bytes, or None to remove it."""
    kept = {}

    def replace(name, content):
        path = video.folder / name
        kept.setdefault(path, path.read_bytes() if path.is_file() else None)
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)

    yield replace
    for path, content in kept.items():
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_named_with_its_fault(video, replaced, name):
    content, kind = BAD_IMAGES[name]
    replaced("image_13.png", content)
    with pytest.raises(Fault, match=r"image_13\.png") as caught:
        read_frames(video)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)


def test_pixels_beyond_the_size_in_the_header_are_never_unpacked(video, replaced):
    replaced("image_13.png", _bomb())
    assert read_frames(video).shape == (22, 3, 160, 240)  # the first 160 rows only


def test_missing_and_duplicate_frame_numbers_are_faults(video, replaced):
    replaced("image_05.png", GOOD)
    with pytest.raises(Fault, match=r"image_05\.png and image_5\.png; remove all but one"):
        read_frames(video)
    replaced("image_05.png", None)
    replaced("image_5.png", None)
    with pytest.raises(Fault, match=r"image_5\.png: missing image \(frame 5 of 0\.\.21\)"):
        read_frames(video)


def test_a_directory_named_like_an_image_is_a_fault(video, replaced):
    replaced("image_4.png", None)
    (video.folder / "image_4.png").mkdir()
    with pytest.raises(Fault, match="not a regular file"):
        read_frames(video)


def _npy(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


MASKS = np.full((22, 160, 240), 10, np.uint8)  # 10 is a line feed: the header must not extend into the values
BAD_MASKS = {
    "absent": (None, "missing mask"),
    "empty": (b"", "empty file"),
    "truncated": (_npy(MASKS)[:-1], "unreadable mask"),
    "too long": (_npy(MASKS) + b"x", "unreadable mask"),
    "header only": (_npy(MASKS)[:20], "unreadable mask"),
    "text": (b"0 0 0 1", "unreadable mask"),
    "pickle": (pickle.dumps(MASKS), "pickled mask"),
    "objects": (_npy(np.array([{}, None]), allow_pickle=True), "pickled mask"),
    "int64": (_npy(MASKS.astype(np.int64)), "wrong mask dtype"),
    "float": (_npy(MASKS.astype(np.float32)), "wrong mask dtype"),
    "21 frames": (_npy(MASKS[:21]), "too few mask frames"),
    "23 frames": (_npy(np.concatenate([MASKS, MASKS[:1]])), "wrong mask shape"),
    "one frame": (_npy(MASKS[0]), "wrong mask shape"),
    "scalar": (_npy(np.uint8(3)), "wrong mask shape"),
    "turned": (_npy(MASKS.transpose(0, 2, 1)), "wrong mask shape"),
    "enormous": (_npy(MASKS).replace(b"(22, 160, 240)", b"(9999999, 160)"), "wrong mask shape"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_a_bad_mask_is_named_with_its_fault(video, replaced, name):
    content, kind = BAD_MASKS[name]
    replaced("mask.npy", content)
    with pytest.raises(Fault, match=r"mask\.npy") as caught:
        read_masks(video)
    assert caught.value.kind == kind
    assert kind in FAULT_EFFECTS


def test_a_pickle_is_never_opened(video, replaced, tmp_path):
    class Mean:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    for content in (pickle.dumps(Mean()), _npy(np.array([Mean()]), allow_pickle=True)):
        replaced("mask.npy", content)
        with pytest.raises(Fault, match="pickled mask"):
            read_masks(video)
    assert not (tmp_path / "opened").exists()


def test_mask_values_that_are_no_class_are_ignored(video, replaced):
    values = (np.arange(22 * 160 * 240) % 256).astype(np.uint8).reshape(22, 160, 240)
    replaced("mask.npy", _npy(np.asfortranarray(values)))
    masks = read_masks(video)
    np.testing.assert_array_equal(masks[values < 49], values[values < 49])
    assert (masks[values >= 49] == 255).all()


@pytest.mark.parametrize(
    ("frames", "masks", "words"),
    [(np.zeros((22, 160, 240, 3), np.uint8), None, r"frames are uint8 \(22, 160, 240, 3\); expected"),
     (np.zeros((22, 3, 160, 240), np.float32), None, "frames are float32"),
     (np.zeros((22, 3, 160, 240), np.uint8), np.zeros((11, 160, 240), np.uint8), "masks are uint8")],
)  # fmt: skip
def test_a_video_of_the_wrong_shape_is_not_written(tmp_path, frames, masks, words):
    with pytest.raises(ValueError, match=words):
        write_video(tmp_path / "train" / "video_0", frames, masks)
    assert not any(tmp_path.iterdir())


def test_an_interrupted_write_leaves_no_video(tmp_path, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", die)
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "train" / "video_0", make_frames(0), make_masks(0))
    assert not any((tmp_path / "train").iterdir())


def test_the_annotation_is_kept_beside_the_frames(tmp_path):
    still = np.zeros((128, 1, 3))
    poses = Trajectory(np.array([5], np.uint8), still + 0.2, np.broadcast_to(np.eye(3), (128, 1, 3, 3)), still, still,
                       np.ones((128, 1), bool))  # fmt: skip
    write_video(tmp_path / "train" / "video_3", make_frames(3), make_masks(3), annotation=poses)
    again = read_annotation(tmp_path / "train" / "video_3" / "annotation.json")
    np.testing.assert_allclose(again.positions, poses.positions)


@pytest.mark.real_data
def test_the_real_videos_are_read_unchanged(real_sample):
    video = list_videos(real_sample, "train")[0]
    masks = read_masks(video)
    assert sorted(np.unique(masks)) == [0, 5, 12, 20, 22, 25, 30]
    np.testing.assert_array_equal(masks, np.load(video.folder / "mask.npy"))
    with Image.open(video.folder / "image_10.png") as image:
        np.testing.assert_array_equal(read_frames(video)[10].transpose(1, 2, 0), np.asarray(image))
