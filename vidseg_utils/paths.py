"""Where data, runs and figures are, and how files are written atomically.

Paths start from the package or from $VIDSEG_HOME, never from the current folder, because papermill, nbval and a shell
each start in another one.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

NOTABLE_DISK_BYTES = 10_000_000_000  # a notebook says so from here on; commands always do
MAX_JSON_BYTES = 1 << 25  # reading takes twenty times as much memory; the annotation of a video has 0.4 MB


def home() -> Path:
    """$VIDSEG_HOME if it is set; else the checkout that holds the package; else (for an installed package) ~/vidseg."""
    if configured := os.environ.get("VIDSEG_HOME"):
        return Path(configured).expanduser().resolve()
    return checkout() or Path.home() / "vidseg"


def checkout() -> Path | None:
    """The checkout that holds the package; None if the package is installed."""
    parent = Path(__file__).resolve().parents[1]
    return parent if (parent / "pyproject.toml").is_file() else None


def data_dir() -> Path:
    """Folder of the data sets, one subfolder each."""
    return home() / "data"


def runs_dir() -> Path:
    """Folder of the run folders: $VIDSEG_RUNS if it is set, such as a folder on Google Drive; else `runs`.

    A relative path starts at `home`.
    """
    return (home() / Path(os.environ.get("VIDSEG_RUNS") or "runs").expanduser()).resolve()


def notebook_run_folder(notebook: str, profile: str, name: str = "auto") -> Path:
    """The run folder of a notebook, whether it runs in Jupyter, from the command line or in a sweep.

    notebook: its file name without .ipynb; profile: a profile's name
    name: of the run folder; "auto": NOTEBOOK-PROFILE, such as 02_unet_segmentation-cpu
    Raises ValueError for a name that is not a plain folder name.
    """
    return runs_dir() / (f"{notebook}-{profile}" if name == "auto" else check_run_name(name))


def check_run_name(name: str) -> str:
    """`name` if a run folder can have it. Raises ValueError otherwise."""
    if not name or not name.isprintable() or name.startswith(".") or "/" in name or "\\" in name:
        raise ValueError(
            f"run {name!r} is not a plain folder name; give one such as 'unet-2', without slashes or a leading dot"
        )
    return name


def figures_dir() -> Path:
    """Folder of the pictures that README and docs show."""
    return home() / "figures"


def describe_disk(needed_bytes: int, folder: Path | str) -> str:
    """A line that says what `folder` will take on disk and what is free there.

    needed_bytes: of all files, also of those that are already there
    """
    existing = next(path for path in [Path(folder).resolve(), *Path(folder).resolve().parents] if path.is_dir())
    free = shutil.disk_usage(existing).free
    return f"{folder} takes about {describe_bytes(needed_bytes)} of disk when complete; {describe_bytes(free)} are free"


def describe_bytes(n_bytes: int) -> str:
    """Such as "12 MB", "1.3 GB" or "70 GB"."""
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:.0f} MB"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes < 1e10 else f"{n_bytes / 1e9:.0f} GB"


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Write a file or folder atomically: `path` appears, or changes, only if the block ends without an error.

    Yields a temporary path in the same folder, with the suffix of `path`, that does not exist yet; the block writes
    there, and it is then renamed to `path`. A folder replaces a folder, which is deleted first. Raises
    IsADirectoryError, and deletes nothing, where a file would replace a folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}"
    try:
        yield temporary
        if path.is_dir():
            if not temporary.is_dir():
                raise IsADirectoryError(f"{path} is a folder; give the name of a file, such as {path / 'NAME'}")
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def write_json(path: Path | str, value: object, *, indent: int | None = 2) -> None:
    """Write `value` as JSON atomically; `indent=None` writes one line, for files that only programs read."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=indent, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path | str) -> dict:
    """Read a JSON object. Raises ValueError that names the file if it is not one, FileNotFoundError without file."""
    path = Path(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; a JSON file of this package has at most 32 MB")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to be a file of this package") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value
