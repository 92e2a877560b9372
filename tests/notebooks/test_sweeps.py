"""Proves that every sweep file in notebooks/sweeps fits its notebook."""

from pathlib import Path

import pytest

from vidseg_utils.running.sweep import plan_sweep

SWEEPS = sorted((Path(__file__).resolve().parents[2] / "notebooks" / "sweeps").glob("*.yaml"))


def test_there_are_sweeps():
    assert SWEEPS


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_each_run_of_a_sweep_has_its_own_folder(path):
    runs = plan_sweep(path, profile="smoke")
    assert len({run.folder for run in runs}) == len(runs) > 1
