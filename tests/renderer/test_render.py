"""The ray caster: outlines where geometry says, nearest in front, frames that agree with masks, and CLEVRER's look."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from vidseg_utils.classes import class_id
from vidseg_utils.data.sources.clevrer import decode
from vidseg_utils.renderer.batch import render_video
from vidseg_utils.renderer.masks import cast_masks, render_masks
from vidseg_utils.renderer.pixel_blocks import PixelBlocks, build_pixel_blocks
from vidseg_utils.renderer.windows import bounding_rectangles
from vidseg_utils.simulator.physics import simulate_video
from vidseg_utils.task import CLIP_VIDEO_FRAMES
from vidseg_utils.world.camera import camera_matrix, project
from vidseg_utils.world.solids import visible_half_size
from vidseg_utils.world.trajectory import Trajectory, read_annotation

CUBE, SPHERE, CYLINDER = (
    class_id(*c) for c in (("cube", "metal", "red"), ("sphere", "rubber", "blue"), ("cylinder", "metal", "cyan"))
)
UPRIGHT = Rotation.from_euler("x", 90, degrees=True).as_matrix()  # a cylinder's axis is its y


def pose(class_ids, positions, rotations=None, frames=1):
    """The same pose in every frame."""
    positions = np.broadcast_to(positions, (frames, len(class_ids), 3))
    rotations = np.eye(3) if rotations is None else rotations
    rotations = np.broadcast_to(rotations, (frames, len(class_ids), 3, 3))
    still = np.zeros_like(positions)
    return Trajectory(
        np.array(class_ids, np.uint8), positions, rotations, still, still, np.ones(positions.shape[:2], bool)
    )


def scattered(seed, frames=12):
    """Objects of all shapes at any orientation, some in front of others."""
    rng = np.random.default_rng(seed)
    ids = np.array([CUBE, SPHERE, CYLINDER, class_id("cube", "rubber", "gray"), class_id("cylinder", "rubber", "red")])
    positions = np.concatenate([rng.uniform(-2, 2, (frames, 5, 2)), rng.uniform(0.2, 0.6, (frames, 5, 1))], axis=2)
    rotations = Rotation.random(frames * 5, random_state=seed).as_matrix().reshape(frames, 5, 3, 3)
    return Trajectory(ids, positions, rotations, positions * 0, positions * 0, np.ones((frames, 5), bool))


def marched(class_id_, position, rotation, pixels, size):
    """Whether the ray through each pixel place hits, found by walking along it: slow, and shares no formula."""
    matrix = camera_matrix(*size)
    to_world = np.linalg.inv(matrix[:, :3])
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ to_world.T
    depth = project(position, height=size[0], width=size[1])[2] + np.linspace(-0.4, 0.4, 1001)
    points = -to_world @ matrix[:, 3] + depth[:, None, None] * rays - position  # (D, P, 3)
    x, y, z = np.moveaxis(points @ rotation, -1, 0)
    if class_id_ == SPHERE:
        inside = x**2 + y**2 + z**2 < visible_half_size("sphere") ** 2
    elif class_id_ == CYLINDER:
        inside = (x**2 + z**2 < visible_half_size("cylinder") ** 2) & (abs(y) < visible_half_size("cylinder"))
    else:
        inside = np.maximum(np.maximum(abs(x), abs(y)), abs(z)) < visible_half_size("cube")
    return inside.any(axis=0)


@pytest.mark.parametrize("id_", [CUBE, SPHERE, CYLINDER])
def test_masks_are_what_a_walk_along_the_rays_finds(id_):
    turns = Rotation.random(3, random_state=5).as_matrix()
    for turn, position in zip(turns, [(0.5, 0.3, 0.3), (-2.0, 1.5, 0.2), (1.2, -0.6, 0.4)], strict=True):
        position = np.array(position)
        mask = cast_masks(np.array([id_]), position[None, None], turn[None, None], height=40, width=60)[0]
        y, x = np.mgrid[:40, :60]
        pixels = np.stack([x, y], -1) + 0.5
        near = np.abs(pixels - project(position, height=40, width=60)[:2]).max(axis=-1) < 10  # all of the object
        expected = np.zeros((40, 60), bool)
        expected[near] = marched(id_, position, turn, pixels[near], (40, 60))
        wrong = (mask == id_) != expected
        assert (mask == id_).sum() > 10
        assert wrong.sum() <= 1  # a ray that grazes between two steps


def test_a_spheres_area_is_that_of_its_outline_ellipse():
    mask = render_masks(pose([SPHERE], [[0.4, -0.5, 0.2]]), height=640, width=960)[0]
    matrix = camera_matrix(640, 960)
    centre = matrix @ [0.4, -0.5, 0.2, 1]
    conic = 0.2**2 * matrix[:, :3] @ matrix[:, :3].T - np.outer(centre, centre)  # the outline's dual conic
    conic = conic / conic[2, 2]
    spread = np.outer(conic[:2, 2], conic[:2, 2]) - conic[:2, :2]  # of the ellipse around its middle
    assert (mask > 0).sum() == pytest.approx(np.pi * np.sqrt(np.linalg.det(spread)), rel=0.002)
    y, x = (mask > 0).nonzero()
    np.testing.assert_allclose([x.mean() + 0.5, y.mean() + 0.5], conic[:2, 2], atol=0.05)


def test_an_upright_cylinder_is_taller_than_one_on_its_side():
    upright = render_masks(pose([CYLINDER], [[0, 0, 0.2]], UPRIGHT))[0]
    lying = render_masks(pose([CYLINDER], [[0, 0, 0.2]], np.eye(3)))[0]  # its axis along the world's y, across the view
    rows = [np.ptp(mask.nonzero()[0]) for mask in (upright, lying)]
    columns = [np.ptp(mask.nonzero()[1]) for mask in (upright, lying)]
    assert rows[0] > rows[1]
    assert columns[1] >= columns[0]


def test_a_turned_cube_is_wider():
    widths = [
        np.ptp(render_masks(pose([CUBE], [[0, 0, 0.2]], turn))[0].nonzero()[1])
        for turn in Rotation.from_euler("z", [[0], [45]], degrees=True).as_matrix()
    ]
    assert widths[1] / widths[0] > 1.2


def test_bounding_rectangles_are_exact():
    trajectory = scattered(3)
    for n, shape in enumerate(("cube", "sphere", "cylinder")):
        positions, rotations = trajectory.positions[:, n], trajectory.rotations[:, n]
        rectangles = bounding_rectangles(shape, positions, rotations, height=160, width=240)
        masks = cast_masks(trajectory.class_ids[n : n + 1], positions[:, None], rotations[:, None])
        for (x0, x1, y0, y1), mask in zip(rectangles, masks, strict=True):
            rows, columns = mask.nonzero()
            if not len(rows):
                continue
            inner = np.array([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1])
            assert (inner - [x0, x1, y0, y1] <= [1, 0, 1, 0]).all()  # a corner may pass between two pixel centres
            assert (inner - [x0, x1, y0, y1] >= [0, -1, 0, -1]).all()


def test_the_nearest_object_wins_whatever_the_order():
    places = [[1.0, 0.05, 0.2], [0.4, 0, 0.2]]  # the first stands before the second
    for order in ([0, 1], [1, 0]):
        ids = np.array([CUBE, SPHERE])[order]
        mask = render_masks(pose(ids, np.array(places)[order]))[0]
        alone = render_masks(pose([CUBE], places[:1]))[0]
        assert (mask[alone > 0] == CUBE).all()
        assert 0 < (mask == SPHERE).sum() < (render_masks(pose([SPHERE], places[1:]))[0] > 0).sum()


def test_absent_and_far_objects_are_not_drawn():
    positions = np.array([[np.nan, np.nan, np.nan], [4.4, 0, 0.2], [9.0, 0, 0.2], [-3, 40, 0.2]])
    ids = np.array([SPHERE, CUBE, CYLINDER, CUBE])
    assert not cast_masks(ids, positions[None], np.broadcast_to(np.eye(3), (1, 4, 3, 3))).any()
    frames, masks = render_video(pose(ids, positions))
    empty, _ = render_video(pose(ids[:0], positions[:0]))
    assert not masks.any()
    assert (frames == empty).all()


def test_samples_do_not_depend_on_their_neighbours():
    trajectory = scattered(1, frames=70)
    together = render_masks(trajectory, height=80, width=120)
    alone = [render_masks(trajectory.select_frames((t,)), height=80, width=120)[0] for t in (0, 13, 69)]
    assert (together[[0, 13, 69]] == alone).all()


@pytest.mark.parametrize("size", [(160, 240), (80, 120), (41, 63)])
def test_frames_agree_with_masks(size):
    trajectory = scattered(2)
    frames, masks = render_video(trajectory, height=size[0], width=size[1])
    empty = render_video(pose([], np.zeros((0, 3))), height=size[0], width=size[1])[0][0]
    assert frames.shape == (12, 3, *size)
    assert frames.dtype == masks.dtype == np.uint8
    assert (masks == render_masks(trajectory, height=size[0], width=size[1])).all()
    changed = abs(frames.astype(int) - empty).max(axis=1) > 25
    assert changed[masks > 0].mean() > 0.9  # but for grey on grey
    assert changed[masks == 0].mean() < 0.03  # but for outlines and contact shadows


def test_edges_are_blended_in_frames_and_never_in_masks():
    frames, masks = render_video(pose([SPHERE], [[0.5, 0, 0.2]]))
    assert set(np.unique(masks)) == {0, SPHERE}
    blue = frames[0, 2].astype(float) - frames[0, 0]
    share = blue / np.median(blue[masks[0] > 0])  # 1 inside, 0 on the grey floor
    assert 10 < ((share > 0.25) & (share < 0.75)).sum() < 80  # a ring one pixel wide


def test_objects_throw_shadows_on_the_floor():
    frames, masks = render_video(pose([class_id("sphere", "rubber", "gray")], [[0, 0, 0.2]]))
    empty = render_video(pose([], np.zeros((0, 3))))[0]
    darker = (empty.astype(int) - frames)[0].mean(axis=0) * (masks[0] == 0)
    assert darker.max() > 15
    assert (darker > 2).sum() > 100
    assert abs((frames.astype(int) - empty)[0, :, :30]).max() <= 1  # and only near them


def test_metal_shines_and_rubber_does_not():
    brightest = {}
    for material in ("metal", "rubber"):
        frames, masks = render_video(pose([class_id("sphere", material, "blue")], [[0.5, 0.5, 0.2]]))
        brightest[material] = frames[0].min(axis=0)[masks[0] > 0].max()
    assert brightest["metal"] > 180 > 120 > brightest["rubber"]


def test_the_same_seed_gives_the_same_noise_and_none_gives_none():
    trajectory = scattered(4, frames=3)
    clean = render_video(trajectory)[0]
    assert (clean == render_video(trajectory)[0]).all()
    noisy = render_video(trajectory, noise_seed=1)[0]
    assert (noisy == render_video(trajectory, noise_seed=1)[0]).all()
    assert (noisy != render_video(trajectory, noise_seed=2)[0]).any()
    assert 0.5 < np.std(noisy.astype(int) - clean) < 2


def test_one_frame_alone_leaves_the_empty_floor_empty():
    empty = render_video(pose([], np.zeros((0, 3))))[0]
    render_video(pose([CUBE], [[0, 0, 0.2]]))
    assert (render_video(pose([], np.zeros((0, 3))))[0] == empty).all()


def test_objects_at_rest_look_the_same_in_every_frame_as_alone():
    trajectory = pose([CUBE, SPHERE], [[0.3, 0.3, 0.2], [-1, -1, 0.2]], frames=4)
    together, alone = render_video(trajectory)[0], render_video(trajectory.select_frames((0,)))[0]
    assert (together == alone).all()


def test_arrays_that_do_not_fit_are_refused(unchecked_shapes):
    eye = np.eye(3)[None, None]
    with pytest.raises(ValueError, match=r"do not fit 1 objects; expected \(T, 1, 3\)"):
        cast_masks(np.array([CUBE]), np.zeros((2, 2, 3)), eye)
    with pytest.raises(ValueError, match="objects have 1 to 48"):
        cast_masks(np.array([0]), np.zeros((1, 1, 3)), eye)
    with pytest.raises(ValueError, match="expected integers"):
        cast_masks(np.array([1.5]), np.zeros((1, 1, 3)), eye)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_draws_the_same():
    trajectory = scattered(5)
    frames, masks = render_video(trajectory)
    gpu_frames, gpu_masks = render_video(trajectory, device="cuda")
    assert (gpu_masks != masks).mean() < 1e-4
    assert abs(gpu_frames.astype(int) - frames).mean() < 0.05


@pytest.mark.real_data
@pytest.mark.parametrize("number", ["00000", "10000"])
def test_pictures_come_within_38_dB_of_the_real_ones(real_sample, number):
    folder = real_sample.parent / "clevrer"
    some = CLIP_VIDEO_FRAMES[::4]
    real = decode(folder / f"video_{number}.mp4")[::4].astype(float)
    frames, _ = render_video(read_annotation(folder / f"annotation_{number}.json").select_frames(some))
    decibel = 10 * np.log10(255**2 / ((frames - real) ** 2).mean(axis=(1, 2, 3)))
    assert decibel.mean() > 38
    assert decibel.min() > 35


def test_shadows_are_whole_in_the_blocks_that_are_looked_at(monkeypatch):
    """The same pictures come out when every shadow is looked for everywhere in its rectangle."""
    trajectories = [simulate_video(1, number).select_frames((0, 60, 126)) for number in range(3)]
    frames = [render_video(trajectory)[0] for trajectory in trajectories]
    monkeypatch.setattr(
        PixelBlocks, "overlap_hulls", lambda blocks, rectangles, hulls: blocks.overlap_rectangles(rectangles)
    )
    for trajectory, expected in zip(trajectories, frames, strict=True):
        np.testing.assert_array_equal(render_video(trajectory)[0], expected)


@pytest.mark.parametrize("size", [(160, 240), (80, 120), (40, 60), (50, 77)])
def test_blocks_cover_the_picture_once(size):
    blocks = build_pixel_blocks(*size)
    pixels = torch.arange(size[0] * size[1])
    assert torch.equal(blocks.merge(blocks.split(pixels, size[0]), size[0]), pixels)
    assert torch.equal(blocks.split(pixels, size[0])[blocks.block_of_pixel, blocks.offset_in_block], pixels)
    covered = np.zeros(size, int)
    for x0, x1, y0, y1 in blocks.edges:
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()
