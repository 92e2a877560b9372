"""The process that executes a notebook: the kernel of this interpreter, and the short folder of its connection files.

Kernels communicate over IPC, through files: kernels that start at once compete for TCP ports. The path of such a file
has at most 107 bytes, so a long $TMPDIR is not used for it.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default
from traitlets.config import Config

from vidseg_utils.file_lock import lock_file

KERNEL_NAME = "python3"
PREFIX = "vidseg-kernel-"
MAX_FOLDER_BYTES = 107 - len("/vidseg-kernel-01234567/kernel-ipc-5")
NEW_SECONDS = 60.0  # a folder this young may not have its lock yet
SECONDS_PER_LOOK = 0.01  # at whether a kernel has ended
# Without this a kernel takes long to end: ipykernel may close the output thread while the control thread waits for
# it, which costs seconds, and Python searches all modules for cyclic garbage, for half as long as the start takes.
END_AT_ONCE = """
def end():
    import gc
    from ipykernel.kernelapp import IPKernelApp
    if thread := IPKernelApp.instance().control_thread:
        thread.join(1)
    gc.freeze()
__import__("atexit").register(end)
del end
"""


class OwnKernelManager(AsyncKernelManager):
    """Starts the kernel with this interpreter, whichever kernels are installed and whatever a notebook names."""

    @default("kernel_spec_manager")
    def _only_the_own_interpreter(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """The command that starts the kernel."""
        return [*super().format_kernel_cmd(extra_arguments), f"--IPKernelApp.code_to_run={END_AT_ONCE}"]

    async def _async_wait(self, pollinterval: float = 0.1) -> None:
        """Wait until the kernel has ended; it takes less time than jupyter_client's interval."""
        await super()._async_wait(pollinterval=SECONDS_PER_LOOK)


@contextlib.contextmanager
def kernel_folder() -> Iterator[Path]:
    """A new folder with a short path, deleted at the end; it first deletes those of processes that were killed."""
    parent = next((folder for folder in _candidates() if _is_usable(folder)), Path(tempfile.gettempdir()))
    for folder in parent.glob(f"{PREFIX}*"):
        _delete_if_left_behind(folder)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with lock_file(folder / "lock", purpose=f"the folder {folder}"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kernel_config(folder: Path) -> Config:
    """Settings for a kernel with its connection files in `folder`; over TCP if IPC is not possible there."""
    if os.name == "nt" or len(os.fsencode(folder.parent)) > MAX_FOLDER_BYTES:
        return Config()
    return Config(KernelManager={"transport": "ipc", "connection_file": str(folder / "kernel.json")})


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """An environment variable for the kernels that are started in the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def _candidates() -> list[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [Path(folder) for folder in (tempfile.gettempdir(), runtime, "/tmp", "/var/tmp", "/dev/shm") if folder]


def _is_usable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK) and len(os.fsencode(folder)) <= MAX_FOLDER_BYTES


def _delete_if_left_behind(folder: Path) -> None:
    """Delete the folder unless a process holds its lock, or it is another user's."""
    with contextlib.suppress(OSError):
        own = not folder.is_symlink() and (os.name == "nt" or folder.stat().st_uid == os.getuid())
        if own and ((folder / "lock").exists() or time.time() - folder.stat().st_mtime > NEW_SECONDS):
            with lock_file(folder / "lock", purpose=f"the folder {folder}", timeout_seconds=0):
                shutil.rmtree(folder, ignore_errors=True)
