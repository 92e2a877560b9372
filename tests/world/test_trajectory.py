"""CLEVRER's annotations are read back as they were written; each kind of damage is one error that names the file."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vidseg_utils.world.trajectory import Collision, Trajectory, read_annotation, write_annotation


@pytest.fixture
def path(tmp_path):
    generator = np.random.default_rng(0)
    rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    trajectory = Trajectory(
        class_ids=np.array([3, 30], dtype=np.uint8),
        positions=generator.normal(size=(4, 2, 3)).round(4),
        rotations=np.broadcast_to(rotation, (4, 2, 3, 3)),
        velocities=generator.normal(size=(4, 2, 3)).round(4),
        angular_velocities=np.zeros((4, 2, 3)),
        in_view=np.array([[True, False]] * 4),
        collisions=(Collision(2, (0, 1), (0.5, -0.25, 0.2)),),
    )
    write_annotation(tmp_path / "annotation.json", trajectory, number=7)
    return tmp_path / "annotation.json"


def test_an_annotation_is_read_back_as_it_was_written(path):
    trajectory = read_annotation(path)
    assert trajectory.class_ids.tolist() == [3, 30]
    np.testing.assert_allclose(trajectory.rotations[0, 0] @ [1, 0, 0], [0, 1, 0], atol=1e-4)
    assert trajectory.in_view[:, 0].all()
    assert not trajectory.in_view[:, 1].any()
    assert trajectory.collisions == (Collision(2, (0, 1), (0.5, -0.25, 0.2)),)
    assert trajectory.select_frames((0, 3)).positions.shape == (2, 2, 3)


def test_objects_are_identified_by_object_id_and_not_by_order(path):
    value = json.loads(path.read_text())
    for frame in value["motion_trajectory"]:
        frame["objects"].reverse()
    before = read_annotation(path)
    path.write_text(json.dumps(value))
    np.testing.assert_array_equal(read_annotation(path).positions, before.positions)


def test_an_object_on_its_side_keeps_its_rotation(tmp_path):
    eulers = [[0.3, np.pi / 2, 1.0], [np.pi / 2, 0, 0], [1.0, -np.pi / 2, 0.2]]
    rotations = Rotation.from_euler("xyz", eulers).as_matrix()
    trajectory = Trajectory(
        np.array([1, 20, 40], dtype=np.uint8),
        *(np.zeros((1, 3, 3)), rotations[None], np.zeros((1, 3, 3)), np.zeros((1, 3, 3))),
        in_view=np.ones((1, 3), dtype=bool),
    )
    write_annotation(tmp_path / "annotation.json", trajectory, number=0)
    np.testing.assert_allclose(read_annotation(tmp_path / "annotation.json").rotations[0], rotations, atol=2e-4)


def test_frames_that_do_not_exist_are_refused(path):
    with pytest.raises(ValueError, match="has 4 frames; frame 126"):
        read_annotation(path).select_frames((0, 126))


@pytest.mark.real_data
def test_real_annotations_survive_being_written(real_sample, tmp_path):
    for number in ("00000", "10000"):
        trajectory = read_annotation(real_sample.parent / "clevrer" / f"annotation_{number}.json")
        write_annotation(tmp_path / "copy.json", trajectory, number=int(number))
        copy = read_annotation(tmp_path / "copy.json")
        for name in ("class_ids", "positions", "velocities", "angular_velocities", "in_view"):
            np.testing.assert_allclose(getattr(copy, name), getattr(trajectory, name), atol=1e-4)
        np.testing.assert_allclose(copy.rotations, trajectory.rotations, atol=2e-4)
        assert copy.collisions == trajectory.collisions


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe", b'{"a": ' * 100_000, b"null", b"{}"])
def test_any_other_file_is_one_error_that_names_it(tmp_path, content):
    (tmp_path / "annotation.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"annotation\.json"):
        read_annotation(tmp_path / "annotation.json")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("object_property", 0, "color"), "pink", "unknown colour 'pink'"),
        (("object_property", 0, "object_id"), 1, "same object_id"),
        (("motion_trajectory",), [], "empty"),
        (("motion_trajectory", 1, "objects"), [], "no finite pose in frame 1"),
        (("motion_trajectory", 1, "objects", 0, "location"), [0, 0, None], "annotation"),
        (("motion_trajectory", 1, "objects", 0, "location"), [0.5], "without three numbers in frame 1"),
        (("motion_trajectory", 1, "objects", 0, "orientation"), 0.5, "annotation"),
        (("motion_trajectory", 1, "objects", 0, "velocity"), [1e999, 0, 0], "no finite pose in frame 1"),
        (("motion_trajectory", 1, "objects", 0, "location"), [1e300, 0, 0], "beyond 1e+06 in frame 1: 1e+300"),
        (("motion_trajectory", 1, "frame_id"), 2, "frame 1 of motion_trajectory"),
        (("motion_trajectory", 1), 5, "annotation"),
        (("object_property",), {}, "0 objects"),
        (("object_property", 1, "shape"), ["cube"], "unknown shape"),
        (("collision", 0, "location"), [1, 2, 3, 4], "three numbers within 1e"),
        (("collision", 0, "object_ids"), [0, 0], "two objects"),
        (("collision", 0, "frame_id"), 99, "one of the frames"),
        (("collision", 0), {}, "missing 'frame_id'"),
    ],
)
def test_damage_is_one_error_that_names_the_file(path, keys, value, message):
    damaged = json.loads(path.read_text())
    inner = damaged
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(damaged))
    with pytest.raises(ValueError, match=r"annotation\.json is not a CLEVRER annotation") as error:
        read_annotation(path)
    assert message in str(error.value)
