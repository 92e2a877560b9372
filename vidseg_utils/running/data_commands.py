"""The commands `vidseg data …`: generate, check and import data sets."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(no_args_is_help=True, help="Generate, check and import data sets.")

StoreOption = Annotated[str, typer.Option(help="png (files in the course layout) or cache (only the memory map).")]
LabelsOption = Annotated[str, typer.Option(help="course (shifted and fattened as the course's masks are), or exact.")]
WorldOption = Annotated[
    str, typer.Option(help="clevrer (moves as CLEVRER does), or first (that of the first releases).")
]
ProfileOption = Annotated[
    str, typer.Option(help="smoke, cpu, cpu_full, colab or gpu [default: $VIDSEG_PROFILE, else cpu].")
]
RootOption = Annotated[Path | None, typer.Option(help="Data set in the course layout [default: data/PROFILE].")]
ExecutorOption = Annotated[str, typer.Option(help="local, slurm or dask: who does the work; see docs/cluster.md.")]
SchedulerOption = Annotated[
    str | None, typer.Option(help="Address of the scheduler, with --executor dask; such as tcp://node1:8786.")
]
TasksOption = Annotated[int, typer.Option("--jobs", help="Number of tasks at once, on workers of the executor.")]
SlurmOption = Annotated[
    list[str] | None,
    typer.Option("--slurm", help="NAME=VALUE: a setting for submitit, such as timeout_min=240; repeatable."),
]

AgainOption = Annotated[
    bool, typer.Option("--again", help="Train anew, in place, what was trained with other settings.")
]


@data_app.command("generate", epilog="Example: vidseg data generate --root data/mine --train 300 --val 100 --seed 7")
def data_generate(
    root: RootOption = None,
    train: Annotated[int | None, typer.Option(help="Labelled training videos [default: the profile's].")] = None,
    val: Annotated[int | None, typer.Option(help="Labelled validation videos [default: the profile's].")] = None,
    unlabeled: Annotated[int | None, typer.Option(help="Unlabelled videos [default: the profile's].")] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden videos, 11 frames each [default: the profile's].")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the data set; the seeds of its videos follow from it.")] = 0,
    processes: Annotated[int | None, typer.Option(help="Worker processes [default: all cores].")] = None,
    store: StoreOption = "png",
    world: WorldOption = "clevrer",
    labels: LabelsOption = "course",
    executor: ExecutorOption = "local",
    jobs: TasksOption = 1,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    profile: ProfileOption = "auto",
) -> None:
    """Generate videos in the manner of CLEVRER. The data set has the course layout. Resumes."""
    from vidseg_utils.data import generate
    from vidseg_utils.data.parallel import n_cores
    from vidseg_utils.running.estimates import describe_generation, describe_needs
    from vidseg_utils.running.task_map import task_map
    from vidseg_utils.simulator import find_world
    from vidseg_utils.systems import Workspace

    workspace = Workspace.for_profile(profile, root=root)
    given = {"train": train, "val": val, "unlabeled": unlabeled, "hidden": hidden}
    sizes = {split: workspace.profile.split_sizes[split] if n is None else n for split, n in given.items()}
    with task_map(executor, jobs=jobs, scheduler=scheduler, slurm=slurm or ()) as parallel_map:
        n_processes = jobs if parallel_map else processes or n_cores()
        time = describe_generation(sum(sizes.values()), n_processes)
        typer.echo(describe_needs(time, replace(workspace.profile, **sizes), workspace.root), err=True)
        generate(
            workspace.root,
            train=sizes["train"],
            val=sizes["val"],
            unlabeled=sizes["unlabeled"],
            hidden=sizes["hidden"],
            seed=seed,
            processes=processes,
            store=store,
            physics=find_world(world),
            labels=labels,
            parallel_map=parallel_map,
        )
    typer.echo(f"{workspace.root}: " + ", ".join(f"{n} {split}" for split, n in sizes.items()))


@data_app.command("check", epilog="Example: vidseg data check data/cpu")
def data_check(root: Annotated[Path, typer.Argument(help="Data set in the course layout.")]) -> None:
    """List the faults of a data set, and notes on labels that are unusual. Reads every file once.

    Exits with 1 if there is a fault; notes alone do not count.
    """
    from vidseg_utils.data import check_root

    report = check_root(root)
    typer.echo(report.table())
    if not report.sound:
        raise typer.Exit(1)


@data_app.command(
    "import-clevrer", epilog="Example: vidseg data import-clevrer videos/ annotations/ --out data/clevrer"
)
def data_import_clevrer(
    videos: Annotated[Path, typer.Argument(help="Folder with video_*.mp4, also in subfolders.")],
    annotations: Annotated[Path, typer.Argument(help="Folder with annotation_*.json.")],
    out: Annotated[Path, typer.Option(help="Data set to write.")],
    split_sizes: Annotated[
        tuple[int, int, int], typer.Option(help="Number of videos for train, val and unlabeled.")
    ] = (
        1000,
        1000,
        13000,
    ),
    processes: Annotated[int | None, typer.Option(help="Worker processes [default: all cores].")] = None,
    store: StoreOption = "png",
    labels: LabelsOption = "course",
) -> None:
    """Convert CLEVRER videos to the course layout. Masks are rendered from the annotations. Resumes."""
    from vidseg_utils.data import import_clevrer

    settings = {"split_sizes": split_sizes, "processes": processes, "store": store, "labels": labels}
    typer.echo(import_clevrer(videos, annotations, out, **settings))


@data_app.command("import-archive", epilog="Example: vidseg data import-archive dataset.zip --out data/course")
def data_import_archive(
    archive: Annotated[str, typer.Argument(help="A zip file, or the id of one on Google Drive, or a link to it.")],
    out: Annotated[Path, typer.Option(help="Data set to write.")],
) -> None:
    """Unpack the archive of the course's data. Damaged files are reported and left out. Resumes."""
    from vidseg_utils.data import import_archive

    typer.echo(import_archive(archive, out))
