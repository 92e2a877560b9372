"""Generated sets have the course layout, and are the same for any number of processes and interruptions. Another seed,
foreign data and a disk that cannot be written are refused in one line."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.helpers import data_files, full_disk
from vidseg_utils.data.cache import filled_numbers, open_split
from vidseg_utils.data.check import check_root
from vidseg_utils.data.identity import dataset_identity, has_exact_labels, has_grown
from vidseg_utils.data.layout import list_videos, read_frames, read_masks
from vidseg_utils.data.locks import DATASET_LOCK
from vidseg_utils.data.resize import nearest_scale
from vidseg_utils.data.sources import generate as generate_module
from vidseg_utils.data.sources import generated_video
from vidseg_utils.data.sources.generate import first_numbers, generate
from vidseg_utils.data.sources.generated_video import MORE_VIDEOS_START, make_video, more_masks
from vidseg_utils.file_lock import lock_file
from vidseg_utils.paths import read_json
from vidseg_utils.renderer import LOOK
from vidseg_utils.simulator import FIRST_WORLD, PhysicsSettings, simulate_video
from vidseg_utils.task import CLIP_VIDEO_FRAMES
from vidseg_utils.world import COURSE_LABELS, EXACT_LABELS, read_annotation

SIZES = {"train": 2, "val": 1, "unlabeled": 1, "hidden": 1}
# The settings that a set of the first releases recorded, in their order
OLD_PHYSICS = {
    "gravity": 9.81,
    "sliding_friction": 0.03,
    "sphere_friction": 0.0,
    "contact_friction": 0.03,
    "linear_drag": 0.04,
    "quadratic_drag": 0.04,
    "angular_drag": 1.0,
    "restitution": 0.7,
}
VIDEO_FILES = {"mask.npy", "annotation.json", *(f"image_{t}.png" for t in range(22))}
NONE = dict.fromkeys(SIZES, 0)


def _quiet(root, *, seed=3, **options):
    generate(root, **{**NONE, **options}, seed=seed, progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small set with real rendering. Shared: do not change it."""
    root = tmp_path_factory.mktemp("finished") / "set"
    generate(root, **SIZES, seed=3, progress=False)
    return root


@pytest.fixture
def cheap(monkeypatch):
    """Replaces rendering by plain grey frames, for tests that do not look at the images."""
    trajectory = simulate_video(0, 0)
    made = []

    def make(seed, number, *, settings=None, label_offset=COURSE_LABELS):
        made.append(number)
        rng = np.random.default_rng([seed, number])
        frames = np.full((22, 3, 160, 240), rng.integers(256), np.uint8)
        return frames, np.full((22, 160, 240), rng.integers(49), np.uint8), trajectory

    monkeypatch.setattr("vidseg_utils.data.sources.generated_video.make_video", make)
    return made


def test_the_course_layout_is_written_and_sound(finished):
    report = check_root(finished, progress=False)
    assert report.sound
    numbers = {split: [video.number for video in list_videos(finished, split)] for split in SIZES}
    assert numbers == {"train": [0, 1], "val": [1000], "unlabeled": [2000], "hidden": [15000]}
    names = {split: {path.name for path in (finished / split).glob("*/*")} for split in SIZES}
    images = {f"image_{t}.png" for t in range(22)}
    assert names["train"] == names["val"] == images | {"mask.npy", "annotation.json"}
    assert names["unlabeled"] == images
    assert names["hidden"] == {f"image_{t}.png" for t in range(11)}
    assert {path.name for path in (finished / "hidden_truth" / "video_15000").iterdir()} == {
        "mask.npy",
        "annotation.json",
    }


def test_images_masks_and_annotation_show_the_same_objects(finished):
    for video in list_videos(finished, "train"):
        trajectory = read_annotation(video.folder / "annotation.json")
        masks, frames = read_masks(video), read_frames(video)
        seen = set(np.unique(masks).tolist()) - {0}
        assert seen and seen <= set(trajectory.class_ids.tolist())
        for t, in_view in enumerate(trajectory.in_view[list(CLIP_VIDEO_FRAMES)]):
            hidden = set(trajectory.class_ids[~in_view].tolist())
            assert not hidden & set(np.unique(masks[t]).tolist())
        where = [frames[-1][:, masks[-1] == id_].mean(axis=1) for id_ in np.unique(masks[-1])]
        assert np.abs(where[0] - where[1]).max() > 5  # an object does not look like the ground


def test_a_video_of_the_set_can_be_made_alone(finished):
    frames, masks, trajectory = make_video(3, 1)
    video = list_videos(finished, "train")[1]
    assert np.array_equal(frames, read_frames(video)) and np.array_equal(masks, read_masks(video))
    assert np.array_equal(trajectory.class_ids, read_annotation(video.folder / "annotation.json").class_ids)
    hidden_truth = np.load(finished / "hidden_truth" / "video_15000" / "mask.npy")
    assert np.array_equal(make_video(3, 15000)[1], hidden_truth)


def test_an_interrupted_run_resumes_and_leaves_existing_files_unchanged(tmp_path, cheap):
    _quiet(tmp_path, train=2, hidden=2)
    before = data_files(tmp_path)
    (tmp_path / "train" / "video_1" / "image_7.png").unlink()
    (tmp_path / "hidden_truth" / "video_15001" / "mask.npy").unlink()
    (tmp_path / "train" / ".video_2.abc.tmp").mkdir()
    cheap.clear()
    _quiet(tmp_path, train=2, hidden=2)
    assert cheap == [1, 15001]
    assert data_files(tmp_path) == before
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_set_grows_and_does_not_shrink(tmp_path, cheap):
    _quiet(tmp_path, train=2)
    _quiet(tmp_path, train=1, val=1)
    _quiet(tmp_path, train=3)
    assert cheap == [0, 1, 1000, 2]
    assert read_json(tmp_path / "generated.json")["sizes"] == {"train": 3, "val": 1, "unlabeled": 0, "hidden": 0}


def test_another_seed_physics_or_store_in_the_same_folder_is_refused(tmp_path, cheap):
    _quiet(tmp_path, train=1)
    before = data_files(tmp_path)
    with pytest.raises(ValueError, match="seed 3, not 4; use another folder"):
        _quiet(tmp_path, train=1, seed=4)
    with pytest.raises(ValueError, match="in the world 'clevrer', not 'first'; continue it with --world clevrer"):
        _quiet(tmp_path, train=1, physics=FIRST_WORLD)
    with pytest.raises(ValueError, match="in the world 'clevrer', not 'own'"):
        _quiet(tmp_path, train=1, physics=PhysicsSettings(restitution=0.5))
    with pytest.raises(ValueError, match="store png, not cache"):
        _quiet(tmp_path, train=1, store="cache")
    with pytest.raises(ValueError, match="labels course, not exact; continue it with --labels course, or use another"):
        _quiet(tmp_path, train=1, labels="exact")
    with pytest.raises(ValueError, match=r"unknown labels 'thin'; choose from \['exact', 'course'\]"):
        _quiet(tmp_path, train=1, labels="thin")
    assert data_files(tmp_path) == before


def test_a_set_made_before_labels_had_names_is_exact_and_grows(tmp_path, cheap):
    _quiet(tmp_path, train=1, labels="exact")
    record = read_json(tmp_path / "generated.json")
    assert record["labels"] == "exact" and set(record["label_offset"].values()) == {0.0}
    named = dataset_identity(tmp_path)
    del record["labels"], record["label_offset"]
    (tmp_path / "generated.json").write_text(json.dumps(record))
    assert dataset_identity(tmp_path) == named
    with pytest.raises(ValueError, match="labels exact, not course; continue it with --labels exact, or use another"):
        _quiet(tmp_path, train=2)
    _quiet(tmp_path, train=2, labels="exact")
    assert cheap == [0, 1]


def test_a_set_made_before_worlds_had_names_is_of_the_first_world_and_grows_in_it(tmp_path, cheap):
    _quiet(tmp_path, train=1, physics=FIRST_WORLD, labels="exact")
    record = read_json(tmp_path / "generated.json")
    assert record.pop("world") == "first"
    assert record["physics"] == OLD_PHYSICS  # as it was recorded before
    (tmp_path / "generated.json").write_text(json.dumps(record))
    assert dataset_identity(tmp_path)["text"] == "generated with seed 3: 1 train"
    with pytest.raises(ValueError, match="in the world 'first', not 'clevrer'; continue it with --world first, or use"):
        _quiet(tmp_path, train=2)
    _quiet(tmp_path, train=2, physics=FIRST_WORLD, labels="exact")
    assert cheap == [0, 1]


def test_a_set_with_another_look_is_another_one_and_does_not_grow(tmp_path, cheap):
    _quiet(tmp_path, train=1)
    made = dataset_identity(tmp_path)
    record = read_json(tmp_path / "generated.json")
    assert record.pop("look") == LOOK
    (tmp_path / "generated.json").write_text(json.dumps(record))
    assert dataset_identity(tmp_path)["id"] != made["id"]
    with pytest.raises(ValueError, match=rf"has pictures of look 1, and this version draws look {LOOK}; use another"):
        _quiet(tmp_path, train=2)


def test_a_cache_that_the_first_releases_filled_is_continued(tmp_path):
    options = {"seed": 3, "physics": FIRST_WORLD, "labels": "exact", "store": "cache"}
    generate(tmp_path, **NONE | {"train": 1}, **options, progress=False)
    old_key = "generated with seed 3, PhysicsSettings(" + ", ".join(f"{k}={v}" for k, v in OLD_PHYSICS.items()) + ")"
    assert filled_numbers(tmp_path, "train", key=old_key) == [0]


@pytest.mark.parametrize("store", ["png", "cache"])
def test_exact_labels_change_the_masks_alone(finished, tmp_path, store):
    generate(tmp_path, **NONE | {"train": 1, "hidden": 1}, seed=3, labels="exact", store=store, progress=False)
    exact, course = open_split(tmp_path, "train", progress=False), open_split(finished, "train", progress=False)
    assert np.array_equal(course.frames[0], exact.frames[0])
    assert np.array_equal(course.masks[0], make_video(3, 0, label_offset=COURSE_LABELS)[1])
    assert np.array_equal(exact.masks[0], make_video(3, 0, label_offset=EXACT_LABELS)[1])
    assert 0.01 < (course.masks[0] != exact.masks[0])[exact.masks[0] > 0].mean() < 0.2
    hidden_exact, hidden_course = (
        np.load(root / "hidden_truth" / "video_15000" / "mask.npy") for root in (tmp_path, finished)
    )
    assert (hidden_course != hidden_exact).any()
    exact_identity, course_identity = dataset_identity(tmp_path), dataset_identity(finished)
    assert course_identity["text"].startswith("generated with seed 3 in the world clevrer and course labels: 2 train")
    assert exact_identity["text"].startswith("generated with seed 3 in the world clevrer: 1 train")
    assert [has_exact_labels(identity) for identity in (exact_identity, course_identity)] == [True, False]
    assert not has_grown(exact_identity, course_identity)


@pytest.mark.parametrize("sizes", [[1], {"train": "1"}, {"train": None}, {"test": 1}, 3])
def test_damaged_sizes_are_refused_in_one_line(tmp_path, cheap, sizes):
    _quiet(tmp_path, train=1)
    path = tmp_path / "generated.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sizes": sizes}))
    with pytest.raises(ValueError, match=r"generated\.json is damaged: its sizes are"):
        _quiet(tmp_path, train=1)


def test_videos_that_were_not_generated_here_stay_unchanged(small_root, cheap):
    before = data_files(small_root)
    with pytest.raises(ValueError, match="not generated here"):
        _quiet(small_root, train=5)
    assert data_files(small_root) == before


def test_sizes_beyond_those_of_the_course_are_numbered_consecutively_and_never_renumbered(tmp_path, cheap, monkeypatch):
    assert first_numbers({"train": 1000, "val": 0, "unlabeled": 13000, "hidden": 5000}) == generate_module.COURSE_STARTS
    big = first_numbers({"train": 1200, "val": 300, "unlabeled": 10, "hidden": 5})
    assert big == {"train": 0, "val": 1200, "unlabeled": 1500, "hidden": 1510}
    _quiet(tmp_path, val=1)
    monkeypatch.setattr(generate_module, "COURSE_SIZES", {"train": 1, "val": 1000, "unlabeled": 13000})
    with pytest.raises(ValueError, match="val would start at video_2, but it starts at video_1000"):
        _quiet(tmp_path, train=2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"train": -1}, "train is -1"),
        ({"seed": -5}, "seed is -5"),
        ({"processes": 0}, "processes is 0"),
        ({"store": "zip"}, r"unknown store 'zip'; choose from \['png', 'cache'\]"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_written(tmp_path, wrong, words):
    with pytest.raises(ValueError, match=words):
        _quiet(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, cheap, monkeypatch):
    written = []

    def fills_up(path, pixels):
        written.append(path)
        if len(written) > 30:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_bytes(b"")

    monkeypatch.setattr("vidseg_utils.data.layout.write_png", fills_up)
    with pytest.raises(OSError, match=r"cannot write .*No space left on device.*it resumes") as caught:
        _quiet(tmp_path, train=3)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["video_0"]


@pytest.mark.parametrize(("store", "limit_bytes"), [("png", 300_000), ("cache", 3_000_000)])
def test_a_full_disk_is_one_line_and_the_next_run_resumes(tmp_path, cheap, store, limit_bytes):
    words = r"cannot write .*File too large.*; correct that and run the same command again: it resumes"
    with full_disk(limit_bytes), pytest.raises(OSError, match=words):
        _quiet(tmp_path, train=2, store=store)
    _quiet(tmp_path, train=2, store=store)
    assert open_split(tmp_path, "train", progress=False).numbers.tolist() == [0, 1]
    assert cheap.count(0) == {"png": 2, "cache": 1}[store]


def test_a_path_that_cannot_be_written_is_named(tmp_path, cheap):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file"):
        _quiet(tmp_path / "file" / "set", train=1)


def test_a_run_waits_for_one_that_soon_ends(tmp_path, cheap):
    other = contextlib.ExitStack()
    other.enter_context(lock_file(tmp_path / DATASET_LOCK, purpose="the data set"))
    threading.Timer(0.3, other.close).start()
    _quiet(tmp_path, train=1)
    assert cheap == [0]


def test_two_runs_into_one_folder_are_refused(tmp_path, cheap, monkeypatch):
    monkeypatch.setattr("vidseg_utils.data.locks.DATASET_TIMEOUT_SECONDS", 0)
    with (
        lock_file(tmp_path / DATASET_LOCK, purpose="the data set"),
        pytest.raises(OSError, match=r"another process is adding videos to .* in use by process [0-9]+ on "),
    ):
        _quiet(tmp_path, train=1)
    _quiet(tmp_path, train=1)
    assert cheap == [0]


def _map_with_end(calls):
    """A map that is interrupted after that many calls."""

    def parallel_map(function, items):
        for number, item in enumerate(items):
            if number == calls:
                raise KeyboardInterrupt
            yield function(item)

    return parallel_map


@pytest.mark.parametrize("store", ["png", "cache"])
def test_workers_elsewhere_make_the_same_files_and_resume(tmp_path, cheap, monkeypatch, store):
    monkeypatch.chdir(tmp_path)
    sizes = {"train": 18, "hidden": 1}
    _quiet("one", store=store, processes=1, **sizes)
    cheap.clear()
    with pytest.raises(KeyboardInterrupt):
        _quiet("shared", store=store, parallel_map=_map_with_end(1), **sizes)
    assert len(cheap) == {"png": 1, "cache": 16}[store]
    _quiet("shared", store=store, parallel_map=map, **sizes)
    assert len(cheap) == 19, "nothing is made twice"
    assert data_files(tmp_path / "shared") == data_files(tmp_path / "one")


def test_shards_that_wait_for_their_command_are_not_made_again(tmp_path, cheap):
    def make_all_then_stop(function, items):
        list(map(function, items))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _quiet(tmp_path, train=20, store="cache", parallel_map=make_all_then_stop)
    cheap.clear()
    _quiet(tmp_path, train=22, store="cache", parallel_map=map)
    assert cheap == [20, 21]
    assert open_split(tmp_path, "train", progress=False).numbers.tolist() == list(range(22))


def test_the_cache_can_be_filled_without_image_files(tmp_path, cheap):
    _quiet(tmp_path / "png", train=2, unlabeled=1, hidden=1)
    _quiet(tmp_path / "cache", train=1, hidden=1, store="cache")
    _quiet(tmp_path / "cache", train=2, unlabeled=1, hidden=1, store="cache")  # grows
    for split in ("train", "unlabeled", "hidden"):
        files, direct = (open_split(tmp_path / kind, split, progress=False) for kind in ("png", "cache"))
        assert np.array_equal(files.frames, direct.frames)
        assert (files.masks is None) == (direct.masks is None) == (split != "train")
        assert files.numbers.tolist() == direct.numbers.tolist()
    assert np.array_equal(open_split(tmp_path / "cache", "train", progress=False).masks[1], cheap_mask(3, 1))
    assert open_split(tmp_path / "cache", "train", progress=False).annotation(0) is not None
    assert (tmp_path / "cache" / "hidden_truth" / "video_15000" / "mask.npy").is_file()
    assert not list((tmp_path / "cache").rglob("*.png"))
    assert cheap.count(0) == 2  # once for each kind of store


def cheap_mask(seed, number):
    rng = np.random.default_rng([seed, number])
    rng.integers(256)
    return np.full((22, 160, 240), rng.integers(49), np.uint8)


def test_an_interrupted_cache_goes_on_behind_its_last_video(tmp_path, cheap, monkeypatch):
    make, stopped = generated_video.make_video, []

    def interrupted(seed, number, **settings):
        if number == 4 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        return make(seed, number, **settings)

    monkeypatch.setattr(generated_video, "make_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _quiet(tmp_path, train=6, store="cache")
    assert cheap == [0, 1, 2, 3]
    _quiet(tmp_path, train=6, store="cache")
    assert cheap == [0, 1, 2, 3, 4, 5]
    cache = open_split(tmp_path, "train", progress=False)
    assert cache.numbers.tolist() == [0, 1, 2, 3, 4, 5]
    assert all(np.array_equal(cache.masks[number], cheap_mask(3, number)) for number in range(6))


@pytest.mark.parametrize(("labels", "offset"), [("course", COURSE_LABELS), ("exact", EXACT_LABELS)])
def test_masks_of_more_videos_are_those_that_the_set_would_have(tmp_path, labels, offset):
    settings = PhysicsSettings(linear_drag=0.05)
    _quiet(tmp_path, labels=labels, physics=settings, train=0)
    (masks,) = more_masks(tmp_path, 1, height=80, width=120, progress=False)
    _, expected, _ = make_video(3, MORE_VIDEOS_START, settings=settings, label_offset=offset)
    np.testing.assert_array_equal(masks, nearest_scale(expected, height=80, width=120))


def test_two_processes_fill_a_cache_with_the_videos_of_one(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(generate_module, "MIN_VIDEOS_PER_PROCESS", 1)
    generate(tmp_path, **SIZES, seed=3, store="cache", processes=2, progress=False)
    for split in ("train", "val", "unlabeled", "hidden"):
        one, two = (open_split(root, split, progress=False) for root in (finished, tmp_path))
        assert one.numbers.tolist() == two.numbers.tolist()
        assert np.array_equal(one.frames, two.frames)
        assert (one.masks is None and two.masks is None) or np.array_equal(one.masks, two.masks)
    assert open_split(tmp_path, "train", progress=False).annotation(1) is not None
    truth = [(root / "hidden_truth" / "video_15000" / "mask.npy").read_bytes() for root in (finished, tmp_path)]
    assert truth[0] == truth[1]


@pytest.mark.slow
def test_ctrl_c_ends_two_processes_and_their_videos_equal_those_of_one(finished, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\n"
        "from vidseg_utils.data.sources.generate import generate\n"
        "if __name__ == '__main__':\n"
        # a job that a shell started in the background would ignore it
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"    generate({str(tmp_path / 'set')!r}, train=300, val=0, unlabeled=0, hidden=0, seed=3, processes=2)\n"
    )
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, start_new_session=True, text=True)
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "set" / "train" / "video_1").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    with pytest.raises(ProcessLookupError):  # soon no process of the group is left
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    made = data_files(tmp_path / "set" / "train")
    whole = {f"{video}/{name}" for video in {path.split("/")[0] for path in made} for name in VIDEO_FILES}
    assert set(made) == whole and len(made) < 300 * len(VIDEO_FILES)
    for path, content in data_files(finished / "train").items():
        assert path not in made or made[path] == content
