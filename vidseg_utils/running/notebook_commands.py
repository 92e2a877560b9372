"""The commands `vidseg run` and `vidseg sweep`: execute notebooks."""

from pathlib import Path
from typing import Annotated

import typer

from vidseg_utils.running.data_commands import AgainOption, ProfileOption

RUN_EXAMPLE = "Example: vidseg run 02 03 --profile cpu -p EPOCHS=6"
SWEEP_EXAMPLE = "Example: vidseg sweep simvp_epochs_and_loss --profile cpu"


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
) -> None:
    """Execute notebooks. The run folder of each keeps the executed copy and its metrics."""
    from vidseg_utils.profiles import get_profile
    from vidseg_utils.running import checked_parameters, execute_notebook, find_notebooks
    from vidseg_utils.training.shipped import SHIPPED_PROFILE

    values = dict(_parse_parameter(text) for text in parameter or [])
    profile = get_profile(profile, default=SHIPPED_PROFILE if values.get("WEIGHTS") == "shipped" else None).name
    paths = find_notebooks(notebooks or [])
    if run is not None and len(paths) != 1:
        raise ValueError(f"--run names the run folder of one notebook, not of {len(paths)}; give one notebook")
    for path in paths:
        checked_parameters(path, values)  # of all notebooks, before the first one runs
    for path in paths:
        folder = execute_notebook(path, profile=profile, parameters=values, run=run, again=again)
        typer.echo(f"{path.stem}: {folder}")


def run_sweep(
    file: Annotated[Path, typer.Argument(help="A YAML file, or the name of one in notebooks/sweeps.")],
    profile: ProfileOption = "auto",
    executor: Annotated[str, typer.Option(help="local or slurm.")] = "local",
    jobs: Annotated[int, typer.Option(help="Number of notebooks executed at once.")] = 1,
) -> None:
    """Execute one notebook with many parameters. Finished runs are skipped."""
    from vidseg_utils.profiles import get_profile
    from vidseg_utils.running import execute_sweep

    for folder in execute_sweep(file, profile=get_profile(profile).name, executor=executor, jobs=jobs):
        typer.echo(str(folder))


def _parse_parameter(text: str) -> tuple[str, object]:
    """The name, and the value as it was typed; the notebook's declared type decides how it is read."""
    from vidseg_utils.running.parameter_values import ParameterText

    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, ParameterText(value)
