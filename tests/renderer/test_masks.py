"""Masks: outlines where geometry says, the nearest object in front, bounding rectangles exact."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tests.renderer.trajectories import (
    METAL_CUBE,
    METAL_CYLINDER,
    RUBBER_CUBE,
    RUBBER_SPHERE,
    STANDING_CYLINDER,
    random_trajectory,
    still_trajectory,
)
from vidseg_utils.classes import shape_code
from vidseg_utils.renderer.masks import cast_masks, render_masks
from vidseg_utils.renderer.rectangles import object_rectangles
from vidseg_utils.world.camera import camera_matrix, project
from vidseg_utils.world.label_offset import COURSE_LABELS, LabelOffset
from vidseg_utils.world.solids import CUBE_EDGE_RADIUS, visible_half_size


def walk_along_rays(class_id_, position, rotation, pixels, size):
    """(P,) whether the ray through each pixel position hits, found by walking along it. Slow; shares no formula."""
    matrix = camera_matrix(*size)
    to_world = np.linalg.inv(matrix[:, :3])
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ to_world.T
    depth = project(position, height=size[0], width=size[1])[2] + np.linspace(-0.4, 0.4, 1001)
    points = -to_world @ matrix[:, 3] + depth[:, None, None] * rays - position  # (D, P, 3)
    x, y, z = np.moveaxis(points @ rotation, -1, 0)
    if class_id_ == RUBBER_SPHERE:
        inside = x**2 + y**2 + z**2 < visible_half_size("sphere") ** 2
    elif class_id_ == METAL_CYLINDER:
        inside = (x**2 + z**2 < visible_half_size("cylinder") ** 2) & (abs(y) < visible_half_size("cylinder"))
    else:
        inner = visible_half_size("cube") - CUBE_EDGE_RADIUS
        beyond = np.maximum(abs(np.stack([x, y, z])) - inner, 0)
        inside = (beyond**2).sum(axis=0) < CUBE_EDGE_RADIUS**2
    return inside.any(axis=0)


@pytest.mark.parametrize("id_", [METAL_CUBE, RUBBER_SPHERE, METAL_CYLINDER])
def test_masks_are_what_a_walk_along_the_rays_finds(id_):
    rotations = Rotation.random(3, random_state=5).as_matrix()
    positions = np.array([(0.5, 0.3, 0.3), (-2.0, 1.5, 0.2), (1.2, -0.6, 0.4)])
    for rotation, position in zip(rotations, positions, strict=True):
        mask = cast_masks(np.array([id_]), position[None, None], rotation[None, None], height=40, width=60)[0]
        y, x = np.mgrid[:40, :60]
        pixels = np.stack([x, y], -1) + 0.5
        near = np.abs(pixels - project(position, height=40, width=60)[:2]).max(axis=-1) < 10  # all of the object
        expected = np.zeros((40, 60), bool)
        expected[near] = walk_along_rays(id_, position, rotation, pixels[near], (40, 60))
        wrong = (mask == id_) != expected
        assert (mask == id_).sum() > 10
        assert wrong.sum() <= 1  # a ray that grazes the object between two steps


def test_a_spheres_area_is_that_of_its_outline_ellipse():
    mask = render_masks(still_trajectory([RUBBER_SPHERE], [[0.4, -0.5, 0.2]]), height=640, width=960)[0]
    matrix = camera_matrix(640, 960)
    centre = matrix @ [0.4, -0.5, 0.2, 1]
    conic = 0.2**2 * matrix[:, :3] @ matrix[:, :3].T - np.outer(centre, centre)  # the outline's dual conic
    conic = conic / conic[2, 2]
    ellipse = np.outer(conic[:2, 2], conic[:2, 2]) - conic[:2, :2]  # around its middle
    assert (mask > 0).sum() == pytest.approx(np.pi * np.sqrt(np.linalg.det(ellipse)), rel=0.002)
    y, x = (mask > 0).nonzero()
    np.testing.assert_allclose([x.mean() + 0.5, y.mean() + 0.5], conic[:2, 2], atol=0.05)


def test_a_standing_cylinder_is_taller_than_one_on_its_side():
    standing = render_masks(still_trajectory([METAL_CYLINDER], [[0, 0, 0.2]], STANDING_CYLINDER))[0]
    lying = render_masks(still_trajectory([METAL_CYLINDER], [[0, 0, 0.2]], np.eye(3)))[0]  # its axis across the view
    rows = [np.ptp(mask.nonzero()[0]) for mask in (standing, lying)]
    columns = [np.ptp(mask.nonzero()[1]) for mask in (standing, lying)]
    assert rows[0] > rows[1]
    assert columns[1] >= columns[0]


def test_a_turned_cube_is_wider():
    widths = [
        np.ptp(render_masks(still_trajectory([METAL_CUBE], [[0, 0, 0.2]], rotation))[0].nonzero()[1])
        for rotation in Rotation.from_euler("z", [[0], [45]], degrees=True).as_matrix()
    ]
    assert widths[1] / widths[0] > 1.2


def test_bounding_rectangles_are_exact():
    trajectory = random_trajectory(3)
    poses = trajectory.positions, trajectory.rotations
    rectangles = object_rectangles(shape_code(trajectory.class_ids), *poses, height=160, width=240)
    for n, class_id in enumerate(trajectory.class_ids[:3]):  # one of each shape
        masks = cast_masks(np.array([class_id]), trajectory.positions[:, n, None], trajectory.rotations[:, n, None])
        for (x0, x1, y0, y1), mask in zip(rectangles[:, n], masks, strict=True):
            rows, columns = mask.nonzero()
            if not len(rows):
                continue
            inner = np.array([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1])
            assert (inner - [x0, x1, y0, y1] <= [1, 0, 1, 0]).all()  # a corner may lie between two pixel centres
            assert (inner - [x0, x1, y0, y1] >= [0, -1, 0, -1]).all()


@pytest.mark.parametrize("id_", [METAL_CUBE, RUBBER_SPHERE, METAL_CYLINDER])
def test_labels_with_an_offset_lie_that_far_from_the_exact_mask(id_):
    """Measured at sixteen times the size, where a pixel is a sixteenth of a label's."""
    scene, scale = still_trajectory([id_], [[0.4, -0.5, 0.2]]), 16
    size = {"height": 160 * scale, "width": 240 * scale}
    exact = render_masks(scene, **size)[0] > 0
    shifted = render_masks(scene, offset=LabelOffset(x=-0.5, y=0.25), **size)[0] > 0
    assert np.array_equal(shifted, np.roll(exact, (4, -8), axis=(0, 1)))
    fat = render_masks(scene, offset=LabelOffset(fatness=0.5), **size)[0] > 0
    assert not (exact & ~fat).any()
    outside = ndimage.distance_transform_edt(~exact)[fat & ~ndimage.binary_erosion(fat)] / scale
    assert abs(outside.mean() - 0.5) < 0.05 and outside.std() < 0.05


def test_fat_labels_of_a_near_object_hide_those_of_a_far_one():
    """The near sphere hides a part of the far cube, so every pixel that it gains there is the cube's loss."""
    scene = still_trajectory([METAL_CUBE, RUBBER_SPHERE], [[-0.6, 0.1, 0.2], [0.2, 0.0, 0.2]])
    near_alone = still_trajectory([RUBBER_SPHERE], [[0.2, 0.0, 0.2]])
    both, alone = (render_masks(video, offset=COURSE_LABELS)[0] for video in (scene, near_alone))
    assert (both == METAL_CUBE).any()
    assert np.array_equal(both == RUBBER_SPHERE, alone == RUBBER_SPHERE)


def test_labels_thinner_than_exact_are_refused():
    with pytest.raises(ValueError, match=r"label fatness -0\.1 px is below 0"):
        render_masks(still_trajectory([RUBBER_SPHERE], [[0.4, -0.5, 0.2]]), offset=LabelOffset(fatness=-0.1))


def test_the_nearest_object_wins_whatever_the_order():
    positions = [[1.0, 0.05, 0.2], [0.4, 0, 0.2]]  # the first stands before the second
    for order in ([0, 1], [1, 0]):
        ids = np.array([METAL_CUBE, RUBBER_SPHERE])[order]
        mask = render_masks(still_trajectory(ids, np.array(positions)[order]))[0]
        cube_alone = render_masks(still_trajectory([METAL_CUBE], positions[:1]))[0]
        sphere_alone = render_masks(still_trajectory([RUBBER_SPHERE], positions[1:]))[0]
        assert (mask[cube_alone > 0] == METAL_CUBE).all()
        assert 0 < (mask == RUBBER_SPHERE).sum() < (sphere_alone > 0).sum()


def test_of_two_objects_that_are_equally_near_the_first_is_seen():
    """The tops of these cubes, one turned in the other, lie in one plane."""
    rotations = Rotation.from_euler("z", [[0], [30]], degrees=True).as_matrix()
    for order in ([0, 1], [1, 0]):
        ids = np.array([METAL_CUBE, RUBBER_CUBE])[order]
        both = render_masks(still_trajectory(ids, [[0.4, 0, 0.2]] * 2, rotations[order]))[0]
        first = render_masks(still_trajectory(ids[:1], [[0.4, 0, 0.2]], rotations[order[:1]]))[0] > 0
        column, row = np.floor(project(np.array([0.4, 0, 0.398]))[:2]).astype(int)
        top = (slice(row - 2, row + 3), slice(column - 4, column + 5))
        assert first[top].all() and (both[top] == ids[0]).all()


@pytest.mark.parametrize("id_", [METAL_CUBE, RUBBER_SPHERE, METAL_CYLINDER])
@pytest.mark.parametrize("position", [(4.5, 0, 2.5), (5.0, -0.5, 3.0), (4.2, 0.1, 2.4)])
def test_objects_behind_the_camera_or_too_near_are_not_drawn(id_, position):
    assert not render_masks(still_trajectory([id_], [position])).any()


def test_samples_do_not_depend_on_their_neighbours():
    trajectory = random_trajectory(1, n_frames=70)
    together = render_masks(trajectory, height=80, width=120)
    alone = [render_masks(trajectory.select_frames((t,)), height=80, width=120)[0] for t in (0, 13, 69)]
    assert (together[[0, 13, 69]] == alone).all()


def test_arrays_that_do_not_fit_are_refused(unchecked_shapes):
    eye = np.eye(3)[None, None]
    with pytest.raises(ValueError, match=r"do not fit 1 objects; expected \(T, 1, 3\)"):
        cast_masks(np.array([METAL_CUBE]), np.zeros((2, 2, 3)), eye)
    with pytest.raises(ValueError, match="objects have 1 to 48"):
        cast_masks(np.array([0]), np.zeros((1, 1, 3)), eye)
    with pytest.raises(ValueError, match="expected integers"):
        cast_masks(np.array([1.5]), np.zeros((1, 1, 3)), eye)
