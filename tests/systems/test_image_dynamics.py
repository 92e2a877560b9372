"""Proves that image dynamics measures regions, learns motion from masks alone, and beats copying where objects move."""

import numpy as np
import torch

from vidseg_utils.data import generate
from vidseg_utils.evaluation.evaluate import evaluate_system
from vidseg_utils.models import build_model
from vidseg_utils.models.image_rollout import Futures
from vidseg_utils.paths import read_json
from vidseg_utils.systems import SYSTEMS, SegmenterRecipe, Workspace, build_system
from vidseg_utils.systems.image_dynamics import recipe as image_recipe
from vidseg_utils.systems.image_dynamics.drawing import decide_boxes, draw_boxes
from vidseg_utils.systems.image_dynamics.identities import unite_classes
from vidseg_utils.systems.image_dynamics.recipe import (
    ImageDynamicsRecipe,
    RegionClips,
    cut_window,
    mirrored,
    rollout_loss,
)
from vidseg_utils.systems.image_dynamics.regions import measure_regions
from vidseg_utils.systems.image_dynamics.system import ImageDynamics


def clip_of_squares(height=20, width=30):
    """(22, H, W): 5 is a square of 4 pixels that moves right by one a frame; 9 stands in front of its way."""
    clip = np.zeros((22, height, width), dtype=np.uint8)
    for t in range(22):
        clip[t, 8:12, 2 + t : 6 + t] = 5
    clip[:, 9:14, 16:20] = 9
    return clip


def test_a_region_has_a_box_a_centroid_and_sides_that_are_reliable_unless_they_are_cut_off():
    regions = measure_regions(clip_of_squares()[None])
    assert regions.class_id[0, :3].tolist() == [5, 9, 0]
    torch.testing.assert_close(20 * regions.position[0, 0, 0], torch.tensor([2.0, 8, 6, 12, 4, 10]))
    assert regions.reliable[0, 0, 0].all()
    touching = 10  # columns 12 to 15, beside the nearer square
    assert regions.reliable[0, touching, 0].tolist() == [True, True, False, True, False, False]
    assert regions.reliable[0, touching, 1].all()
    assert regions.seen[0, :, :2].all() and not regions.seen[0, :, 2:].any()
    cut = clip_of_squares()[:, :, 4:]  # the square comes in from the left
    assert measure_regions(cut[None]).reliable[0, 0, 0].tolist() == [False, True, True, True, False, False]


def test_specks_and_unknown_pixels_are_no_regions():
    clip = clip_of_squares(40, 60)
    clip[:, 0, 0], clip[:, 20:, 50:] = 7, 255
    regions = measure_regions(clip[None])
    assert set(regions.class_id[0].tolist()) == {0, 5, 9}


def test_an_object_whose_shape_flickers_gets_one_class_and_two_objects_keep_theirs():
    clip = clip_of_squares()
    flickering = clip.copy()
    flickering[3:5][clip[3:5] == 5] = 5 + 16  # the same material and colour, another shape
    np.testing.assert_array_equal(unite_classes(flickering), clip)
    two = clip.copy()
    two[:, :4, :4] = 5 + 16
    np.testing.assert_array_equal(unite_classes(two), two)


def test_a_window_has_eleven_past_frames_and_a_mirrored_clip_has_mirrored_regions():
    clips = measure_regions(clip_of_squares()[None])
    past, future = cut_window(clips, 4)
    assert past.seen[0, :, 0].tolist() == [False] * 6 + [True] * 5
    assert torch.equal(future.position, clips.position[:, 5:16])
    assert cut_window(clips, 15)[1].seen.shape[1] == 6
    flipped = measure_regions(clip_of_squares()[None, :, :, ::-1])
    for value, expected in zip(mirrored(clips), flipped, strict=True):
        torch.testing.assert_close(value, expected)


def test_of_the_sampled_boxes_the_one_that_overlaps_most_is_chosen_and_an_improbable_object_is_left_out():
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.1, 0, 1.1, 1], [0.2, 0, 1.2, 1], [9, 9, 9.5, 9.5]])
    position = torch.cat([boxes, boxes[:, :2]], dim=-1)[None, :, None, None]  # (B, K, F, N, 6)
    visible = torch.full(position.shape[:-1], 9.0)
    chosen, drawn = decide_boxes(Futures(position, visible), torch.tensor([1.5]))
    torch.testing.assert_close(chosen[0, 0], boxes[1])
    assert drawn.all()
    assert not decide_boxes(Futures(position, -visible), torch.tensor([1.5]))[1].any()


def test_an_objects_clearest_mask_is_stretched_to_its_box_and_the_lower_object_is_in_front():
    clip = clip_of_squares()[None, :11]
    regions = measure_regions(clip)
    boxes = torch.zeros(1, 10, 4)
    boxes[0, 0], boxes[0, 1] = torch.tensor([2, 2, 10, 10]) / 20, torch.tensor([6, 6, 10, 11]) / 20
    expected = np.zeros((1, 20, 30), dtype=np.uint8)
    expected[:, 2:10, 2:10] = 5
    expected[:, 6:11, 6:10] = 9
    drawn = draw_boxes(clip, regions, boxes.numpy(), regions.class_id.numpy() > 0)
    np.testing.assert_array_equal(drawn, expected)


def test_an_untrained_network_moves_objects_in_straight_lines_in_any_batch():
    torch.manual_seed(0)
    system = ImageDynamics(build_model("image_rollout", hidden=8).eval())
    clip = np.zeros((22, 20, 40), dtype=np.uint8)
    for t in range(22):
        clip[t, 8:12, 2 + t : 6 + t] = 5
    past = torch.from_numpy(np.stack([clip[:11], np.zeros_like(clip[:11]), clip[:11, :, ::-1]]))
    with torch.no_grad():
        nudged = [parameter for name, parameter in system.predictor.named_parameters() if "start.4" in name]
        for parameter in nudged:  # so that the random numbers matter
            parameter += 0.02 * torch.randn_like(parameter)
    forecast = system.predict(past)
    truth = torch.from_numpy(np.stack([clip[21], np.zeros_like(clip[21]), clip[21, :, ::-1]]))
    assert (forecast == truth).float().mean() > 0.95
    assert not forecast[1].any()
    assert torch.equal(forecast[2:], system.predict(past[2:]))


def test_it_is_trained_loaded_and_scored_and_the_same_seed_gives_the_same_weights(workspace):
    weights = []
    for runs in ("first", "second"):
        torch.manual_seed(len(weights))
        here = workspace(runs, {"image.epochs": 2})
        SYSTEMS["image_dynamics"].train(here)
        weights.append((here.run_folder("image_rollout") / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
    system = build_system("image_dynamics", workspace=here)
    for true_masks in (False, True):
        assert "jaccard" in evaluate_system(system, here.split("val"), true_masks=true_masks, progress=False).metrics
    probabilities = system.predict_probabilities(torch.rand(2, 11, 3, 40, 60))
    assert probabilities.shape == (2, 49, 40, 60)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 40, 60))


def test_more_videos_join_those_of_a_generated_set_and_are_not_drawn_for_a_finished_run(tmp_path, monkeypatch):
    drawn = []

    def draw(root, n_videos, *, height, width):
        drawn.append(n_videos)
        return [clip_of_squares()] * n_videos

    monkeypatch.setattr(image_recipe, "more_masks", draw)
    generate(tmp_path / "data", train=2, val=1, unlabeled=0, hidden=0, seed=0, progress=False)
    sizes = {"height": 20, "width": 30, "image.more_videos": 3, "image.windows": 10}
    here = Workspace.for_profile("smoke", sizes=sizes, root=tmp_path / "data", runs=tmp_path / "runs", device="cpu")
    SegmenterRecipe(here).train()
    for _ in range(2):
        ImageDynamicsRecipe(here).train()
        assert drawn == [3]
    config = read_json(here.run_folder("image_rollout") / "config.json")
    assert (config["train_samples"], config["more_videos"]) == (14, 3)  # 2 x 2 + 3 clips, each twice


def test_it_learns_a_law_that_no_straight_line_follows(workspace):
    """Squares that stop in frame 10 whatever their speed: a trained network leaves them there."""

    def stopping(number):
        clip = np.zeros((22, 40, 60), dtype=np.uint8)
        row, speed = 5 + 7 * (number % 4), 1 + number % 3
        for t in range(22):
            left = 2 + speed * min(t, 10)
            clip[t, row : row + 6, left : left + 6] = 9
        return clip

    recipe = ImageDynamicsRecipe(workspace(sizes={"image.hidden": 16}))
    torch.manual_seed(0)
    network, clips = recipe.build(), RegionClips(map(stopping, range(12)), n_clips=12)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    past = torch.from_numpy(np.stack([stopping(number)[:11] for number in range(3)]))
    truth = torch.from_numpy(np.stack([stopping(number)[21] for number in range(3)]))

    def right():
        return ((ImageDynamics(network).predict(past) == truth) & (truth > 0)).sum() / (truth > 0).sum()

    assert right() < 0.3
    batch = cut_window(clips.regions, 10)
    for _ in range(60):
        score, entropy = rollout_loss(network, *batch, n_futures=2)
        optimiser.zero_grad()
        (score + entropy).backward()
        optimiser.step()
    assert right() > 0.8
