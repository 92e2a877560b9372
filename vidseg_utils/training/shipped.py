"""The trained run folders that come with the package, so that a first forecast needs no training.

`vidseg_utils/weights/README.md` says what they are, how they were made and what they may be used for.
"""

from pathlib import Path

from vidseg_utils.paths import check_run_name

SHIPPED_DIR = Path(__file__).resolve().parents[1] / "weights"
SHIPPED_EXAMPLE = SHIPPED_DIR / "example.mp4"  # a generated video for a first forecast
SHIPPED_PROFILE = "cpu_full"  # profile of the trainings; any profile with frames of 160x240 can load the weights
SHIPPED_MARK = "(shipped)"  # ends the name of a shipped run where a trained network names its training data
SHIPPED_RUNS = ("unet", "rigid_body_physics", "mask_objects")  # names without the profile


def shipped_run(name: str) -> Path:
    """The shipped run folder of that name. It exists only for the names in SHIPPED_RUNS."""
    return SHIPPED_DIR / f"{check_run_name(name)}-{SHIPPED_PROFILE}"


def is_shipped(run: Path | str) -> bool:
    """Whether a run folder is one of those that come with the package. These are only read."""
    return Path(run).resolve().parent == SHIPPED_DIR
