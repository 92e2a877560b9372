"""Simulated videos move as CLEVRER's do: decay, bounces, spin, late objects. Those that break its rules are refused."""

import numpy as np
import pytest

from vidseg_utils.classes import COLOURS, class_attributes, class_id
from vidseg_utils.simulator import physics
from vidseg_utils.simulator.physics import BrokenRuleError, objects_in_view, simulate, simulate_video
from vidseg_utils.simulator.scene import Scene
from vidseg_utils.simulator.settings import FIRST_WORLD, PhysicsSettings
from vidseg_utils.simulator.statistics import motion_statistics
from vidseg_utils.world.trajectory import Collision, read_annotation, write_annotation

CUBE, SPHERE, CYLINDER = (class_id(shape, "rubber", "red") for shape in ("cube", "sphere", "cylinder"))
SPHERES = [class_id("sphere", "metal", colour) for colour in ("gray", "blue", "green", "cyan")]
PER_FRAME = ("positions", "rotations", "velocities", "angular_velocities", "in_view")


def _scene(ids, positions, velocities, yaws=None, masses=None, bounces=0.5) -> Scene:
    count = len(ids)
    yaws = np.zeros(count) if yaws is None else np.array(yaws, dtype=float)
    masses = np.ones(count) if masses is None else np.array(masses, dtype=float)
    positions, velocities = np.array(positions, float), np.array(velocities, float)
    return Scene(np.array(ids, np.uint8), positions, velocities, yaws, masses, np.full((count, count), bounces))


def _shapes(trajectory):
    return [class_attributes(class_id)[0] for class_id in trajectory.class_ids.tolist()]


@pytest.fixture(scope="module")
def videos():
    return [simulate_video(11, number) for number in range(32)]


@pytest.fixture(scope="module")
def official(real_sample):
    return [read_annotation(path) for path in sorted((real_sample.parent / "clevrer").glob("annotation_*.json"))]


# ---- complete videos -------------------------------------------------------------------------------------------------


def test_motion_statistics_lie_where_clevrers_do(videos):
    figures = motion_statistics(videos)
    ranges = {
        "objects a video": (4.4, 5.6),
        "movers a video": (2.2, 2.8),
        "slowest start": (2.72, 2.75),
        "fastest start": (2.97, 3.0),
        "nearest pass of the origin": (0.1, 0.25),
        "widest pass of the origin": (1.4, 1.7),
        "farthest start": (6.5, 10.5),
        "units a frame over velocity": (0.0278, 0.0282),
        "decay a frame, cubes and cylinders": (0.0070, 0.0074),
        "decay a frame, spheres": (0.0040, 0.0044),
        "collisions a video": (2.0, 3.0),
        "restitution, approach below 1.1": (-0.15, 0.15),
        "restitution, approach 1.1 to 2.1": (0.0, 0.35),
        "restitution, approach above 2.1": (0.25, 0.55),
        "scatter of restitution, approach above 1.5": (0.12, 0.35),
        "scatter of the log of the mass ratio": (0.12, 0.30),
        "share still, frames 60 to 126": (0.15, 0.35),
        "share past a diameter, frames 60 to 126": (0.48, 0.75),
        "median shift, frames 60 to 126": (0.6, 1.3),
        "objects in view at frame 126": (4.0, 5.4),
        "share late": (0.01, 0.12),
    }
    assert figures.keys() == ranges.keys()
    outside = {name: figures[name] for name, (low, high) in ranges.items() if not low <= figures[name] <= high}
    assert not outside


@pytest.mark.real_data
def test_the_statistics_give_the_known_figures_on_official_annotations(official):
    figures = motion_statistics(official)
    assert figures["units a frame over velocity"] == pytest.approx(0.028, abs=1e-4)
    assert figures["decay a frame, cubes and cylinders"] == pytest.approx(0.0072, abs=2e-4)
    assert figures["decay a frame, spheres"] == pytest.approx(0.0042, abs=2e-4)
    assert figures["collisions a video"] == 2.5
    assert 2.72 <= figures["slowest start"] <= figures["fastest start"] <= 3.0


def test_statistics_of_no_videos_are_refused():
    with pytest.raises(ValueError, match="at least one video"):
        motion_statistics([])


def test_a_video_made_alone_is_the_same_as_one_made_among_others(videos):
    for number in (17, 3):
        alone = simulate_video(11, number)
        for name in ("class_ids", *PER_FRAME):
            assert np.array_equal(getattr(alone, name), getattr(videos[number], name))
        assert alone.collisions == videos[number].collisions
    assert not np.array_equal(simulate_video(12, 3).positions[0, 0], videos[3].positions[0, 0])


def test_every_video_keeps_the_rules(videos):
    for video in videos:
        assert video.positions.shape == (128, len(video.class_ids), 3)
        assert 2 <= len(video.collisions) <= 3
        assert abs(video.positions[..., 2] - 0.2).max() < 0.01  # no object leaves the ground or sinks into it
        assert not video.angular_velocities[0].any()
        for n, shape in enumerate(_shapes(video)):
            axis = {"cube": 2, "cylinder": 1}.get(shape)
            if axis is not None:
                assert video.rotations[:, n, 2, axis].min() > 0.99  # the upright axis: a cylinder's is its own y


def test_a_collision_is_recorded_in_the_frame_before_which_the_two_were_apart(videos):
    for video in videos:
        for collision in video.collisions:
            a, b = collision.objects
            gap = np.linalg.norm(video.positions[:, a] - video.positions[:, b], axis=-1)
            assert gap[: collision.frame + 1].min() > 0.38
            assert gap[collision.frame : collision.frame + 2].min() < 0.62
            x_and_y = np.array(collision.location)[:2]
            assert max(np.linalg.norm(x_and_y - video.positions[collision.frame, n, :2]) for n in (a, b)) < 0.45


def test_no_collision_adds_energy(videos):
    for video in videos:
        moving = (video.velocities**2).sum(axis=(1, 2)) / 2
        spinning = 0.0267 / 2 * (video.angular_velocities**2).sum(axis=(1, 2))
        energy = moving + spinning
        # A bounce may take parts of two frames, so each frame is compared with the three before it.
        recent = np.lib.stride_tricks.sliding_window_view(energy, 3).max(axis=1)
        assert (energy[3:] - recent[:-1]).max() < 0.02


def test_a_trajectory_survives_its_annotation_file(videos, tmp_path):
    write_annotation(tmp_path / "a.json", videos[0], number=0)
    again = read_annotation(tmp_path / "a.json")
    for name in ("positions", "rotations", "velocities", "angular_velocities"):
        assert np.abs(getattr(again, name) - getattr(videos[0], name)).max() < 1e-3
    assert [c.objects for c in again.collisions] == [c.objects for c in videos[0].collisions]


# ---- single laws of motion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restitution", [0.3, 0.5, 0.7, 0.9])
def test_spheres_part_with_the_set_restitution_and_keep_momentum(restitution):
    world = PhysicsSettings(restitution=restitution, linear_drag=0, quadratic_drag=0)
    for before in _two_collisions():
        video = simulate(before, world)
        assert [c.objects for c in video.collisions] == [(0, 1), (2, 3)]
        v = video.velocities[-1, :, 0]
        met = before.velocities[::2, 0] - before.velocities[1::2, 0]
        assert v[::2] + v[1::2] == pytest.approx(before.velocities[::2, 0] + before.velocities[1::2, 0], abs=1e-3)
        assert (v[1::2] - v[::2]) / met == pytest.approx([restitution] * 2, abs=0.07)


def _two_collisions():
    """Scenes of two head-on collisions far apart: onto a sphere at rest, and of two moving spheres."""
    starts = [(-1, 0), (0, 0), (-1.5, 4), (0, 4)]
    for second in (0.0, -1.5):
        yield _scene(SPHERES, starts, [(2.8, 0), (second, 0)] * 2)


def test_an_off_centre_collision_spins_a_cube_but_no_sphere():
    ids = [CUBE, SPHERES[0], CYLINDER, SPHERES[1]]
    video = simulate(_scene(ids, [(0, 0), (-1, 0.1), (0, 4), (-1, 4.1)], [(0, 0), (2.9, 0)] * 2))
    spin = abs(video.angular_velocities[..., 2]).max(axis=0)
    assert spin[0] > 3 and (spin[1:] < 1).all()


def test_objects_go_less_far_with_more_drag():
    collisions = next(_two_collisions())
    worlds = [PhysicsSettings(linear_drag=drag, quadratic_drag=drag / 3) for drag in (0.0, 0.1, 0.5)]
    reached = [simulate(collisions, world).positions[-1, 1, 0] for world in worlds]
    assert reached[0] > reached[1] + 0.3 > reached[2] + 0.9


@pytest.mark.real_data
def test_in_view_agrees_with_official_flags_to_a_frame_at_the_border(official):
    for video in official:
        ours = objects_in_view(_shapes(video), video.positions, video.rotations)
        assert (ours != video.in_view).mean() < 0.005
        assert 0.2 < video.in_view.mean() < 0.99  # objects enter and leave the picture


# ---- broken rules ----


def test_objects_that_overlap_at_the_start_are_refused():
    with pytest.raises(BrokenRuleError, match="touch at the start"):
        simulate(_scene(SPHERES[:3], [(0, 0), (0.39, 0), (1.5, 0)], [(0, 0), (0, 0), (0, 0)]))


def test_too_few_and_too_many_collisions_are_refused():
    with pytest.raises(BrokenRuleError, match="too few"):
        simulate(_scene(SPHERES[:2], [(-1, 0), (0, 0)], [(2.8, 0), (0, 0)]))
    rows = [(x, y) for y in (0, 2, 4, 6) for x in (-1, 0)]
    ids = [class_id("sphere", "rubber", colour) for colour in COLOURS]
    with pytest.raises(BrokenRuleError, match="too many"):
        simulate(_scene(ids, rows, [(2.8, 0), (0, 0)] * 4))


def test_a_pair_that_collides_again_is_refused_in_the_first_world_and_noted_twice_in_clevrers():
    # the middle one is hit from both sides in turn and sent back to the first
    ends = [(2.8, 0), (0, 0), (-2.8, 0)]
    scene = _scene(SPHERES[:3], [(-0.7, 0), (0, 0), (2.4, 0)], ends, bounces=0.95)
    with pytest.raises(BrokenRuleError, match="again"):
        simulate(scene, FIRST_WORLD)
    assert [c.objects for c in simulate(scene).collisions] == [(0, 1), (1, 2), (0, 1)]


def test_an_object_that_tips_is_refused():
    # on ground this rough a gliding cube turns over its leading edge
    spheres = [(x, y) for y in (0, 4) for x in (-1, 0)]
    movers = _scene([*SPHERES, CUBE], [*spheres, (-4, -2)], [*[(2.8, 0), (0, 0)] * 2, (3.0, 0)])
    assert simulate(movers)
    with pytest.raises(BrokenRuleError, match="tips over"):
        simulate(movers, PhysicsSettings(sliding_friction=3.0))


def test_an_object_at_rest_in_the_air_is_refused():
    simulation = physics._Simulation(_scene([CUBE, CYLINDER], [(0, 0), (1, 0)], [(0, 0), (0, 0)]), PhysicsSettings())
    for frame in range(128):
        simulation.record(frame)
    simulation.collisions = [Collision(0, (0, 1), (0.0, 0.0, 0.0))] * 2
    simulation.trajectory()
    simulation.all_poses[50, 1, 2] = 0.25
    with pytest.raises(BrokenRuleError, match="in the air"):
        simulation.trajectory()


def test_settings_under_which_no_simulation_works_are_refused(monkeypatch):
    def fail(scene, settings):
        raise BrokenRuleError("for the test")

    monkeypatch.setattr(physics, "simulate", fail)
    monkeypatch.setattr(physics, "MAX_DRAWS", 2)
    with pytest.raises(ValueError, match="none of 2 simulations"):
        simulate_video(0, 0)


def test_velocities_agree_with_the_steps_between_frames(videos):
    step = np.linalg.norm(np.diff(videos[0].positions, axis=0), axis=-1)
    speed = np.linalg.norm(videos[0].velocities, axis=-1)
    undisturbed = [t for t in range(5, 126) if all(abs(t - c.frame) > 2 for c in videos[0].collisions)]
    assert step[undisturbed] == pytest.approx(0.028 * (speed[:-1] + speed[1:])[undisturbed] / 2, abs=2e-3)
