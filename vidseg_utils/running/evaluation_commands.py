"""The commands that forecast splits: `vidseg evaluate`, `vidseg predict`, and `vidseg score`."""

from pathlib import Path
from typing import Annotated

import typer

from vidseg_utils.running.data_commands import (
    ExecutorOption,
    ProfileOption,
    RootOption,
    SchedulerOption,
    SlurmOption,
    TasksOption,
)
from vidseg_utils.running.forecast_command import RunsOption

EVALUATE_EXAMPLE = "Example: vidseg evaluate simvp_unet --profile cpu --split val"
PREDICT_EXAMPLE = "Example: vidseg predict simvp_unet --split hidden --out masks.pt"
SCORE_EXAMPLE = "Example: vidseg score masks.pt --root data/cpu"

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
    executor: ExecutorOption = "local",
    jobs: TasksOption = 1,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
) -> None:
    """Score a trained system on a labelled split. Metrics and predictions are written to a run folder."""
    from vidseg_utils.data.parallel import n_cores
    from vidseg_utils.evaluation import (
        TrainedSystem,
        check_evaluation_folder,
        describe_evaluation,
        evaluate_system,
        forecast_workers,
    )
    from vidseg_utils.running.clean import PARTS
    from vidseg_utils.running.task_map import task_map
    from vidseg_utils.systems import Workspace

    sizes, own_device = parse_sizes(size), device if executor == "local" else None
    workspace = Workspace.for_profile(profile, sizes=sizes, root=root, runs=runs, device=own_device, shipped=shipped)
    trained = TrainedSystem(system, workspace, reconstructor)
    forecaster = trained.load()
    true_masks = true_masks or forecaster.needs_masks  # such as copy_last
    suffix = "" if reconstructor else "_no_reconstructor"
    suffix += "_true_masks" if true_masks and not forecaster.needs_masks else ""
    suffix += "" if split == "val" else f"_{split}"
    folder = workspace.evaluation_folder(system + suffix) if run is None else workspace.run_folder(run)
    # before the work, so that nothing is lost
    workspace.check_data()
    check_evaluation_folder(folder, describe_evaluation(forecaster.name, workspace, split=split, true_masks=true_masks))
    with (
        task_map(executor, jobs=jobs, scheduler=scheduler, slurm=slurm or ()) as parallel_map,
        forecast_workers(parallel_map, trained, folder=folder / PARTS, device=device) as workers,
    ):
        given = {"device": workspace.device, "true_masks": true_masks, "workers": workers, "processes": n_cores()}
        result = evaluate_system(forecaster, workspace.split(split), **given)
        result.save(folder, system=forecaster.name, workspace=workspace, split=split, true_masks=true_masks)
    _print_metrics(result.metrics)
    typer.echo(f"written to {folder}")


def predict_hidden_masks(
    system: SystemArgument,
    out: Annotated[Path, typer.Option(dir_okay=False, help="File to write: a torch tensor (N, 160, 240) uint8.")],
    split: Annotated[str, typer.Option(help="Any split of the data set.")] = "hidden",
    profile: ProfileOption = "auto",
    reconstructor: ReconstructorOption = True,
    root: RootOption = None,
    runs: RunsOption = None,
    size: SizesOption = None,
    device: DeviceOption = None,
    executor: ExecutorOption = "local",
    jobs: TasksOption = 1,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
) -> None:
    """Forecast frame 21 of every video of a split. The masks are written as the course's submission. Resumes."""
    from vidseg_utils.data.parallel import n_cores
    from vidseg_utils.evaluation import TrainedSystem, forecast_workers, missing_videos, write_submission
    from vidseg_utils.running.task_map import task_map
    from vidseg_utils.systems import Workspace

    own_device = device if executor == "local" else None
    workspace = Workspace.for_profile(profile, sizes=parse_sizes(size), root=root, runs=runs, device=own_device)
    trained = TrainedSystem(system, workspace, reconstructor)
    forecaster, videos = trained.load(), workspace.split(split)
    with (
        task_map(executor, jobs=jobs, scheduler=scheduler, slurm=slurm or ()) as parallel_map,
        forecast_workers(parallel_map, trained, folder=out.with_name(f"{out.name}.parts"), device=device) as workers,
    ):
        given = {"device": workspace.device, "workers": workers, "processes": n_cores()}
        masks = write_submission(out, forecaster, videos, **given)
    typer.echo(f"{out}: {len(masks)} masks; their video numbers are in {out.name}.json")
    if videos.skipped:
        raise ValueError(missing_videos(out, videos))


def score_file(
    file: Annotated[Path, typer.Argument(help="A submission: a torch tensor (N, 160, 240) uint8.")],
    root: Annotated[Path, typer.Option(help="The generated data set whose hidden videos were forecast.")],
) -> None:
    """Score a submission for the hidden videos. The true masks are read from ROOT/hidden_truth."""
    from vidseg_utils.evaluation import score_submission

    _print_metrics(score_submission(file, root))


def parse_sizes(texts: list[str] | None) -> dict[str, str]:
    """The --size options as `get_profile` takes them. Raises ValueError for one without a value."""
    for text in texts or []:
        if "=" not in text:
            raise ValueError(f"--size {text} is not NAME=VALUE, such as unet.epochs=3")
    return dict(text.split("=", 1) for text in texts or [])


def _print_metrics(metrics: dict[str, float]) -> None:
    for key, value in metrics.items():
        typer.echo(f"{key:24} {value:,}" if isinstance(value, int) else f"{key:24} {value:.4f}")
