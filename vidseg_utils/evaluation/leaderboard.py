"""Tables of all evaluated systems, read from the run folders, with the published scores."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vidseg_utils.run_folders import RunFolder, read_run_folders, without_damaged
from vidseg_utils.training.shipped import SHIPPED_MARK

# Jaccard that student projects published, on the real course data. Our scores are on other data: compare the order.
PUBLISHED_JACCARD = {
    "unet_copy_last": 0.24,
    "convlstm_unet": 0.16,
    "simvp_unet": 0.21,
    "semi_supervised_simvp": 0.44,
    "mask_simvp_mse": 0.0287,
    "mask_simvp_cross_entropy": 0.269,
    "mask_simvp": 0.4444,  # on hidden videos
}
BEST_PUBLISHED_JACCARD = 0.456
COLUMNS = ("profile", "system", "input", "Jaccard", "objects", "moving", "still", "late", "s/video", "parameters")
COLUMNS += ("training, min", "published")


class Published(NamedTuple):
    """Published figures of a recurrent U-Net: mIoU and pixel accuracy (there called mAcc) on Cityscapes, in [0, 1]."""

    parameters: int  # with 20 classes
    miou: float | None = None
    pixel_accuracy: float | None = None


PUBLISHED_RECURRENT = {  # by (block, cell, size)
    ("vanilla", "none", "small_shallow"): Published(125_732, 0.3672),
    ("vanilla", "none", "small_deep"): Published(507_940, 0.4117),
    ("vanilla", "none", "original"): Published(1_958_996, 0.4640, 0.8736),
    ("vanilla", "rnn", "small_shallow"): Published(222_724, 0.3739),
    ("vanilla", "rnn", "small_deep"): Published(900_100),
    ("vanilla", "rnn", "original"): Published(3_508_180),
    ("vanilla", "gru", "small_shallow"): Published(416_372, 0.3706),
    ("vanilla", "gru", "small_deep"): Published(1_683_700),
    ("vanilla", "gru", "original"): Published(6_605_204),
    ("resnet", "rnn", "small_shallow"): Published(229_908, 0.3719),
    ("resnet", "rnn", "small_deep"): Published(923_860),
    ("resnet", "rnn", "original"): Published(3_598_356),
    ("resnet", "gru", "small_shallow"): Published(423_556, 0.4074),
    ("resnet", "gru", "small_deep"): Published(1_707_460, 0.4243, 0.8748),
    ("resnet", "gru", "original"): Published(6_695_380),
    ("convnext", "rnn", "small_deep"): Published(760_420),
    ("convnext", "rnn", "original"): Published(2_933_588),
    ("convnext", "gru", "small_deep"): Published(1_544_020),
    ("convnext", "gru", "original"): Published(6_030_612),
}


def read_runs(runs: Path | str) -> list[dict]:
    """One row a run folder with metrics: its name as `run`, and the contents of its config.json and metrics.json.

    Damaged run folders are left out, and named in the log.
    """
    return _rows(without_damaged(read_run_folders(runs)))


def read_leaderboard(runs: Path | str) -> list[dict]:
    """The rows of `read_runs` that evaluate a system, best Jaccard first.

    `published` is the published score or None; `training_minutes` adds up the trainings that the system loads, None if
    no epoch is on record. Trainings before them, such as self-supervision, and fits of constants are not counted.
    """
    return leaderboard_rows(without_damaged(read_run_folders(runs)))


def leaderboard_rows(runs: Iterable[RunFolder]) -> list[dict]:
    """The rows of `read_leaderboard` for run folders that are read already; damaged ones are left out."""
    runs = list(runs)
    minutes = {run.name: sum(epoch.get("seconds", 0.0) for epoch in run.history) / 60 for run in runs if run.history}
    rows = _rows(run for run in runs if run.kind == "evaluation" and not run.fault)
    for row in rows:
        known = [minutes[run] for run in row.get("trained_on", {}) if run in minutes]
        row |= {"published": PUBLISHED_JACCARD.get(row["system"]), "training_minutes": sum(known) if known else None}
    return sorted(rows, key=lambda row: -row["jaccard"])


def _rows(runs: Iterable[RunFolder]) -> list[dict]:
    return [{"run": run.name, **run.config, **run.metrics} for run in runs if run.metrics]


@dataclass(frozen=True)
class ScoreTable:
    """The scores on one data set, as text: Markdown and HTML show the same cells."""

    data_id: str
    data_text: str
    lines: list[tuple[str, ...]]  # one cell for each of COLUMNS
    rows: list[dict | None]  # the row of each line; None for a baseline or an upper bound


def leaderboard_tables(rows: list[dict]) -> list[ScoreTable]:
    """For each data set a table with the upper bound and the baseline of each profile, then its systems.

    rows: best first. Scores on different data, or at different frame sizes, cannot be compared.
    """
    data_sets = {row["scored_on"]["id"]: row["scored_on"]["text"] for row in rows}
    return [
        _table(data_id, text, [row for row in rows if row["scored_on"]["id"] == data_id])
        for data_id, text in sorted(data_sets.items(), key=lambda item: (item[1], item[0]))
    ]


def leaderboard_table(rows: list[dict]) -> str:
    """The tables of `leaderboard_tables` in Markdown."""
    tables = []
    for table in leaderboard_tables(rows):
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        for row, (profile, system, *cells) in zip(table.rows, table.lines, strict=True):
            lines.append("| " + " | ".join((profile, system if row else f"*{system}*", *cells)) + " |")
        tables.append(f"Scored on data {table.data_id} ({table.data_text}):\n\n" + "\n".join(lines))
    return "\n\n".join(tables)


def damage_table(runs: Iterable[RunFolder]) -> str:
    """Markdown: what is wrong with each damaged run folder; "" if none is."""
    lines = [f"| {run.name} | {run.fault} |" for run in runs if run.fault]
    return "\n".join(["Damaged run folders:\n", "| run | what is wrong |", "|---|---|", *lines]) if lines else ""


def _table(data_id: str, text: str, rows: list[dict]) -> ScoreTable:
    """The table of one data set."""
    table = ScoreTable(data_id, text, [], [])
    sizes = {(row["profile"], *row["size"]) for row in rows}
    several = [profile for profile, count in Counter(profile for profile, *_ in sizes).items() if count > 1]
    rows = [
        {**row, "profile": "{} {}x{}".format(row["profile"], *row["size"])} if row["profile"] in several else row
        for row in rows
    ]
    for profile in sorted({row["profile"] for row in rows}):
        profile_rows = [row for row in rows if row["profile"] == profile]
        for split in sorted({row["split"] for row in profile_rows}):
            references = next(row for row in profile_rows if row["split"] == split)  # the same in all rows of a split
            for name, key in (
                ("upper bound: truth without objects never seen", "oracle_jaccard"),
                ("baseline: true mask of frame 10", "copy_last_jaccard"),
            ):
                table.lines.append((profile, name, "truth", f"{references[key]:.3f}", *[""] * (len(COLUMNS) - 4)))
                table.rows.append(None)
        table.lines.extend(map(_table_line, profile_rows))
        table.rows.extend(profile_rows)
    return table


def _table_line(row: dict) -> tuple[str, ...]:
    def number(key: str, format_spec: str = ".3f") -> str:
        return "" if row.get(key) is None else format(row[key], format_spec)

    return (
        row["profile"],
        _system_cell(row),
        row["input"],
        number("jaccard"),
        number("objects_miou"),
        number("recall_moving"),
        number("recall_still"),
        number("recall_late"),
        number("seconds_per_video"),
        number("parameters", ",d"),
        number("training_minutes", ".0f"),
        number("published"),
    )


def _system_cell(row: dict) -> str:
    """The system, its split if that is not val, and whether parts of it came with the package."""
    notes = [] if row["split"] == "val" else [row["split"]]
    if any(run.endswith(SHIPPED_MARK) for run in row.get("trained_on", {})):
        notes.append("shipped")
    return row["system"] + (f" ({', '.join(notes)})" if notes else "")


def recurrent_table(rows: list[dict]) -> str:
    """Markdown: the recurrent U-Nets among the rows of `read_runs`, averaged over seeds, with the published scores.

    Networks without a run and without a published score are left out.
    """
    formats = {"miou": ".3f", "mean_accuracy": ".3f", "pixel_accuracy": ".3f", "flip_rate": ".2%"}
    formats["seconds_per_epoch"] = ".0f"
    titles = ("block", "cell", "size", "seeds", "mIoU", "mean acc.", "pixel acc.", "flips", "s/epoch")
    lines = ["| " + " | ".join((*titles, "published mIoU", "published mAcc")) + " |", "|---" * (len(titles) + 2) + "|"]
    trained: dict[tuple[str, str, str], list[dict]] = {}
    for row in rows:
        config = row["model"]["config"]
        trained.setdefault((config["block"], config["cell"], config["size"]), []).append(row)
    with_score = {network for network, published in PUBLISHED_RECURRENT.items() if published.miou}
    for network in sorted({*trained, *with_score}):
        runs, published = trained.get(network, []), PUBLISHED_RECURRENT.get(network, Published(0))
        cells = [*network, str(len(runs) or "")]
        cells += [
            format(sum(run[key] for run in runs) / len(runs), spec) if runs else "" for key, spec in formats.items()
        ]
        cells += ["" if value is None else format(value, ".3f") for value in (published.miou, published.pixel_accuracy)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
