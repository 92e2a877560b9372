"""The cache equals the files, is rebuilt when they change, never appears unfinished, and survives a full disk."""

import errno
import itertools
import json
import logging
import os
import pickle
import shutil
import threading

import numpy as np
import pytest

from tests.helpers import fill_cache, full_disk, make_frames, make_masks, write_split
from vidseg_utils.data.cache import build as build_module
from vidseg_utils.data.cache import filled_numbers, filling, open_split
from vidseg_utils.data.cache import open as open_module
from vidseg_utils.data.cache.writer import CacheWriter
from vidseg_utils.data.datasets import ClipDataset


@pytest.fixture
def root(tmp_path):
    """A data set of the test's own: 3 training videos."""
    write_split(tmp_path / "set", "train", (0, 2, 10))
    return tmp_path / "set"


def test_the_cache_holds_what_the_files_hold(small_root):
    cache = open_split(small_root, "train", progress=False)
    assert cache.numbers.tolist() == [0, 2, 10]
    assert not cache.skipped
    for index, number in enumerate(cache.numbers):
        np.testing.assert_array_equal(cache.frames[index], make_frames(number))
        np.testing.assert_array_equal(cache.masks[index], make_masks(number))


def test_splits_without_labels_have_no_masks(small_root):
    assert open_split(small_root, "unlabeled", progress=False).masks is None
    hidden = open_split(small_root, "hidden", progress=False)
    assert hidden.masks is None
    assert hidden.frames.shape == (2, 11, 3, 160, 240)


def test_a_smaller_size_averages_frames_and_picks_masks(small_root):
    cache = open_split(small_root, "val", height=80, width=120, progress=False)
    frames, masks = make_frames(1001).astype(float), make_masks(1001)
    means = frames.reshape(22, 3, 80, 2, 120, 2).mean(axis=(3, 5))
    np.testing.assert_array_equal(cache.frames[1], np.floor(means + 0.5))
    np.testing.assert_array_equal(cache.masks[1], masks[:, 1::2, 1::2])


@pytest.mark.parametrize("size", [(320, 480), (0, 240), (160, 241)])
def test_an_impossible_size_is_refused(small_root, size):
    with pytest.raises(ValueError, match="is impossible; choose at most 160x240"):
        open_split(small_root, "train", height=size[0], width=size[1])


def test_it_is_built_once_and_again_when_a_file_changes(root, monkeypatch):
    builds = []
    real_build = open_module.build_cache
    monkeypatch.setattr(open_module, "build_cache", lambda *a, **k: (builds.append(1), real_build(*a, **k)))

    def open_and_count():
        cache = open_split(root, "train", progress=False)
        return len(cache), len(builds)

    assert open_and_count() == (3, 1)
    assert open_and_count() == (3, 1)
    write_split(root, "train", [5])  # one more
    assert open_and_count() == (4, 2)
    shutil.rmtree(root / "train" / "video_2")  # one less
    assert open_and_count() == (3, 3)
    shutil.copyfile(root / "train" / "video_0" / "image_3.png", root / "train" / "video_5" / "image_3.png")
    assert open_and_count() == (3, 4)
    os.utime(root / "train" / "video_0" / "mask.npy", ns=(1, 1))  # another time, the same content
    assert open_and_count() == (3, 4)


@pytest.mark.parametrize("name", ["mask.npy", "image_7.png"])
def test_a_change_that_keeps_size_and_time_is_noticed(root, name):
    path = root / "train" / "video_2" / name
    before, status = open_split(root, "train", progress=False), path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = open_split(root, "train", progress=False)
    assert after.meta["id"] != before.meta["id"]
    assert set(after.skipped) == (set() if name == "mask.npy" else {"video_2"})  # the image's checksum is wrong now


def test_a_copied_set_keeps_its_cache_and_is_read_once(root, tmp_path, monkeypatch):
    before = open_split(root, "train", height=80, width=120, progress=False)
    copied = tmp_path / "copy"
    shutil.copytree(root, copied, copy_function=shutil.copyfile)  # new times
    after = open_split(copied, "train", height=80, width=120, progress=False)
    assert after.meta["id"] == before.meta["id"]
    monkeypatch.setattr(open_module, "content_digest", lambda *_, **__: pytest.fail("read the files again"))
    assert open_split(copied, "train", height=80, width=120, progress=False).meta["id"] == before.meta["id"]


def test_unusable_videos_are_skipped_counted_and_named(root, caplog):
    (root / "train" / "video_2" / "image_20.png").unlink()
    shutil.copytree(root / "train" / "video_10", root / "train" / "video_11")
    shutil.copytree(root / "train" / "video_10", root / "train" / "video_011")
    with caplog.at_level(logging.WARNING):
        cache = open_split(root, "train", progress=False)
    assert cache.numbers.tolist() == [0, 10]
    assert set(cache.skipped) == {"video_2", "video_11", "video_011"}
    assert "image_20.png: missing image" in cache.skipped["video_2"]
    (line,) = caplog.messages
    assert "skipped 3 of 5 videos" in line


def test_a_split_with_no_usable_video_says_why_and_leaves_nothing(root):
    for video in (root / "train").iterdir():
        (video / "mask.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no usable video; video_0: mask\.npy: empty file"):
        open_split(root, "train", progress=False)
    assert _leftovers(root) == []


def _leftovers(root):
    return [p.name for p in (root / ".cache").iterdir() if p.suffix != ".lock"]


@pytest.mark.parametrize("split", ["val", "nonsense"])
def test_a_missing_or_unknown_split_is_one_line(root, split):
    with pytest.raises((FileNotFoundError, ValueError), match=r"no split 'val'|unknown split"):
        open_split(root, split)


def test_an_interrupted_build_leaves_nothing(root, monkeypatch):
    real_append = CacheWriter.append

    def die_at_second(self, number, *args, **kwargs):
        if self.numbers:
            raise KeyboardInterrupt
        real_append(self, number, *args, **kwargs)

    monkeypatch.setattr(CacheWriter, "append", die_at_second)
    with pytest.raises(KeyboardInterrupt):
        open_split(root, "train", progress=False)
    assert _leftovers(root) == []


def test_the_rest_of_a_killed_build_is_removed(root):
    leftover = root / ".cache" / "train_160x240"
    leftover.mkdir(parents=True)
    (leftover / "frames.npy").write_bytes(b"half a video")
    assert len(open_split(root, "train", progress=False)) == 3
    assert _leftovers(root) == ["train_160x240"]


@pytest.mark.parametrize("damage", ["cut", "gone", "header", "meta", "number"])
def test_a_damaged_cache_is_rebuilt(root, damage):
    folder = open_split(root, "train", progress=False).folder
    if damage == "cut":
        with (folder / "frames.npy").open("r+b") as file:
            file.truncate(100_000)
    elif damage == "gone":
        (folder / "masks.npy").unlink()
    elif damage == "header":  # numpy's parser ends in an error of its own
        with (folder / "frames.npy").open("r+b") as file:
            file.seek(12)
            file.write(b"((")
    elif damage == "number":
        path = folder / "meta.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "numbers": [1, 2, 400]}))
    else:
        (folder / "meta.json").write_text('{"version": 1}')
    np.testing.assert_array_equal(open_split(root, "train", progress=False).frames[2], make_frames(10))


def test_a_full_disk_gives_one_line_and_leaves_nothing(root, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=r"no room for .*train_160x240: .*; free some room") as caught:
        open_split(root, "train", progress=False)
    assert caught.value.errno == errno.ENOSPC
    assert _leftovers(root) == []


def test_too_little_room_is_found_before_decoding(root, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 5_000_000))
    monkeypatch.setattr(build_module, "read_frames", lambda _: pytest.fail("decoded a video"))
    with pytest.raises(OSError, match=r"0\.01 GB are needed and 0\.01 GB are free"):
        open_split(root, "train", progress=False)
    assert _leftovers(root) == []


def test_a_limit_on_file_size_is_met_like_a_full_disk(root):
    with full_disk(4_000_000), pytest.raises(OSError, match="no room for"):
        open_split(root, "train", progress=False)
    assert _leftovers(root) == []


def test_filling_resumes_after_a_full_disk(tmp_path):
    fill_cache(tmp_path, "train", _videos((0, 1)), key="k")
    with full_disk(6_000_000), pytest.raises(OSError, match="too large"):
        fill_cache(tmp_path, "train", _videos((0, 1, 2)), key="k")
    assert filled_numbers(tmp_path, "train", key="k") == [0, 1]
    assert open_split(tmp_path, "train", progress=False).numbers.tolist() == [0, 1]
    cache = fill_cache(tmp_path, "train", _videos((0, 1, 2)), key="k")
    np.testing.assert_array_equal(cache.frames[2], make_frames(2))


def test_two_builders_at_once_build_one_cache(root, monkeypatch):
    builds = []
    real_build = open_module.build_cache
    monkeypatch.setattr(open_module, "build_cache", lambda *a, **k: (builds.append(1), real_build(*a, **k)))
    caches = []
    threads = [
        threading.Thread(target=lambda: caches.append(open_split(root, "train", progress=False))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert len(caches) == 4
    for cache in caches:
        np.testing.assert_array_equal(cache.frames[1], make_frames(2))


def test_a_read_only_root_is_cached_at_home(root, home):
    root.chmod(0o555)
    try:
        cache = open_split(root, "train", progress=False)
        assert home in cache.folder.parents
        assert not (root / ".cache").exists()
        assert open_split(root, "train", progress=False).meta["id"] == cache.meta["id"]
    finally:
        root.chmod(0o755)


def test_pickling_keeps_the_path_and_not_the_pixels(small_root):
    cache = open_split(small_root, "train", progress=False)
    pickled = pickle.dumps(cache)
    assert len(pickled) < 2000
    assert len(pickle.dumps(ClipDataset(cache))) < 4000
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.masks[1], cache.masks[1])


def _videos(numbers):
    return ((n, make_frames(n), make_masks(n)) for n in numbers)


def test_a_split_filled_directly_opens_without_image_folders(tmp_path):
    fill_cache(tmp_path, "train", _videos((3, 4)), key="seed 1")
    assert not (tmp_path / "train").exists()
    cache = open_split(tmp_path, "train", progress=False)
    assert cache.numbers.tolist() == [3, 4]
    np.testing.assert_array_equal(cache.frames[1], make_frames(4))
    small = open_split(tmp_path, "train", height=80, width=120, progress=False)
    np.testing.assert_array_equal(small.masks[0], make_masks(3)[:, 1::2, 1::2])
    assert small.frames.shape == (2, 22, 3, 80, 120)


def test_filling_resumes_where_an_interrupted_run_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt), filling(tmp_path, "train", key="seed 1", n_new=3) as writer:
        for video in _videos((0, 1)):
            writer.append(*video)
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError):
        open_split(tmp_path, "train", progress=False)  # not published
    assert filled_numbers(tmp_path, "train", key="seed 1") == [0, 1]
    with filling(tmp_path, "train", key="seed 1", n_new=1) as writer:
        assert writer.numbers == [0, 1]
        writer.append(*next(_videos([2])))
    cache = open_split(tmp_path, "train", progress=False)
    for index in range(3):
        np.testing.assert_array_equal(cache.frames[index], make_frames(index))
        np.testing.assert_array_equal(cache.masks[index], make_masks(index))


def test_rows_are_written_in_any_order_and_shown_once_they_are_counted(tmp_path):
    with pytest.raises(KeyboardInterrupt), filling(tmp_path, "train", key="k", n_new=3) as writer:
        rows, videos = list(itertools.islice(writer.rows(), 3)), list(_videos((0, 1, 2)))
        for index in (2, 0):
            pickle.loads(pickle.dumps(rows[index])).write(*videos[index])  # as a worker process gets it
        writer.count(0)
        raise KeyboardInterrupt
    assert filled_numbers(tmp_path, "train", key="k") == [0]  # video 2 is written, but video 1 is missing before it
    cache = fill_cache(tmp_path, "train", _videos((0, 1, 2)), key="k")
    for index in range(3):
        np.testing.assert_array_equal(cache.frames[index], make_frames(index))
        np.testing.assert_array_equal(cache.masks[index], make_masks(index))


def test_videos_that_lost_their_pixels_are_not_counted_and_not_shown(tmp_path):
    fill_cache(tmp_path, "train", _videos((0, 1)), key="k")
    masks = tmp_path / ".cache" / "train_160x240" / "masks.npy"
    with masks.open("r+b") as file:
        file.truncate(masks.stat().st_size - 1)
    assert filled_numbers(tmp_path, "train", key="k") == [0]
    with pytest.raises(KeyboardInterrupt), filling(tmp_path, "train", key="k", n_new=1) as writer:
        assert writer.numbers == [0]
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError):
        open_split(tmp_path, "train", progress=False)
    cache = fill_cache(tmp_path, "train", _videos((0, 1)), key="k")
    np.testing.assert_array_equal(cache.masks[1], make_masks(1))


def test_readers_keep_their_videos_while_a_finished_cache_grows(tmp_path):
    first = fill_cache(tmp_path, "train", _videos((0, 1)))
    with filling(tmp_path, "train", key="test", n_new=2) as writer:
        writer.append(*next(_videos([2])))
        during = open_split(tmp_path, "train", progress=False)
        assert during.meta["id"] == first.meta["id"]
        assert during.frames.shape[0] == during.masks.shape[0] == 2
    assert open_split(tmp_path, "train", progress=False).numbers.tolist() == [0, 1, 2]
    worker = pickle.loads(pickle.dumps(first))  # as a loader's process gets it
    for cache in (first, during, worker):
        assert cache.numbers.tolist() == [0, 1]
        np.testing.assert_array_equal(cache.frames[1], make_frames(1))
        np.testing.assert_array_equal(cache.masks[0], make_masks(0))


def test_a_finished_cache_grows_with_the_same_key_and_is_replaced_with_another(tmp_path):
    first = fill_cache(tmp_path, "train", _videos((0, 1)), key="seed 1")
    same = fill_cache(tmp_path, "train", _videos((0, 1)), key="seed 1")
    assert same.meta["id"] == first.meta["id"]
    grown = fill_cache(tmp_path, "train", _videos((0, 1, 2)), key="seed 1")
    assert grown.numbers.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(grown.masks[0], make_masks(0))
    assert fill_cache(tmp_path, "train", _videos([7]), key="seed 2").numbers.tolist() == [7]


def test_filling_refuses_to_mix_two_sets(root, tmp_path):
    with pytest.raises(ValueError, match="holds image folders"), filling(root, "train", key="x", n_new=1):
        pass
    with pytest.raises(ValueError, match="video 1 comes after video 2"):
        fill_cache(tmp_path, "train", _videos((2, 1)))
    with pytest.raises(ValueError, match="video 5: masks are missing"):
        fill_cache(tmp_path, "val", [(5, make_frames(5), None)])


@pytest.mark.real_data
def test_the_read_only_sample_opens(read_only_sample, home):
    cache = open_split(read_only_sample, "unlabeled", height=80, width=120, progress=False)
    assert cache.numbers.tolist() == [2000, 2002, 10000, 10001]
    assert not (read_only_sample / ".cache").exists()
