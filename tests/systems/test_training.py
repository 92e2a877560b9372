"""The recipes: what they train is kept, loaded, found by the systems, and the same from the same seed."""

import numpy as np
import pytest
import torch

from vidseg_utils.data.cache import fill_cache
from vidseg_utils.evaluation.forecast import evaluate_system
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import SYSTEMS, Workspace, build_system


@pytest.fixture
def root(tmp_path):
    """Two training and one validation video in which a bright square moves to the right; one unlabelled video."""

    def video(number):
        masks = np.zeros((22, 160, 240), dtype=np.uint8)
        for t in range(22):
            masks[t, 40 + 8 * number : 100 + 8 * number, 6 * t : 6 * t + 60] = 9
        frames = np.repeat(np.where(masks > 0, 220, 60).astype(np.uint8)[:, None], 3, axis=1)
        return number, frames, masks

    fill_cache(tmp_path, "train", [video(0), video(1)], key="test", progress=False)
    fill_cache(tmp_path, "val", [video(2)], key="test", progress=False)
    fill_cache(tmp_path, "unlabeled", [(3, video(3)[1], None)], key="test", progress=False)
    return tmp_path


def trained(root, runs):
    workspace = Workspace.of(get_profile("smoke"), root=root, runs=root / runs, device="cpu")
    SYSTEMS["simvp_unet"].train(workspace)
    return workspace


def test_a_trained_system_is_loaded_and_scored(root):
    workspace = trained(root, "runs")
    system = build_system("simvp_unet", workspace=workspace)
    metrics = evaluate_system(system, workspace.split("val"), progress=False).metrics
    assert 0 <= metrics["jaccard"] <= 1
    assert metrics["parameters"] == sum(p.numel() for network in system.modules() for p in network.parameters())
    assert metrics["gflops_per_video"] > 0


def test_the_same_seed_gives_the_same_weights_bit_for_bit(root):
    torch.manual_seed(1)  # whatever was drawn before must not matter
    first = trained(root, "first")
    torch.manual_seed(2)
    second = trained(root, "second")
    for part in ("unet", "simvp"):
        weights = [workspace.run(part) / "weights.safetensors" for workspace in (first, second)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_finished_part_is_not_trained_again(root):
    workspace = trained(root, "runs")
    path = workspace.run("unet") / "weights.safetensors"
    before = path.stat().st_mtime_ns
    trained(root, "runs")
    assert path.stat().st_mtime_ns == before
