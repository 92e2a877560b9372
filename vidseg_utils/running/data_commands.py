"""The commands `vidseg data …`: generate, check and import data sets."""

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(no_args_is_help=True, help="Generate, check and import data sets.")

StoreOption = Annotated[str, typer.Option(help="png (the course layout) or cache (straight into the memory map).")]
ProfileOption = Annotated[str, typer.Option(help="smoke, cpu, cpu_full or gpu; auto reads $VIDSEG_PROFILE, else cpu.")]
RootOption = Annotated[Path | None, typer.Option(help="Data set in the course layout [default: data/PROFILE].")]


@data_app.command("generate", epilog="Example: vidseg data generate --root data/mine --train 300 --val 100 --seed 7")
def data_generate(
    root: RootOption = None,
    train: Annotated[int | None, typer.Option(help="Labelled videos [default: the profile's].")] = None,
    val: Annotated[int | None, typer.Option(help="Validation videos [default: the profile's].")] = None,
    unlabeled: Annotated[int | None, typer.Option(help="Videos without masks [default: the profile's].")] = None,
    hidden: Annotated[int | None, typer.Option(help="Videos of 11 frames [default: the profile's].")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the set; each video has its own from it.")] = 0,
    processes: Annotated[int | None, typer.Option(help="Worker processes [default: all cores].")] = None,
    store: StoreOption = "png",
    device: Annotated[str | None, typer.Option(help="That casts the rays [default: a CUDA GPU, else cpu].")] = None,
    profile: ProfileOption = "auto",
) -> None:
    """Generate videos that look and move like CLEVRER, in the course layout. Started again, it resumes."""
    from vidseg_utils.data.sources.generate import generate
    from vidseg_utils.systems import Workspace

    workspace = Workspace.of(profile, root=root)
    asked = {"train": train, "val": val, "unlabeled": unlabeled, "hidden": hidden}
    sizes = {split: workspace.profile.split_sizes[split] if n is None else n for split, n in asked.items()}
    generate(workspace.root, **sizes, seed=seed, processes=processes, store=store, device=device)
    typer.echo(f"{workspace.root}: " + ", ".join(f"{n} {split}" for split, n in sizes.items()))


@data_app.command("check", epilog="Example: vidseg data check data/cpu")
def data_check(root: Annotated[Path, typer.Argument(help="Data set in the course layout.")]) -> None:
    """Read every file of a data set once and list what is wrong with it. Exits with 1 if a video is unusable."""
    from vidseg_utils.data.check import check_root

    report = check_root(root)
    typer.echo(report.table())
    if not report.sound:
        raise typer.Exit(1)


@data_app.command(
    "import-clevrer", epilog="Example: vidseg data import-clevrer videos/ annotations/ --out data/clevrer"
)
def data_import_clevrer(
    videos: Annotated[Path, typer.Argument(help="Folder with video_*.mp4 (searched with its sub-folders).")],
    annotations: Annotated[Path, typer.Argument(help="Folder with annotation_*.json.")],
    out: Annotated[Path, typer.Option(help="The data set to write.")],
    split_sizes: Annotated[tuple[int, int, int], typer.Option(help="Videos for train, val and unlabeled.")] = (
        1000,
        1000,
        13000,
    ),
    processes: Annotated[int | None, typer.Option(help="Worker processes [default: all cores].")] = None,
    store: StoreOption = "png",
) -> None:
    """Turn CLEVRER's own videos and annotations into the course layout, with cast masks. Resumes."""
    from vidseg_utils.data.sources.clevrer import import_clevrer

    typer.echo(import_clevrer(videos, annotations, out, split_sizes=split_sizes, processes=processes, store=store))


@data_app.command("import-archive", epilog="Example: vidseg data import-archive dataset.zip --out data/course")
def data_import_archive(
    archive: Annotated[str, typer.Argument(help="A zip file, or the id of a file on Google Drive.")],
    out: Annotated[Path, typer.Option(help="The data set to write.")],
) -> None:
    """Unpack the course archive safely: damaged entries are reported and left out. Resumes."""
    from vidseg_utils.data.sources.course_archive import import_archive

    typer.echo(import_archive(archive, out))
