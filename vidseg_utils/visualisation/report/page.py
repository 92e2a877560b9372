"""Write the report: one page that needs nothing but itself, and pages of more clips beside it.

Everything that comes from run folders is escaped by Jinja. A content security policy with the checksums of our own
scripts keeps any other script from running, and lets the page ask nothing of the network.
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vidseg_utils import __version__
from vidseg_utils.evaluation import leaderboard_tables
from vidseg_utils.evaluation.leaderboard import COLUMNS
from vidseg_utils.paths import atomic_write
from vidseg_utils.run_folders import RunFolder, number
from vidseg_utils.training import describe_machine
from vidseg_utils.visualisation.report.clips import pack_clips
from vidseg_utils.visualisation.report.details import ATTRIBUTES, KINDS, DataDetails, read_details
from vidseg_utils.visualisation.report.figures import (
    class_figure,
    confusion_figure,
    score_figure,
    sweep_curves,
    training_figures,
)
from vidseg_utils.visualisation.report.run_set import RunSet, Sweep, describe_settings, monitored, read_run_set
from vidseg_utils.visualisation.viewer import VIEWER_JS

MAX_BYTES = 6_000_000  # of the page
MAX_TRAININGS = 24  # with curves
MAX_SWEEPS = 12
MAX_SWEEP_RUNS = 200  # in the table of a sweep
MAX_RUNS = 2_000  # in the list of runs
KINDS_OF_RUNS = ("evaluation", "training", "notebook")
MAX_DATA_SETS = 3  # with scores by class


def write_report(out: Path | str, runs: Path | str, *, against: Path | str | None = None) -> list[Path]:
    """Write the page `out` over the run folders in `runs`, and beside it OUT-clips.html with more clips.

    against: another folder of runs, or the home around one, that is shown beside the first
    returns: the written files, the page first. Raises what `read_run_set` raises; then nothing is written.
    """
    out = Path(out)
    sets = [read_run_set(folder) for folder in (runs, against) if folder is not None]
    sides = [_describe(run_set) for run_set in sets]
    best = next((system for side in sides[:1] for details in side["details"] for system in details.systems[:1]), None)
    clips = pack_clips(best) if best else []
    linked = out.with_name(f"{out.stem}-clips.html")
    shared = {
        "version": __version__,
        "written": f"{datetime.now():%Y-%m-%d %H:%M}",
        "machine": describe_machine(),
        "folders": [str(run_set.folder) for run_set in sets],
        "best": best,
    }
    pages = {
        out: {
            "template": "report",
            "sides": sides,
            "columns": COLUMNS,
            "kinds": KINDS,
            "in_both": _compare(*sets) if len(sets) == 2 else [],
            "clips": [clip for clip in clips if clip["is_shown"]],
            "linked": linked.name if best else None,
        }
    }
    if best:
        pages[linked] = {"template": "clips", "clips": clips, "page": out.name}
    texts = {path: _render(f"{page.pop('template')}.html", shared | page) for path, page in pages.items()}
    if (size := len(texts[out].encode())) > MAX_BYTES:
        raise ValueError(f"the report takes {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f}; give fewer runs")
    for path, text in texts.items():
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(texts)


def _describe(run_set: RunSet) -> dict[str, Any]:
    """What the template shows of one set of runs."""
    details = read_details(run_set)[:MAX_DATA_SETS]
    data_codes = {data_id: f"D{n}" for n, (data_id, *_) in enumerate(run_set.data_sets, start=1)}
    machines = list(dict.fromkeys(run.machine for run in run_set.runs if run.machine))
    trainings, scores = run_set.trainings, run_set.scores
    return {
        "name": run_set.name,
        "run_set": run_set,
        "counts": {kind: sum(run.kind == kind for run in run_set.runs) for kind in KINDS_OF_RUNS},
        "summary": scores[0] if scores else None,
        "tables": [(table, _bars([row for row in table.rows if row])) for table in leaderboard_tables(scores)],
        "details": details,
        "detail_figures": [_detail_figures(group) for group in details],
        "trainings": [(run, _facts(run), training_figures(run)) for run in trainings[:MAX_TRAININGS]],
        "more_trainings": len(trainings) - MAX_TRAININGS,
        "sweeps": [_describe_sweep(sweep) for sweep in run_set.sweeps[:MAX_SWEEPS]],
        "data_codes": data_codes,
        "machine_codes": {machine: f"M{n}" for n, machine in enumerate(machines, start=1)},
        "runs": [(run, describe_settings(run)) for run in run_set.runs[:MAX_RUNS]],
        "more_runs": len(run_set.runs) - MAX_RUNS,
    }


def _bars(rows: list[dict[str, Any]]) -> Markup | None:
    """The bars of one data set's systems, where all were scored on the same videos at the same size."""
    if len({(row["split"], *row["size"]) for row in rows}) != 1:
        return None
    scores: dict[str, float] = {}
    for row in rows:
        if row["system"] != "copy_last":
            scores.setdefault(row["system"] + (" (true masks)" if row["input"] == "true masks" else ""), row["jaccard"])
    references = {"baseline": rows[0]["copy_last_jaccard"], "upper bound": rows[0]["oracle_jaccard"]}
    return score_figure(scores, references, label="Jaccard of each system") if scores else None


def _detail_figures(group: DataDetails) -> dict[str, Any] | None:
    if not group.systems:
        return None
    best, name = group.systems[0], str(group.systems[0].row["system"])
    confusions = [confusion_figure(best.confusion.numpy(), by=by, system=name) for by in ATTRIBUTES]
    return {"system": name, "classes": class_figure(best.ious, system=name), "confusions": confusions}


def _describe_sweep(sweep: Sweep) -> dict[str, Any]:
    """A sweep's table and figures."""
    names = list(dict.fromkeys(run.score[0] for run in sweep.runs if run.score))
    scores = {sweep.setting(run): run.score[1] for run in sweep.runs if run.score and run.score[0] == names[0]}
    label = f"{names[0].replace('_', ' ')} of each setting" if names else ""
    return {
        "sweep": sweep,
        "score_name": names[0].replace("_", " ") if names else "",
        "bars": score_figure(scores, None, label=label) if scores else None,
        "curves": sweep_curves(sweep),
        "runs": sweep.runs[:MAX_SWEEP_RUNS],
        "more": len(sweep.runs) - MAX_SWEEP_RUNS,
    }


def _facts(run: RunFolder) -> str:
    """Epochs, duration and best value of a training."""
    seconds = sum(number(row.get("seconds")) or 0 for row in run.history)
    parts = [f"{len(run.history)} epoch{'s' * (len(run.history) != 1)}", f"{seconds / 60:.1f} min"]
    if metric := monitored(run):
        values = [value for row in run.history if (value := number(row.get(metric))) is not None]
        best = max(values) if run.config["fit"].get("mode") == "max" else min(values)
        parts.append(f"{metric.replace('_', ' ')} {best:.4g}")
    return ", ".join(parts) + ("" if run.config.get("finished") else ", not finished")


def _compare(first: RunSet, second: RunSet) -> list[dict[str, Any]]:
    """Systems that both sets scored on the same data in the same way, by how much the second set differs."""

    def key(row: dict[str, Any]) -> tuple:
        return row["scored_on"]["id"], row["split"], *row["size"], row["system"], row["input"], row["profile"]

    others: dict[tuple, dict[str, Any]] = {}
    for row in second.scores:
        others.setdefault(key(row), row)
    rows: dict[tuple, dict[str, Any]] = {}
    for row in first.scores:
        if other := others.get(key(row)):
            rows.setdefault(key(row), {"row": row, "other": other, "change": other["jaccard"] - row["jaccard"]})
    return list(rows.values())


def _render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template. Raises an error for a name that the context lacks."""
    environment = Environment(
        loader=PackageLoader("vidseg_utils.visualisation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = partial(_number_text, spec=".3f")
    folder = Path(__file__).parent
    scripts = {"table": (folder / "table.js").read_text(encoding="utf-8")}
    if context["clips"]:
        scripts["viewer"] = VIEWER_JS.read_text(encoding="utf-8") + (folder / "clips.js").read_text(encoding="utf-8")
    checksums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts.values()]
    sources = " ".join(f"'sha256-{checksum}'" for checksum in checksums)
    policy = f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {sources}; "
    policy += "base-uri 'none'; form-action 'none'"
    return environment.get_template(template).render(
        context,
        policy=policy,
        scripts={name: Markup(text) for name, text in scripts.items()},
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
    )


def _number_text(value: object, *, spec: str) -> str:
    return "" if (known := number(value)) is None else format(known, spec)
