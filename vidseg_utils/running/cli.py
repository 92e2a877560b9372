"""The command line `vidseg`: what the notebooks do, for batch jobs and clusters.

Every error is one line and a non-zero exit code; `--debug`, anywhere on the line, shows the traceback instead.
Commands import what they need inside the function, so that a usage error or `--help` appears at once.
"""

import logging
import re
import sys
from pathlib import Path

import typer

from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.data_commands import AgainOption, ProfileOption, RootOption, data_app
from vidseg_utils.running.evaluation_commands import (
    EVALUATE_EXAMPLE,
    PREDICT_EXAMPLE,
    SCORE_EXAMPLE,
    DeviceOption,
    SizesOption,
    SystemArgument,
    evaluate_on_split,
    parse_sizes,
    predict_hidden_masks,
    score_file,
)
from vidseg_utils.running.forecast_command import FORECAST_EXAMPLE, RunsOption, forecast_one_video
from vidseg_utils.running.notebook_commands import RUN_EXAMPLE, SWEEP_EXAMPLE, run_notebooks, run_sweep
from vidseg_utils.running.report_commands import (
    CLEAN_EXAMPLE,
    FILM_EXAMPLE,
    REPORT_EXAMPLE,
    RUNS_EXAMPLE,
    clean_up,
    list_runs,
    report_runs,
    write_film,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Forecast what a video will look like as a segmentation mask. `--debug` shows the traceback of an error.",
)
app.add_typer(data_app, name="data")

INTERRUPTED = 130  # exit code that typer returns after Ctrl-C


@app.command("systems", epilog="Example: vidseg systems --profile cpu")
def list_systems(profile: ProfileOption = "auto", runs: RunsOption = None) -> None:
    """List the systems, whether they and their parts are trained, and whether trained ones come with the package."""
    from vidseg_utils.systems import SYSTEMS, Workspace
    from vidseg_utils.training import SHIPPED_PROFILE, is_finished, shipped_run

    workspace = Workspace.for_profile(profile, runs=runs)
    for name, system in SYSTEMS.items():
        folders = {part: workspace.run_folder(part) for part in system.run_names}
        states = {part: _state(run) for part, run in folders.items()}
        is_trained = set(states.values()) <= {"trained"}
        comes_trained = bool(states) and all(is_finished(shipped_run(part)) for part in states)
        state = ", ".join(["trained"] * is_trained + ["shipped"] * comes_trained) or "not trained"
        parts = ", ".join(f"{part} ({state})" for part, state in states.items()) or "nothing to train"
        summary = (system.__doc__ or "").strip().splitlines()[0]
        typer.echo(f"{name:24} {state:16} {parts:44} {summary}")
    typer.echo(f"trained: at profile {workspace.profile.name}; shipped: comes trained at profile {SHIPPED_PROFILE}")


def _state(run: Path) -> str:
    """Whether a part is trained, for `vidseg systems`."""
    from vidseg_utils.training import is_finished, is_interrupted

    try:
        return "trained" if is_finished(run) else "not finished" if is_interrupted(run) else "not trained"
    except ValueError:  # `vidseg runs` says what is wrong
        return "damaged"


@app.command("train", epilog="Example: vidseg train simvp_unet --profile cpu")
def train_system(
    system: SystemArgument,
    profile: ProfileOption = "auto",
    root: RootOption = None,
    runs: RunsOption = None,
    size: SizesOption = None,
    device: DeviceOption = None,
    again: AgainOption = False,
) -> None:
    """Train the parts of a system that have no finished run. An interrupted training resumes."""
    from vidseg_utils.running.estimates import describe_needs, describe_trainings
    from vidseg_utils.systems import Workspace, system_class
    from vidseg_utils.training import is_finished, is_first_process, training_anew

    forecaster = system_class(system)
    workspace = Workspace.for_profile(profile, sizes=parse_sizes(size), root=root, runs=runs, device=device)
    folders = [workspace.run_folder(part) for part in forecaster.run_names]
    todo = [folder for folder in folders if again or not is_finished(folder)]
    if todo:
        workspace.check_data()
    if todo and is_first_process():
        typer.echo(describe_needs(describe_trainings(todo), workspace.profile, workspace.root), err=True)
    with training_anew(again):
        forecaster.train(workspace)
    for part in forecaster.run_names if is_first_process() else ():
        typer.echo(f"{part}: {workspace.run_folder(part)}")


app.command("evaluate", epilog=EVALUATE_EXAMPLE)(evaluate_on_split)
app.command("predict", epilog=PREDICT_EXAMPLE)(predict_hidden_masks)
app.command("score", epilog=SCORE_EXAMPLE)(score_file)
app.command("forecast", epilog=FORECAST_EXAMPLE)(forecast_one_video)
app.command("run", epilog=RUN_EXAMPLE)(run_notebooks)
app.command("sweep", epilog=SWEEP_EXAMPLE)(run_sweep)
app.command("report", epilog=REPORT_EXAMPLE)(report_runs)
app.command("clean", epilog=CLEAN_EXAMPLE)(clean_up)
app.command("runs", epilog=RUNS_EXAMPLE)(list_runs)
app.command("film", epilog=FILM_EXAMPLE)(write_film)


def _with_home(argument: str) -> str:
    """The argument with a leading ~ expanded. Shells leave it in `--out=~/x` and in quotes."""
    match = re.fullmatch(r"(--[\w-]+=)?(~|~/.*)", argument, re.DOTALL)
    return f"{match[1] or ''}{Path(match[2]).expanduser()}" if match else argument


def main() -> None:
    """Entry point: run the command; print an error as one line and exit with a non-zero code."""
    debug = "--debug" in sys.argv
    arguments = [_with_home(argument) for argument in sys.argv[1:] if argument != "--debug"]
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        code = app(args=arguments, prog_name="vidseg", standalone_mode=False)
    except Exception as error:
        if debug:
            raise
        # usage errors have this method and an exit code; their class depends on the version of typer
        format_message = getattr(error, "format_message", None)
        text = format_message() if format_message else str(error)
        if not format_message and not isinstance(error, ValueError | OSError | NotebookFailed):
            text = f"{type(error).__name__}: {text} (add --debug to see the traceback)"
        print("error: " + " ".join(text.split()), file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    if code == INTERRUPTED:
        print("interrupted; run the same command again to resume", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
