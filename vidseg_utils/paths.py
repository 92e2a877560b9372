"""Where data, runs and figures are, and how files are written atomically.

Everything is found from the package (or from $VIDSEG_HOME), never from the current folder, because papermill,
nbval and a shell each start somewhere else.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


def home() -> Path:
    """$VIDSEG_HOME if set; else the checkout that holds the package; else ~/vidseg (an installed package)."""
    if configured := os.environ.get("VIDSEG_HOME"):
        return Path(configured).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.home() / "vidseg"


def data_dir() -> Path:
    """Folder of the data sets, one sub-folder a set."""
    return home() / "data"


def runs_dir() -> Path:
    """Folder of the runs, one sub-folder a run."""
    return home() / "runs"


def figures_dir() -> Path:
    """Folder of the pictures that the README shows."""
    return home() / "figures"


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Write a file or folder atomically: `path` appears, or changes, only if the block ends without an error.

    Yields a temporary path in the same folder, with the suffix of `path`, that does not exist yet; the block writes
    there, and it is then renamed to `path`. If `path` is a folder, it is deleted first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}"
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def write_json(path: Path | str, value: object, *, indent: int | None = 2) -> None:
    """Write `value` as JSON atomically; `indent=None` is for files that only programs read."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=indent, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path | str) -> dict:
    """Read a JSON object. Raises ValueError naming the file when it is none, FileNotFoundError when it is missing."""
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to be one of ours") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value
