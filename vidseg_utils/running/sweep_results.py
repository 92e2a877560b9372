"""What the finished runs of a sweep say: a row each, and a table with mean, spread and the best setting."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vidseg_utils.run_folders import MAIN_SCORES, number, read_run_folder, without_damaged
from vidseg_utils.running.sweep import find_sweep, plan_sweep, read_sweep_file


class SettingScore(NamedTuple):
    """The score of a setting over its finished runs, which differ in their seed."""

    setting: str
    n_runs: int
    mean: float
    spread: float | None  # standard deviation; None for one run
    is_best: bool


def read_sweep(path: Path | str, *, profile: str = "auto") -> list[dict[str, Any]]:
    """One row a finished run of the sweep, in the file's order; damaged runs are left out, and named in the log.

    A row has `run`, `setting` (text), `seed`, every parameter, and every recorded metric.
    """
    finished = {run.folder: run for run in plan_sweep(path, profile=profile) if run.is_finished()}
    rows = []
    for found in without_damaged(map(read_run_folder, finished)):
        run = finished[found.folder]
        if found.metrics:
            rows.append({"run": run.name, "setting": run.setting, "seed": run.seed, **run.parameters, **found.metrics})
    return rows


def score_name(path: Path | str, rows: Sequence[dict[str, Any]]) -> tuple[str | None, bool]:
    """The metric that decides a sweep, and whether more of it is better: as the file says, else a score of the lessons.

    None if the runs have none.
    """
    sweep = read_sweep_file(find_sweep(path))
    if "lowest" in sweep:
        return sweep["lowest"], False
    known = (name for name in MAIN_SCORES if any(number(row.get(name)) is not None for row in rows))
    return sweep.get("highest") or next(known, None), True


def score_settings(rows: Sequence[dict[str, Any]], score: str, *, highest: bool = True) -> list[SettingScore]:
    """Mean and spread of a metric for each setting, in the order of the rows; runs without it are left out."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if (value := number(row.get(score))) is not None:
            values.setdefault(row["setting"], []).append(value)
    means = {setting: statistics.fmean(some) for setting, some in values.items()}
    best = (max if highest else min)(means.values(), default=None)
    return [
        SettingScore(
            setting,
            len(some),
            means[setting],
            statistics.stdev(some) if len(some) > 1 else None,
            means[setting] == best,
        )
        for setting, some in values.items()
    ]


def sweep_table(path: Path | str, *, profile: str = "auto") -> str:
    """Markdown: each setting of the sweep with the mean and the spread of its score, the best one in bold; "" if no
    finished run has a score.
    """
    rows = read_sweep(path, profile=profile)
    score, highest = score_name(path, rows)
    settings = score_settings(rows, score, highest=highest) if score else []
    if not settings:
        return ""
    lines = [f"| setting | runs | {score} | spread |", "|---|---|---|---|"]
    for setting in settings:
        cells = [setting.setting, str(setting.n_runs), f"{setting.mean:.4g}"]
        cells += ["" if setting.spread is None else f"{setting.spread:.2g}"]
        cells = [f"**{cell}**" if cell and setting.is_best else cell for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
