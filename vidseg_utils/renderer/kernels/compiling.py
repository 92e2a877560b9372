"""Compile kernels with numba, and keep their machine code on disk, so that only the first import of a kernel waits.

numba itself notices only changes of the file that a kernel is in, and mixes the code of two kinds of processors up that
write at once. So the folder of the machine code is named by a hash of all files whose functions and constants kernels
use (those of this room and SOLIDS), of numba's version and of the processor. Floating-point operations keep their order
(no `fastmath`), so processors of one kind give the same numbers.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numba
from numba import config, njit
from numba.core.registry import cpu_target

from vidseg_utils.world import solids

HERE = Path(__file__).parent
ROOM = HERE.parent
SOLIDS = Path(solids.__file__)
# Threads draw side by side; 1 / 0 is infinity; nothing is compiled for callers in C.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

# For a function that kernels call: it is compiled with them, into the same machine code. Python cannot call it.
inner: Callable[[Callable], Any] = partial(njit, no_cpython_wrapper=True, **OPTIONS)


def kernel(signature: Any) -> Callable[[Callable], Callable]:
    """Decorate a function to be compiled now, for arguments of these numba types, or read from the disk."""

    def compile_function(function: Callable) -> Callable:
        folder = cache_folder()
        if folder is not None:
            try:
                with _numba_cache(folder):
                    return njit(signature, cache=True, **OPTIONS)(function)
            except Exception:  # the disk is full, or what it holds is damaged; any other error comes again below
                shutil.rmtree(folder, ignore_errors=True)
        return njit(signature, **OPTIONS)(function)

    return compile_function


@functools.cache
def cache_folder() -> Path | None:
    """The folder for the machine code of these kernels, for this processor; None if none can be written.

    It is in NUMBA_CACHE_DIR if that is set, else beside the kernels, else in the user's cache folder.
    """
    files = [*sorted(ROOM.rglob("*.py")), SOLIDS]  # in the same order wherever they are installed
    processor = cpu_target.target_context.codegen().magic_tuple()  # type: ignore[attr-defined]
    contents = [*(file.read_bytes() for file in files), repr((numba.__version__, processor)).encode()]
    digest = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    homes = [Path(chosen)] if chosen else [HERE / "__pycache__", *_user_cache()]
    for home in homes:
        folder = home / f"kernels-{digest[:16]}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # raises if it cannot be written
            return folder
    return None


def _user_cache() -> list[Path]:
    with contextlib.suppress(RuntimeError):  # a user without a home
        return [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidseg"]
    return []


@contextlib.contextmanager
def _numba_cache(folder: Path) -> Iterator[None]:
    """numba chooses where to keep the machine code of a function when that is decorated."""
    before = config.CACHE_DIR  # type: ignore[attr-defined]
    config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]
