"""The command line `vidseg`: what the notebooks do, for batch jobs and clusters.

Every error is one line and a non-zero exit code; `--debug`, anywhere on the line, shows the traceback instead.
Commands import what they need inside the function, so that a usage error or `--help` appears at once.
"""

import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.data_commands import AgainOption, ProfileOption, RootOption, data_app
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

if TYPE_CHECKING:
    from vidseg_utils.systems import Forecaster, Workspace

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Forecast what a video will look like as a segmentation mask. `--debug` shows the traceback of an error.",
)
app.add_typer(data_app, name="data")

INTERRUPTED = 130  # exit code that typer returns after Ctrl-C

DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or mps [default: cuda if there is a GPU].")]
ReconstructorOption = Annotated[
    bool,
    typer.Option("--reconstructor/--no-reconstructor", help="--no-reconstructor: convlstm_unet segments frame 10."),
]
SizesOption = Annotated[
    list[str] | None,
    typer.Option("--size", help="NAME=VALUE: one size of the profile to replace, such as unet.epochs=3; repeatable."),
]
ShippedOption = Annotated[
    bool, typer.Option("--shipped", help="Load the weights that come with the package; auto is then cpu_full.")
]
SystemArgument = Annotated[str, typer.Argument(help="A system's name; `vidseg systems` lists them.")]


@app.command("systems", epilog="Example: vidseg systems --profile cpu")
def list_systems(profile: ProfileOption = "auto", runs: RunsOption = None) -> None:
    """List the systems, whether they and their parts are trained, and whether trained ones come with the package."""
    from vidseg_utils.systems import SYSTEMS, Workspace
    from vidseg_utils.training import SHIPPED_PROFILE, is_finished, is_interrupted, shipped_run

    workspace = Workspace.for_profile(profile, runs=runs)
    for name, system in SYSTEMS.items():
        folders = {part: workspace.run_folder(part) for part in system.run_names}
        states = {
            part: "trained" if is_finished(run) else "not finished" if is_interrupted(run) else "not trained"
            for part, run in folders.items()
        }
        is_trained = set(states.values()) <= {"trained"}
        comes_trained = bool(states) and all(is_finished(shipped_run(part)) for part in states)
        state = ", ".join(["trained"] * is_trained + ["shipped"] * comes_trained) or "not trained"
        parts = ", ".join(f"{part} ({state})" for part, state in states.items()) or "nothing to train"
        summary = (system.__doc__ or "").strip().splitlines()[0]
        typer.echo(f"{name:24} {state:16} {parts:44} {summary}")
    typer.echo(f"trained: at profile {workspace.profile.name}; shipped: comes trained at profile {SHIPPED_PROFILE}")


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
    workspace = Workspace.for_profile(profile, sizes=_parse_sizes(size), root=root, runs=runs, device=device)
    folders = [workspace.run_folder(part) for part in forecaster.run_names]
    todo = [folder for folder in folders if again or not is_finished(folder)]
    if todo and is_first_process():
        typer.echo(describe_needs(describe_trainings(todo), workspace.profile, workspace.root), err=True)
    with training_anew(again):
        forecaster.train(workspace)
    for part in forecaster.run_names if is_first_process() else ():
        typer.echo(f"{part}: {workspace.run_folder(part)}")


@app.command("evaluate", epilog="Example: vidseg evaluate simvp_unet --profile cpu --split val")
def evaluate_on_split(
    system: SystemArgument,
    profile: ProfileOption = "auto",
    split: Annotated[str, typer.Option(help="A labelled split: val or train.")] = "val",
    true_masks: Annotated[
        bool, typer.Option("--true-masks/--frames", help="Give the system true masks instead of frames.")
    ] = False,
    reconstructor: ReconstructorOption = True,
    root: RootOption = None,
    runs: RunsOption = None,
    run: Annotated[str | None, typer.Option(help="Name of the run folder for the result.")] = None,
    size: SizesOption = None,
    device: DeviceOption = None,
    shipped: ShippedOption = False,
) -> None:
    """Score a trained system on a labelled split. Metrics and predictions are written to a run folder."""
    from vidseg_utils.evaluation import check_evaluation_folder, describe_evaluation, evaluate_system
    from vidseg_utils.systems import Workspace

    sizes = _parse_sizes(size)
    workspace = Workspace.for_profile(profile, sizes=sizes, root=root, runs=runs, device=device, shipped=shipped)
    forecaster = _build(system, workspace, reconstructor=reconstructor)
    true_masks = true_masks or forecaster.needs_masks  # such as copy_last
    suffix = "" if reconstructor else "_no_reconstructor"
    suffix += "_true_masks" if true_masks and not forecaster.needs_masks else ""
    suffix += "" if split == "val" else f"_{split}"
    folder = workspace.evaluation_folder(system + suffix) if run is None else workspace.run_folder(run)
    # before the work, so that nothing is lost
    check_evaluation_folder(folder, describe_evaluation(forecaster.name, workspace, split=split, true_masks=true_masks))
    result = evaluate_system(forecaster, workspace.split(split), device=workspace.device, true_masks=true_masks)
    result.save(folder, system=forecaster.name, workspace=workspace, split=split, true_masks=true_masks)
    _print_metrics(result.metrics)
    typer.echo(f"written to {folder}")


@app.command("predict", epilog="Example: vidseg predict simvp_unet --split hidden --out masks.pt")
def predict_hidden_masks(
    system: SystemArgument,
    out: Annotated[Path, typer.Option(help="File to write: a torch tensor (N, 160, 240) uint8.")],
    split: Annotated[str, typer.Option(help="Any split of the data set.")] = "hidden",
    profile: ProfileOption = "auto",
    reconstructor: ReconstructorOption = True,
    root: RootOption = None,
    runs: RunsOption = None,
    size: SizesOption = None,
    device: DeviceOption = None,
) -> None:
    """Forecast frame 21 of every video of a split. The masks are written as the course's submission. Resumes."""
    from vidseg_utils.evaluation import missing_videos, write_submission
    from vidseg_utils.systems import Workspace

    workspace = Workspace.for_profile(profile, sizes=_parse_sizes(size), root=root, runs=runs, device=device)
    forecaster = _build(system, workspace, reconstructor=reconstructor)
    videos = workspace.split(split)
    masks = write_submission(out, forecaster, videos, device=workspace.device)
    typer.echo(f"{out}: {len(masks)} masks; their video numbers are in {out.name}.json")
    if videos.skipped:
        raise ValueError(missing_videos(out, videos))


@app.command("score", epilog="Example: vidseg score masks.pt --root data/cpu")
def score_file(
    file: Annotated[Path, typer.Argument(help="A submission: a torch tensor (N, 160, 240) uint8.")],
    root: Annotated[Path, typer.Option(help="The generated data set whose hidden videos were forecast.")],
) -> None:
    """Score a submission for the hidden videos. The true masks are read from ROOT/hidden_truth."""
    from vidseg_utils.evaluation import score_submission

    _print_metrics(score_submission(file, root))


app.command("forecast", epilog=FORECAST_EXAMPLE)(forecast_one_video)
app.command("run", epilog=RUN_EXAMPLE)(run_notebooks)
app.command("sweep", epilog=SWEEP_EXAMPLE)(run_sweep)
app.command("report", epilog=REPORT_EXAMPLE)(report_runs)
app.command("clean", epilog=CLEAN_EXAMPLE)(clean_up)
app.command("runs", epilog=RUNS_EXAMPLE)(list_runs)
app.command("film", epilog=FILM_EXAMPLE)(write_film)


def _build(system: str, workspace: "Workspace", *, reconstructor: bool) -> "Forecaster":
    from vidseg_utils.systems import build_system, without_reconstructor

    forecaster = build_system(system, workspace=workspace)
    return forecaster if reconstructor else without_reconstructor(forecaster)


def _parse_sizes(texts: list[str] | None) -> dict[str, str]:
    """The --size options as `get_profile` takes them. Raises ValueError for one without a value."""
    for text in texts or []:
        if "=" not in text:
            raise ValueError(f"--size {text} is not NAME=VALUE, such as unet.epochs=3")
    return dict(text.split("=", 1) for text in texts or [])


def _print_metrics(metrics: dict[str, float]) -> None:
    for key, value in metrics.items():
        typer.echo(f"{key:24} {value:,}" if isinstance(value, int) else f"{key:24} {value:.4f}")


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
