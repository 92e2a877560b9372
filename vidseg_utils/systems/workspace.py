"""Where a system is trained and scored: the profile's sizes, a data root, the folder of runs and a device."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vidseg_utils.data.cache import SplitCache, open_split
from vidseg_utils.paths import data_dir, runs_dir
from vidseg_utils.profiles import Profile, get_profile
from vidseg_utils.training.fit_config import FitConfig


@dataclass(frozen=True)
class Workspace:
    """What every recipe needs; `Workspace.of("cpu")` fills in the defaults."""

    profile: Profile
    root: Path  # data set in the course layout
    runs: Path  # folder of the run folders
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def of(
        cls,
        profile: str | Profile = "auto",
        *,
        root: Path | str | None = None,
        runs: Path | str | None = None,
        device: str | None = None,
    ) -> "Workspace":
        """By default: the profile's own generated data, the checkout's folder of runs, a GPU if there is one."""
        profile = profile if isinstance(profile, Profile) else get_profile(profile)
        return cls(
            profile,
            root=Path(root).expanduser() if root else data_dir() / profile.name,
            runs=Path(runs).expanduser() if runs else runs_dir(),
            device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        )

    def run(self, name: str) -> Path:
        """The run folder of that name at this profile, such as runs/unet-cpu."""
        return self.runs / f"{name}-{self.profile.name}"

    def split(self, name: str) -> SplitCache:
        """A split of the data at the profile's working size, from its memory-mapped cache."""
        return open_split(self.root, name, height=self.profile.height, width=self.profile.width)

    def fit_config(self, **settings: Any) -> FitConfig:
        """Settings of a fit; precision, loader processes and seed are the profile's unless given."""
        profile = self.profile
        return FitConfig(
            **{"precision": profile.precision, "num_workers": profile.workers, "seed": profile.seed} | settings
        )

    def describe(self, model: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What config.json says of a run beside its fit: the model, to build it again, and what else matters."""
        profile = self.profile
        size = [profile.height, profile.width]
        return {"model": {"name": model, "config": config}, "profile": profile.name, "size": size, **more}
