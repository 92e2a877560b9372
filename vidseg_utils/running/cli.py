"""The command line `vidseg`: everything that the notebooks do, for batches and clusters.

Every error is one clear line and a non-zero exit; `--debug`, anywhere on the line, shows the traceback instead.
"""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidseg_utils.running import NotebookFailed
from vidseg_utils.running.data_commands import ProfileOption, RootOption, data_app

if TYPE_CHECKING:
    from vidseg_utils.systems import Forecaster, Workspace

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Forecast what a video will look like as a segmentation mask. `--debug` shows the traceback of an error.",
)
app.add_typer(data_app, name="data")

INTERRUPTED = 130  # what typer makes of Ctrl-C

RunsOption = Annotated[Path | None, typer.Option(help="Folder of the run folders [default: runs].")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N [default: cuda if there is one].")]
ReconstructorOption = Annotated[
    bool, typer.Option("--reconstructor/--no-reconstructor", help="Without it, convlstm_unet segments frame 10.")
]
SizesOption = Annotated[
    list[str] | None,
    typer.Option("--size", help="NAME=VALUE: one size of the profile to replace, such as unet.epochs=3; repeatable."),
]
SystemArgument = Annotated[str, typer.Argument(help="A system's name; `vidseg systems` lists them.")]


# ---- systems ---------------------------------------------------------------------------------------------------------


@app.command(epilog="Example: vidseg systems --profile cpu")
def systems(profile: ProfileOption = "auto", runs: RunsOption = None) -> None:
    """List the systems, what each is made of, and which of its runs are there."""
    from vidseg_utils.systems import SYSTEMS, Workspace
    from vidseg_utils.training.run_folder import is_trained

    workspace = Workspace.of(profile, runs=runs)
    for name, system in SYSTEMS.items():
        parts = [f"{part} ({'trained' if is_trained(workspace.run(part)) else 'not trained'})" for part in system.parts]
        summary = (system.__doc__ or "").strip().splitlines()[0]
        typer.echo(f"{name:24} {', '.join(parts) or 'nothing to train':44} {summary}")


@app.command(epilog="Example: vidseg train simvp_unet --profile cpu")
def train(
    system: SystemArgument,
    profile: ProfileOption = "auto",
    root: RootOption = None,
    runs: RunsOption = None,
    size: SizesOption = None,
    device: DeviceOption = None,
) -> None:
    """Train the parts of a system that have no finished run. An interrupted run goes on where it stopped."""
    from vidseg_utils.systems import Workspace, system_class

    cls = system_class(system)
    workspace = Workspace.of(profile, sizes=_sizes(size), root=root, runs=runs, device=device)
    cls.train(workspace)
    for part in cls.parts:
        typer.echo(f"{part}: {workspace.run(part)}")


@app.command(epilog="Example: vidseg evaluate simvp_unet --profile cpu --split val")
def evaluate(
    system: SystemArgument,
    profile: ProfileOption = "auto",
    split: Annotated[str, typer.Option(help="A labelled split: val or train.")] = "val",
    true_masks: Annotated[
        bool, typer.Option("--true-masks/--frames", help="Give the system true masks in place of frames.")
    ] = False,
    reconstructor: ReconstructorOption = True,
    root: RootOption = None,
    runs: RunsOption = None,
    run: Annotated[str | None, typer.Option(help="Name of the run folder that keeps the result.")] = None,
    size: SizesOption = None,
    device: DeviceOption = None,
) -> None:
    """Score a trained system on a labelled split; keep metrics and predictions in a run folder."""
    from vidseg_utils.evaluation.evaluate import evaluate_system
    from vidseg_utils.systems import Workspace

    workspace = Workspace.of(profile, sizes=_sizes(size), root=root, runs=runs, device=device)
    forecaster = _built(system, workspace, reconstructor=reconstructor)
    true_masks = true_masks or forecaster.segmenter is None  # such as copy_last, which has nothing else to start from
    result = evaluate_system(forecaster, workspace.split(split), device=workspace.device, true_masks=true_masks)
    suffix = "" if reconstructor else "_no_reconstructor"
    suffix += "_true_masks" if true_masks and forecaster.segmenter is not None else ""
    suffix += "" if split == "val" else f"_{split}"
    # another data set's score does not belong on the profile's own table
    suffix += "" if root is None else f"_{workspace.root.resolve().name}"
    folder = workspace.run(run or system + suffix)
    result.save(folder, system=forecaster.name, workspace=workspace, split=split, true_masks=true_masks)
    _print_metrics(result.metrics)
    typer.echo(f"kept in {folder}")


@app.command(epilog="Example: vidseg predict simvp_unet --split hidden --out masks.pt")
def predict(
    system: SystemArgument,
    out: Annotated[Path, typer.Option(help="The submission to write, a torch tensor (N, 160, 240) uint8.")],
    split: Annotated[str, typer.Option(help="Any split.")] = "hidden",
    profile: ProfileOption = "auto",
    reconstructor: ReconstructorOption = True,
    root: RootOption = None,
    runs: RunsOption = None,
    size: SizesOption = None,
    device: DeviceOption = None,
) -> None:
    """Forecast frame 21 of every video of a split and write the submission that the course asked for. Resumes."""
    from vidseg_utils.evaluation.submission import write_submission
    from vidseg_utils.systems import Workspace

    workspace = Workspace.of(profile, sizes=_sizes(size), root=root, runs=runs, device=device)
    forecaster = _built(system, workspace, reconstructor=reconstructor)
    masks = write_submission(out, forecaster, workspace.split(split), device=workspace.device)
    typer.echo(f"{out}: {len(masks)} masks")


@app.command(epilog="Example: vidseg score masks.pt --root data/cpu")
def score(
    file: Annotated[Path, typer.Argument(help="A submission: a torch tensor (N, 160, 240) uint8.")],
    root: Annotated[Path, typer.Option(help="The generated data set whose hidden videos it is about.")],
) -> None:
    """Judge a submission for the hidden videos, as the course would have: by the truth in ROOT/hidden_truth."""
    from vidseg_utils.evaluation.submission import score_submission

    _print_metrics(score_submission(file, root))


def _built(system: str, workspace: "Workspace", *, reconstructor: bool) -> "Forecaster":
    from vidseg_utils.systems import build_system
    from vidseg_utils.systems.convlstm_unet import without_reconstructor

    forecaster = build_system(system, workspace=workspace)
    return forecaster if reconstructor else without_reconstructor(forecaster)


def _print_metrics(metrics: dict[str, float]) -> None:
    for key, value in metrics.items():
        typer.echo(f"{key:24} {value:,}" if isinstance(value, int) else f"{key:24} {value:.4f}")


# ---- notebooks -------------------------------------------------------------------------------------------------------


@app.command(epilog="Example: vidseg run 02 03 --profile cpu -p EPOCHS=6")
def run(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Numbers, names or paths; none: the core five.")] = None,
    profile: ProfileOption = "auto",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE for the notebook's parameters cell.")
    ] = None,
) -> None:
    """Run notebooks through papermill; the executed ones and their numbers are kept in run folders."""
    from vidseg_utils.profiles import get_profile
    from vidseg_utils.running.batch import find_notebooks, run_notebook

    chosen = get_profile(profile).name
    values = dict(_name_and_value(text) for text in parameter or [])
    for path in find_notebooks(notebooks or []):
        typer.echo(f"{path.stem}: {run_notebook(path, profile=chosen, parameters=values)}")


def _sizes(texts: list[str] | None) -> dict[str, str]:
    """--size options as `get_profile` takes them. Raises ValueError for one without a value."""
    for text in texts or []:
        if "=" not in text:
            raise ValueError(f"--size {text} is not NAME=VALUE, such as unet.epochs=3")
    return dict(text.split("=", 1) for text in texts or [])


def _name_and_value(text: str) -> tuple[str, object]:
    import yaml

    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, yaml.safe_load(value)


@app.command(epilog="Example: vidseg sweep notebooks/sweeps/simvp_epochs_and_loss.yaml --profile cpu")
def sweep(
    file: Annotated[Path, typer.Argument(help="A YAML file; see notebooks/sweeps/.")],
    profile: ProfileOption = "auto",
    executor: Annotated[str, typer.Option(help="local or slurm.")] = "local",
    jobs: Annotated[int, typer.Option(help="Runs at once.")] = 1,
) -> None:
    """Run one notebook over a grid of parameters. Finished runs are skipped."""
    from vidseg_utils.profiles import get_profile
    from vidseg_utils.running.batch import run_sweep

    for folder in run_sweep(file, profile=get_profile(profile).name, executor=executor, jobs=jobs):
        typer.echo(str(folder))


@app.command(epilog="Example: vidseg report")
def report(runs: RunsOption = None) -> None:
    """Print the table of all systems that have been evaluated, beside the published figures."""
    from vidseg_utils.evaluation.leaderboard import leaderboard_table, read_leaderboard
    from vidseg_utils.paths import runs_dir

    folder = runs or runs_dir()
    rows = read_leaderboard(folder)
    if not rows:
        raise ValueError(f"no evaluated system below {folder}; try `vidseg evaluate copy_last`")
    typer.echo(leaderboard_table(rows))


def main() -> None:
    """Entry point: run the command; turn any error into one line and a non-zero exit."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        code = app(args=arguments, prog_name="vidseg", standalone_mode=False)
    except Exception as error:
        if debug:
            raise
        # a usage error of the command line knows its own text and exit code, whatever typer builds on
        text = error.format_message() if hasattr(error, "format_message") else str(error)
        expected = isinstance(error, (ValueError, OSError, NotebookFailed)) or hasattr(error, "format_message")
        if not expected:
            text = f"{type(error).__name__}: {text} (--debug shows where)"
        print("error: " + " ".join(text.split()), file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    if code == INTERRUPTED:
        print("interrupted; start the same command again to go on", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
