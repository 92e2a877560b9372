"""The command `vidseg forecast`: a video of one's own, and no training."""

from pathlib import Path
from typing import Annotated

import typer

FORECAST_EXAMPLE = "Example: vidseg forecast video_10000.mp4 --from 30 --horizon 10"

RunsOption = Annotated[Path | None, typer.Option(help="Folder of the run folders [default: runs].")]


def forecast_one_video(
    video: Annotated[
        str, typer.Argument(help="A video (480x320 or 240x160, 25 frames a second), a folder video_N, or: example.")
    ],
    start: Annotated[
        int, typer.Option("--from", help="First of the eleven given frames: a video frame, or an image of a folder.")
    ] = 0,
    horizon: Annotated[int, typer.Option(help="Course frames ahead (0.24 s each), 1 to 20.")] = 11,
    system: Annotated[str, typer.Option(help="A system's name; `vidseg systems` lists them.")] = "object_dynamics",
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder to write [default: runs/forecast-VIDEO].")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Use the system as you trained it at this profile [default: shipped weights].")
    ] = None,
    runs: RunsOption = None,
) -> None:
    """Forecast a video: where each object will be, as a picture, as a movie and as data."""
    if video != "example" and not Path(video).exists():  # said before the libraries are loaded, which takes seconds
        raise FileNotFoundError(f"there is no {video}; give a video file, a folder video_N of the course, or: example")
    from vidseg_utils.running.forecast import forecast_video
    from vidseg_utils.systems import Workspace, build_system
    from vidseg_utils.training import SHIPPED_EXAMPLE, SHIPPED_PROFILE

    workspace = Workspace.for_profile(profile or SHIPPED_PROFILE, runs=runs, device="cpu", shipped=profile is None)
    path = SHIPPED_EXAMPLE if video == "example" else Path(video)
    folder = out or workspace.runs / f"forecast-{path.resolve().stem}"
    forecaster = build_system(system, workspace=workspace)
    for line in forecast_video(path, forecaster, workspace, out=folder, start=start, horizon=horizon):
        typer.echo(line)
    typer.echo(f"written to {folder}: forecast.png, forecast.gif, forecast.mp4, mask.npy, objects.json")
