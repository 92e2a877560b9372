"""The commands that show what run folders hold: `vidseg report`, `vidseg runs`, `vidseg film`; and
`vidseg clean`.
"""

from pathlib import Path
from typing import Annotated

import typer

from vidseg_utils.running.data_commands import RootOption
from vidseg_utils.running.forecast_command import RunsOption

FILM_EXAMPLE = "Example: vidseg film object_dynamics-cpu --video 1003"
CLEAN_EXAMPLE = "Example: vidseg clean --yes"
RUNS_EXAMPLE = "Example: vidseg runs --where profile=cpu --where kind=evaluation --csv"
REPORT_EXAMPLE = "Example: vidseg report --html report.html"


def write_film(
    run: Annotated[str, typer.Argument(help="Name of the run folder of an evaluation, such as object_dynamics-cpu.")],
    video: Annotated[str, typer.Option(help="Number of a video, or: best, worst.")] = "best",
    scale: Annotated[int, typer.Option(help="2 to 4 times 160x240 pixels for each of the four panels.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Folder to write [default: the run folder].")] = None,
    root: RootOption = None,
    runs: RunsOption = None,
) -> None:
    """Show one forecast of a run as GIF, MP4 and PNG: input, truth, forecast and error side by side."""
    import matplotlib.pyplot as plt

    from vidseg_utils.paths import check_run_name, runs_dir
    from vidseg_utils.visualisation import film, use_style

    plt.switch_backend("agg")
    use_style()
    shown = film((runs or runs_dir()) / check_run_name(run), video=video, scale=scale, root=root, out=out)
    typer.echo(f"written to {shown.path.parent}: {shown.path.name}, {shown.path.stem}.mp4, {shown.path.stem}.png")


def report_runs(
    runs: RunsOption = None,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="A file .html to write instead: all runs on one page.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="With --html: other runs, or the home around them, beside the first.")
    ] = None,
) -> None:
    """Print the scores of all evaluated systems beside the published ones, or write them with all else as a page."""
    from vidseg_utils.paths import runs_dir

    folder = runs or runs_dir()
    if against is not None and html is None:
        raise ValueError("--against puts runs side by side on a page: give --html OUT.html too")
    if html is not None:
        _write_page(html, folder, against)
        return
    from vidseg_utils.evaluation.leaderboard import damage_table, leaderboard_rows, leaderboard_table
    from vidseg_utils.run_folders import read_run_folders

    found = read_run_folders(folder)
    tables = [table for table in (leaderboard_table(leaderboard_rows(found)), damage_table(found)) if table]
    if not tables:
        raise ValueError(f"no evaluated system in {folder}; try `vidseg evaluate copy_last`")
    typer.echo("\n\n".join(tables))


def _write_page(html: Path, runs: Path, against: Path | None) -> None:
    import matplotlib.pyplot as plt

    from vidseg_utils.visualisation.report import write_report

    plt.switch_backend("agg")
    for path in write_report(html, runs, against=against):
        typer.echo(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def list_runs(
    where: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE: only runs with that value; repeatable.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="All columns, as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All columns, as JSON.")] = False,
    runs: RunsOption = None,
) -> None:
    """List all run folders: trainings, evaluations and notebooks, with their settings and metrics."""
    import json

    from vidseg_utils.paths import runs_dir
    from vidseg_utils.running import run_table

    if as_csv and as_json:
        raise ValueError("give --csv or --json, not both")
    folder = runs or runs_dir()
    if not folder.is_dir():
        raise ValueError(f"there is no folder of runs {folder}; try `vidseg run` or `vidseg evaluate copy_last`")
    conditions = dict(_parse_condition(text) for text in where or [])
    rows = run_table.select_rows(run_table.read_run_table(folder), conditions)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        typer.echo(run_table.as_csv(rows) if as_csv else run_table.as_text(rows), nl=not as_csv)


def _parse_condition(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--where {text} is not COLUMN=VALUE, such as profile=cpu")
    return column, value


def clean_up(
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is listed; without it, nothing is deleted.")] = False,
) -> None:
    """List what can be deleted without losing a result: caches, unfinished runs, what killed processes left."""
    from vidseg_utils.running.clean import delete, find_deletable

    found, kept = find_deletable(), False
    for item in found:
        problem = delete(item) if yes else ""
        kept |= bool(problem)
        note = f" (kept: {problem})" if problem else ""
        typer.echo(f"{item.kind:15} {item.n_bytes / 1e6:10.1f} MB  {item.path}{note}")
    cure = "" if yes or not found else "; vidseg clean --yes deletes them"
    typer.echo(f"{len(found)} found, {sum(item.n_bytes for item in found) / 1e9:.2f} GB{cure}")
    if kept:
        raise typer.Exit(1)
