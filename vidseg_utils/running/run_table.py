"""All run folders as one tidy table: a row a run, a column a setting, parameter or metric.

Nothing slow is imported: a thousand runs are listed in a second.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidseg_utils.run_folders import flat_settings, number, read_run_folders

FIRST_COLUMNS = ("run", "kind", "state", "profile", "notebook", "system", "seconds")
LEFT_OUT = {"classes", "code", "parts", "read", "data", "cells", "path", "finished"}  # long, or no settings
SCORES = ("jaccard", "miou", "mse", "loss", "accuracy")  # parts of the names of metrics in the table for people
REFERENCES = ("copy_last", "oracle")  # parts of the names of scores that no run has reached
MAX_SCORES, MAX_STATE_CHARACTERS = 3, 60


def read_run_table(runs: Path) -> list[dict[str, Any]]:
    """One row a run folder, by name: `run`, `kind` (training, evaluation or notebook), `state`, and what its files say.

    Nested settings have names such as "fit.epochs"; parameters of a notebook start with "parameters.". A damaged file
    makes the state "damaged: …" and hides no other row.
    """
    rows = []
    for run in read_run_folders(runs):
        entries = {**run.metrics, **run.config, **run.record}
        said = flat_settings({key: value for key, value in entries.items() if key not in LEFT_OUT})
        first = {"run": run.name, "kind": run.kind, "state": run.state}
        rows.append(first | said | first)
    return rows


def select_rows(rows: Sequence[dict[str, Any]], conditions: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows in which each column has the value that is given as text.

    Raises ValueError, with the choices, for a column that no row has.
    """
    for column in conditions:
        if rows and not any(column in row for row in rows):
            similar = sorted({key for row in rows for key in row if column.lower() in key.lower()})
            raise ValueError(f"no run has {column!r}; choose from {similar or list(FIRST_COLUMNS)}")
    return [row for row in rows if all(_matches(row.get(key), text) for key, text in conditions.items())]


def _matches(value: object, text: str) -> bool:
    """Whether a value is what the text says: "2" is 2 and 2.0, "true" is True, "mse" is "mse"."""
    if isinstance(value, str):
        return value == text
    try:
        return json.loads(text.lower()) == value
    except ValueError:
        return False


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The columns that are not empty: those of all runs first, then settings, then the others, by name."""
    names = {key for row in rows for key, value in row.items() if value not in (None, "")}
    return [name for name in FIRST_COLUMNS if name in names] + sorted(names - set(FIRST_COLUMNS))


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The table as CSV; lists as JSON."""
    text, columns = io.StringIO(), _columns(rows)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = (row.get(column) for column in columns)
        writer.writerow(["" if v is None else json.dumps(v) if isinstance(v, list | bool) else v for v in values])
    return text.getvalue()


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """The table for people: name, kind, state, profile, seconds and a few scores of each run."""
    lines = [["run", "kind", "state", "profile", "seconds", "scores"]]
    for row in rows:
        seconds = number(row.get("seconds"))
        lines.append([row["run"], row["kind"], row["state"][:MAX_STATE_CHARACTERS], str(row.get("profile", ""))])
        lines[-1] += ["" if seconds is None else f"{seconds:.0f}", _describe_scores(row)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _describe_scores(row: Mapping[str, Any]) -> str:
    scores = [
        f"{key} {value:.4g}"
        for key, value in row.items()
        if isinstance(value, float) and "." not in key and _is_score(key)
    ]
    return ", ".join(scores[:MAX_SCORES])


def _is_score(name: str) -> bool:
    return any(part in name for part in SCORES) and not any(part in name for part in REFERENCES)
