"""Proves that every sweep file that comes with the notebooks fits the notebook it names."""

from pathlib import Path

import pytest

from vidseg_utils.running.sweep import plan_sweep

SWEEPS = sorted((Path(__file__).resolve().parents[2] / "notebooks" / "sweeps").glob("*.yaml"))


def test_there_are_sweeps():
    assert SWEEPS


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_plans_runs_with_folders_of_their_own(path):
    runs = plan_sweep(path, profile="smoke")
    assert len({run.folder for run in runs}) == len(runs) > 1
