"""The commands `vidseg run` and `vidseg sweep`: execute notebooks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidseg_utils.running.data_commands import AgainOption, ExecutorOption, ProfileOption, SchedulerOption

if TYPE_CHECKING:
    from vidseg_utils.running import NotebookRun, Outcome

RUN_EXAMPLE = "Example: vidseg run 02 03 --profile cpu -p EPOCHS=6"
SWEEP_EXAMPLE = "Example: vidseg sweep simvp_epochs_and_loss --profile cpu"

JobsOption = Annotated[int, typer.Option(min=1, help="Number of notebooks executed at once.")]


def run_notebooks(
    notebooks: Annotated[
        list[str] | None, typer.Argument(help="Numbers, names or paths [default: the five core ones].")
    ] = None,
    profile: ProfileOption = "auto",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE for the parameters cell; repeatable.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Name of the run folder, for one notebook; it keeps the usual run as it is.")
    ] = None,
    again: AgainOption = False,
    all_notebooks: Annotated[
        bool, typer.Option("--all", help="All lessons, except those that are up to date, in the order they need.")
    ] = False,
    jobs: JobsOption = 1,
    why: Annotated[
        bool, typer.Option("--why", help="Only say of each notebook what has changed since it was executed.")
    ] = False,
) -> None:
    """Execute notebooks. The run folder of each keeps the executed copy and its metrics."""
    from vidseg_utils.profiles import get_profile
    from vidseg_utils.running import NotebookRun, checked_parameters, find_notebooks
    from vidseg_utils.running.notebook_file import check_names
    from vidseg_utils.running.workbook import notebooks_before, workbook

    if all_notebooks and (notebooks or run):
        raise ValueError("--all takes all lessons; leave it out to name notebooks or a run folder")
    given = dict(_parse_parameter(text) for text in parameter or [])
    profile = get_profile(profile, default=_shipped_profile() if given.get("WEIGHTS") == "shipped" else None).name
    paths = workbook() if all_notebooks else find_notebooks(notebooks or [])
    if run is not None and len(paths) != 1:
        raise ValueError(f"--run names the run folder of one notebook, not of {len(paths)}; give one notebook")
    check_names(given)
    # of all notebooks, before the first one runs
    values = [checked_parameters(path, given) if given else {} for path in paths]
    runs = [NotebookRun(path, profile, value, run or "auto") for path, value in zip(paths, values, strict=True)]
    after = {each.folder: [NotebookRun(p, profile).folder for p in notebooks_before(each.notebook)] for each in runs}
    needed = _say_why(runs, after) if all_notebooks or why else runs
    _announce(needed, n_runs=len(runs), jobs=jobs)
    if why or not needed:
        return
    from vidseg_utils.running import execute_batch, execute_notebook  # slow

    if len(runs) == 1 and not all_notebooks:
        folder = execute_notebook(paths[0], profile=profile, parameters=values[0], run=run, again=again)
        typer.echo(f"{paths[0].stem}: {folder}")
    else:
        when, title = ("stale", "the workbook") if all_notebooks else ("always", "notebooks")
        _report(execute_batch(runs, title=title, when=when, after=after, jobs=jobs, again=again))


def run_sweep(
    file: Annotated[Path, typer.Argument(help="A YAML file, or the name of one in notebooks/sweeps.")],
    profile: ProfileOption = "auto",
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    jobs: JobsOption = 1,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only list the runs, and about how long the missing ones take."),
    ] = False,
) -> None:
    """Execute notebooks with many parameters. Finished runs are skipped. Ends with a table of scores."""
    from vidseg_utils.profiles import get_profile
    from vidseg_utils.running import plan_sweep

    profile = get_profile(profile).name
    runs = plan_sweep(file, profile=profile)
    finished = {run.name for run in runs if run.is_finished()}
    if dry_run:
        for run in runs:
            typer.echo(f"{run.name}: {'finished' if run.name in finished else 'to be executed'}")
    _announce([run for run in runs if run.name not in finished], n_runs=len(runs), jobs=jobs)
    if dry_run:
        return
    from vidseg_utils.running import execute_sweep, sweep_table  # slow

    outcomes = execute_sweep(file, profile=profile, executor=executor, jobs=jobs, scheduler=scheduler)
    if table := sweep_table(file, profile=profile):
        typer.echo(table)
    _report(outcomes)


def _announce(needed: "Sequence[NotebookRun]", *, n_runs: int, jobs: int) -> None:
    """Say how many runs will be executed, about how long that takes, and how much disk the data of the profile take."""
    from vidseg_utils.paths import data_dir
    from vidseg_utils.profiles import get_profile
    from vidseg_utils.running.estimates import describe_estimate, describe_needs

    time = f"{len(needed)} of {n_runs} runs to execute: {describe_estimate(needed, jobs=jobs)}"
    profile = get_profile(needed[0].profile) if needed else None
    typer.echo(describe_needs(time, profile, data_dir() / profile.name) if profile else time, err=True)


def _say_why(runs: "Sequence[NotebookRun]", after: dict[Path, list[Path]]) -> "list[NotebookRun]":
    """Print why each notebook has to be executed; returns those that have to be."""
    from vidseg_utils.running.run_record import why_stale

    reasons = {run.folder: why_stale(run) for run in runs}
    for folder, why in reasons.items():
        first = [other.name for other in after[folder] if reasons.get(other)]
        later = f"; asked again after {', '.join(first)}" if first else ""
        typer.echo(f"{folder.name}: {'; '.join(why) or f'up to date{later}'}")
    return [run for run in runs if reasons[run.folder]]


def _report(outcomes: "Sequence[Outcome]") -> None:
    """Print the run folders, a summary and every failure; exit with 1 if there is one."""
    failed = [outcome for outcome in outcomes if outcome.error]
    executed = [outcome for outcome in outcomes if outcome.seconds is not None]
    for outcome in outcomes:
        if not outcome.error:
            typer.echo(str(outcome.run.folder))
    n_current = len(outcomes) - len(failed) - len(executed)
    typer.echo(f"{len(executed)} executed, {n_current} up to date, {len(failed)} failed", err=True)
    for outcome in failed:
        typer.echo(f"failed: {outcome.run.folder.name}: {' '.join(outcome.error.split())}", err=True)
    if failed:
        typer.echo("the same command executes only what is missing", err=True)
        raise typer.Exit(1)


def _shipped_profile() -> str:
    from vidseg_utils.training.shipped import SHIPPED_PROFILE

    return SHIPPED_PROFILE


def _parse_parameter(text: str) -> tuple[str, object]:
    """The name, and the value as it was typed; the notebook's declared type decides how it is read."""
    from vidseg_utils.running.parameter_values import ParameterText

    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, ParameterText(value)
