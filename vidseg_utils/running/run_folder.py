"""Which folder a notebook's run writes to: the same answer in the notebook, in a batch and in a sweep."""

from pathlib import Path

from vidseg_utils.paths import runs_dir


def run_folder(notebook: str, profile: str, run: str = "auto") -> Path:
    """RUNS/02_unet_segmentation-cpu for a notebook's stem and a profile's name, or RUNS/`run` where a run is named.

    Raises ValueError for a `run` that is more than a folder's name.
    """
    usual = f"{notebook}-{profile}"
    if run != "auto" and (not run or Path(run).name != run or run.startswith(".")):
        raise ValueError(f"run {run!r} is no plain folder name; give one such as {usual!r}")
    return runs_dir() / (usual if run == "auto" else run)
