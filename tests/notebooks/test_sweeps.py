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


def test_a_sweep_is_found_by_its_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plan_sweep("semi_stages", profile="smoke") == plan_sweep(
        SWEEPS[0].parent / "semi_stages.yaml", profile="smoke"
    )
    with pytest.raises(
        ValueError, match=r"no sweep file semi_stage; give the path of one, or choose from \[.*'semi_stages'"
    ):
        plan_sweep("semi_stage", profile="smoke")
