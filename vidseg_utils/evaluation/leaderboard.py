"""The table of all systems that have been evaluated, read from the run folders, beside the published figures."""

from pathlib import Path

from vidseg_utils.paths import read_json

# Jaccard on the real course data, by the student projects that published them. Ours are on our data: compare the order.
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


def read_runs(runs: Path | str) -> list[dict]:
    """One row a run folder that has metrics: its name as `run`, then what its config.json and metrics.json hold.

    Raises ValueError naming the file when one is damaged.
    """
    rows = []
    for path in sorted(Path(runs).glob("*/metrics.json")):
        config = path.with_name("config.json")
        rows.append({"run": path.parent.name, **(read_json(config) if config.is_file() else {}), **read_json(path)})
    return rows


def read_leaderboard(runs: Path | str) -> list[dict]:
    """The rows of `read_runs` that are a system's evaluation, best Jaccard first; `published`: its figure or None."""
    rows = [row for row in read_runs(runs) if "system" in row and "jaccard" in row]
    rows = [{**row, "published": PUBLISHED_JACCARD.get(row["system"])} for row in rows]
    return sorted(rows, key=lambda row: -row["jaccard"])


def leaderboard_table(rows: list[dict]) -> str:
    """Markdown: the floor and the ceiling of each profile, then its systems, best first."""
    columns = ("profile", "system", "input", "Jaccard", "objects", "moving", "still", "late", "s/video", "parameters")
    lines = ["| " + " | ".join((*columns, "published")) + " |", "|" + "---|" * (len(columns) + 1)]
    for profile in sorted({row["profile"] for row in rows}):
        block = [row for row in rows if row["profile"] == profile]
        for split in sorted({row["split"] for row in block}):
            any_row = next(row for row in block if row["split"] == split)
            for name, key in (
                ("ceiling: truth without unseen objects", "ceiling_jaccard"),
                ("floor: true mask of frame 10", "floor_jaccard"),
            ):
                lines.append(f"| {profile} | *{name}* | truth | {any_row[key]:.3f} |" + "  |" * 7)
        lines += [_line(row) for row in block]
    return "\n".join(lines)


def _line(row: dict) -> str:
    def number(key: str, form: str = ".3f") -> str:
        return "" if row.get(key) is None else format(row[key], form)

    cells = (
        row["profile"],
        row["system"] + ("" if row["split"] == "val" else f" ({row['split']})"),
        row["input"],
        number("jaccard"),
        number("objects_miou"),
        number("recall_moving"),
        number("recall_still"),
        number("recall_late"),
        number("seconds_per_video"),
        number("parameters", ",d"),
        number("published"),
    )
    return "| " + " | ".join(cells) + " |"
