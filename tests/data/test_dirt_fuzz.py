"""Mutated images, masks, annotations and archives: each is read right or refused in one clear line; never a traceback
of another kind, a hang, a wrong shape, a value that is no class, or a file outside the folder.

Two thousand by default; `VIDSEG_FUZZ=20000 pytest tests/data/test_dirt_fuzz.py` runs that many of each kind.
"""

import contextlib
import io
import json
import os
import random
import shutil
import time
import zipfile

import numpy as np
import pytest

from tests.helpers import write_split
from tests.mutations import damage_tree, mutate, mutate_value, with_right_checksums
from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data.cache import open_split
from vidseg_utils.data.check import check_root
from vidseg_utils.data.faults import FAULT_EFFECTS, SKIPPED, Fault
from vidseg_utils.data.locks import DATASET_LOCK
from vidseg_utils.data.mask_file import read_mask_file
from vidseg_utils.data.png import read_png, write_png
from vidseg_utils.data.sources.course_archive import IMPORT_REPORT_FILE, import_archive
from vidseg_utils.world import Trajectory, read_annotation, write_annotation

CASES = int(os.environ.get("VIDSEG_FUZZ", "0"))
SECONDS_PER_CASE = 5.0  # a hang, even on a busy machine


def _timed(action):
    start = time.perf_counter()
    try:
        return action()
    except ValueError as error:  # includes Fault
        assert "\n" not in str(error)
        return None
    finally:
        assert time.perf_counter() - start < SECONDS_PER_CASE


def test_images(tmp_path):
    path = tmp_path / "image_0.png"
    pixels = np.zeros((160, 240, 3), np.uint8)
    pixels[40:90, 30:200] = (173, 35, 35)
    write_png(path, pixels)
    good, rng, unlike = path.read_bytes(), random.Random(0), 0
    for case in range(CASES or 600):
        bad = mutate(good, rng)
        if case % 2:
            bad = with_right_checksums(mutate(good, rng, last=80 if case % 4 == 1 else None))
        path.write_bytes(bad)
        read = _timed(lambda: read_png(path, height=160, width=240))
        if read is not None:
            assert read.shape == (160, 240, 3)
            assert read.dtype == np.uint8
            unlike += case % 2 == 0 and not np.array_equal(read, pixels)
    assert unlike == 0  # with the original checksums, only undamaged pixels are read


def test_masks(tmp_path):
    path, buffer = tmp_path / "mask.npy", io.BytesIO()
    np.save(buffer, np.full((22, 160, 240), 10, np.uint8))
    good, rng = buffer.getvalue(), random.Random(1)
    for case in range(CASES or 400):
        path.write_bytes(mutate(good, rng, last=128 if case % 4 else None))
        masks = _timed(lambda: read_mask_file(path, shape=(22, 160, 240)))
        if masks is not None:
            assert masks.shape == (22, 160, 240)
            assert masks.dtype == np.uint8
            assert ((masks < N_CLASSES) | (masks == 255)).all()


@pytest.fixture(scope="module")
def annotation(tmp_path_factory) -> bytes:
    """Two objects, nine frames, one collision."""
    path, rng = tmp_path_factory.mktemp("annotation") / "annotation.json", np.random.default_rng(0)
    vectors = [rng.normal(size=(9, 2, 3)) for _ in range(3)]
    rotations = np.broadcast_to(np.eye(3), (9, 2, 3, 3))
    trajectory = Trajectory(np.array([3, 40], np.uint8), vectors[0], rotations, *vectors[1:], np.ones((9, 2), bool))
    write_annotation(path, trajectory, number=0)
    value = json.loads(path.read_text())
    value["collision"] = [{"object_ids": [0, 1], "frame_id": 4, "location": [0.1, 0.2, 0.2]}]
    return json.dumps(value).encode()


def test_annotations(tmp_path, annotation, unchecked_shapes):
    path, rng = tmp_path / "annotation.json", random.Random(2)
    for case in range(CASES or 700):
        if case % 2:
            path.write_bytes(mutate(annotation, rng))
        else:
            path.write_text(json.dumps(mutate_value(json.loads(annotation), rng)))
        trajectory = _timed(lambda: read_annotation(path))
        if trajectory is not None:
            ids, frames = trajectory.class_ids.tolist(), len(trajectory.positions)
            assert all(1 <= id_ < N_CLASSES for id_ in ids)
            assert trajectory.positions.shape == trajectory.velocities.shape == (frames, len(ids), 3)
            assert trajectory.rotations.shape == (frames, len(ids), 3, 3)
            assert np.isfinite(trajectory.positions).all()
            assert np.isfinite(trajectory.rotations).all()
            for collision in trajectory.collisions:
                assert len(collision.objects) == 2
                assert len(collision.location) == 3


def test_a_very_deep_annotation_is_refused(tmp_path):
    path = tmp_path / "annotation.json"
    path.write_text('{"collision":' * 100_000)
    with pytest.raises(ValueError, match=r"annotation\.json"):
        read_annotation(path)


def test_archives(tmp_path):
    buffer, contents = io.BytesIO(), {b"0" * 300, b"mask" * 200, bytes(range(256)) * 4}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for n, content in enumerate(sorted(contents)):
            file.writestr(f"set/train/video_{n}/image_{n}.png", content)
            file.writestr(f"set/train/video_{n}/mask.npy", content, compress_type=zipfile.ZIP_STORED)
    good, rng = buffer.getvalue(), random.Random(3)
    directory = good.index(b"PK\x01\x02")
    box = tmp_path / "box"
    for case in range(CASES or 400):
        box.mkdir()
        (box / "a.zip").write_bytes(mutate(good, rng, first=directory if case % 2 else 0))
        _timed(lambda: import_archive(box / "a.zip", box / "out", progress=False))
        assert {p.name for p in box.iterdir()} <= {"a.zip", "out"}
        assert {p.name for p in (box / "out").glob("*")} <= {"train", IMPORT_REPORT_FILE, DATASET_LOCK}
        for written in (box / "out" / "train").rglob("*.*"):
            assert not written.is_file() or written.read_bytes() in contents
        shutil.rmtree(box)


def test_checker_and_loader_agree_on_damaged_folders(tmp_path):
    write_split(tmp_path / "sound", "train", (0, 1))
    root, rng = tmp_path / "set", random.Random(4)
    for _ in range(CASES // 50 or 12):
        shutil.copytree(tmp_path / "sound", root)
        for _ in range(rng.choice((1, 2, 4))):
            with contextlib.suppress(OSError, IndexError):  # the damage itself may be impossible
                damage_tree(rng.choice(sorted(root.glob("train/**/*"))), rng)
        report = check_root(root, progress=False)
        bad = {f.path.relative_to(root).parts[1] for f in report.faults if FAULT_EFFECTS[f.kind] == SKIPPED}
        assert len(bad) == report.skipped["train"]
        if cache := _timed(lambda: open_split(root, "train", progress=False)):
            assert set(cache.skipped) == bad
            assert ((cache.masks < N_CLASSES) | (cache.masks == 255)).all()
        else:
            assert len(bad) == report.videos["train"]
        shutil.rmtree(root)


def test_faults_survive_a_process_boundary():
    import pickle

    fault = pickle.loads(pickle.dumps(Fault("empty file", "a/b.png", "0 bytes")))
    assert (fault.kind, str(fault)) == ("empty file", "a/b.png: empty file (0 bytes)")
