"""`benchmarks/gpu.py` works where minutes are counted: stages run, and what fails or takes too long is a line."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import gpu
from benchmarks.on_gpu import scales, stages
from benchmarks.rehearse_gpu import FEW_VIDEOS, few_sizes
from vidseg_utils.profiles import check_replaced, get_profile

FAR = float("inf")  # a stage that may take any time


def test_stages_run_in_processes_of_their_own_and_leave_their_figures(tmp_path, monkeypatch, capfd):
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--smoke", "--device", "cpu", "--only", "steps", "--out", str(out)])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    gpu.main()
    report = json.loads(out.read_text())
    rows = report["stages"]["steps"]["rows"]
    assert not report["stages"]["steps"]["error"]
    assert {row["network"] for row in rows} == {"unet", "simvp"} and all(row["steps_per_second"] > 0 for row in rows)
    assert report["machine"] and "steps: done after" in capfd.readouterr().out


def test_a_stage_that_takes_too_long_or_fails_is_a_line(tmp_path):
    late = gpu.start_stage("steps", tmp_path, 0.01, smoke=True, device="cpu")
    assert late["error"] == "not done after 0 s" and late["rows"] == []
    failed = gpu.start_stage("steps", tmp_path, 600, smoke=True, device="toaster")
    assert "toaster" in failed["error"] and failed["rows"] == []


def test_a_figure_that_cannot_be_taken_does_not_end_its_stage(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(stages, "measure_generate", fails)
    monkeypatch.setattr(stages, "measure_start", lambda processes: (1.0, 1.0))
    bench = stages.Bench(tmp_path, scales.SMOKE, torch.device("cpu"), FAR)
    errors = [row["error"] for row in stages.measure_generation(bench) if "start_seconds" not in row]
    assert len(errors) >= 2 and set(errors) == {"RuntimeError: out of memory"}


def test_a_stage_stops_when_its_time_is_nearly_over(tmp_path):
    assert list(stages.measure_generation(stages.Bench(tmp_path, scales.SMOKE, torch.device("cpu"), 0.0))) == []


def test_live_segmentation_is_measured_on_tiny_frames(tmp_path):
    bench = stages.Bench(tmp_path, replace(scales.SMOKE, repeats=1), torch.device("cpu"), FAR)
    rows = list(stages.measure_live(bench))
    assert len(rows) == 6 and all(row["frames_per_second"] > 0 for row in rows)
    assert all(row["same_labels"] == 1 for row in rows if "bf16" not in row["variant"])


@pytest.mark.parametrize("scale", [scales.FULL, scales.SMOKE])
def test_the_sizes_of_the_trainings_exist(scale):
    check_replaced(get_profile(scale.profile, {**scales.SMALL_UNET, **scale.sizes}))


def test_a_rehearsal_at_profile_gpu_has_few_videos_and_epochs_of_every_recipe():
    profile = get_profile("gpu", few_sizes("gpu"))
    check_replaced(profile)
    assert profile.split_sizes == FEW_VIDEOS
    assert {"unet.epochs", "simvp.epochs", "recurrent.frame_epochs"} <= profile.replaced.keys()
    assert max(value for name, value in profile.replaced.items() if name.endswith("epochs")) <= 3
    assert profile.replaced["image.more_videos"] <= FEW_VIDEOS["train"]
    assert few_sizes("smoke") == {}
