"""`Workspace`: the profile, the data set, the folder of runs and the device of trainings and evaluations."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidseg_utils.classes import CLASS_NAMES
from vidseg_utils.data import SplitCache, dataset_identity, has_videos, open_split
from vidseg_utils.data.layout import LABELLED
from vidseg_utils.device import find_device
from vidseg_utils.paths import check_run_name, data_dir, runs_dir
from vidseg_utils.profiles import Profile, check_replaced, get_profile
from vidseg_utils.task import HEIGHT, WIDTH
from vidseg_utils.training.shipped import SHIPPED_PROFILE, shipped_run
from vidseg_utils.training.weights import load_model


@dataclass(frozen=True)
class Workspace:
    """What every recipe and system needs; `Workspace.for_profile("cpu")` fills in the defaults."""

    profile: Profile
    root: Path  # data set in the course layout
    runs: Path  # folder of the run folders
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    shipped: bool = False  # load the run folders that come with the package, where it has them

    def __post_init__(self) -> None:
        check_replaced(self.profile)
        height, width = self.profile.height, self.profile.width
        if self.shipped and (height, width) != (HEIGHT, WIDTH):
            raise ValueError(
                f"the shipped weights read frames of {HEIGHT}x{WIDTH} pixels, and profile {self.profile.name} has "
                f"{height}x{width}; choose profile {SHIPPED_PROFILE}"
            )
        for name in ("root", "runs"):  # frozen, so not by assignment
            object.__setattr__(self, name, Path(getattr(self, name)).expanduser())

    @classmethod
    def for_profile(
        cls,
        profile: str | Profile = "auto",
        *,
        sizes: Mapping[str, Any] | None = None,
        root: Path | str | None = None,
        runs: Path | str | None = None,
        device: str | None = None,
        shipped: bool = False,
    ) -> "Workspace":
        """The workspace of a profile. By default: its generated data, the usual folder of runs, a GPU if there is one.

        sizes: single sizes of the named profile to replace, see `get_profile`
        device: cpu, cuda, cuda:N or mps
        shipped: load the weights that come with the package; "auto" is then the profile that they were trained at
        Raises ValueError, with the choices, for a profile, size or device that there is not, and for shipped weights
        with a profile of other frames.
        """
        if not isinstance(profile, Profile):
            profile = get_profile(profile, sizes, default=SHIPPED_PROFILE if shipped else None)
        return cls(
            profile,
            root=Path(root) if root else data_dir() / profile.name,
            runs=Path(runs) if runs else runs_dir(),
            device=find_device(device),
            shipped=shipped,
        )

    def run_folder(self, name: str) -> Path:
        """The run folder of that name and this profile, such as runs/unet-cpu; if `shipped`, that of the package.

        Another seed of trainings than 0 has its own run folders, such as runs/unet_seed1-cpu.
        """
        if self.shipped and (run := shipped_run(name)).is_dir():
            return run
        seed = f"_seed{self.profile.training_seed}" if self.profile.training_seed else ""
        return self.runs / f"{check_run_name(name)}{seed}-{self.profile.name}"

    def evaluation_folder(self, name: str) -> Path:
        """The run folder of an evaluation on `root`. Its name tells other data than the profile's own."""
        if self.root.resolve() == (data_dir() / self.profile.name).resolve():
            return self.run_folder(name)
        self.check_data()
        root_name = re.sub(r"[^\w.=+-]", "_", self.root.resolve().name)
        return self.run_folder(f"{name}_{root_name}-{dataset_identity(self.root)['id']}")

    def load_network(self, run: str | Path) -> nn.Module:
        """The trained network of a run, in eval mode, on the workspace's device.

        run: the name that `run_folder` takes, or a folder
        Raises what `load_model` raises, also for a network of another frame size or of other classes.
        """
        folder = run if isinstance(run, Path) else self.run_folder(run)
        size = (self.profile.height, self.profile.width)
        return load_model(folder, device=self.device, size=size, classes=CLASS_NAMES)

    def check_data(self) -> None:
        """Raises FileNotFoundError, with the command that makes data of this profile, where there are none."""
        if not self.root.exists():
            command = f"vidseg data generate --profile {self.profile.name} --root {shlex.quote(str(self.root))}"
            raise FileNotFoundError(f"no data at {self.root}; make some with: {command}")

    def split(self, name: str) -> SplitCache:
        """A split of the data at the profile's working size, from its memory-mapped cache."""
        self.check_data()
        return open_split(self.root, name, height=self.profile.height, width=self.profile.width)

    def has_videos(self, split: str) -> bool:
        """Whether the data hold a video of that split: sets of one's own often have no unlabelled or hidden ones."""
        return has_videos(self.root, split)

    def real_root(self, root: Path | str = "auto") -> Path | None:
        """Folder of labelled videos, usually the course's own, that test what was trained on `self.root`.

        root: a data set in the course layout; "auto": data/course
        Returns None if it has no labelled split, or if it is the workspace's own data set.
        """
        folder = data_dir() / "course" if root == "auto" else Path(root).expanduser()
        labelled = folder.is_dir() and any(has_videos(folder, split) for split in LABELLED)
        return folder if labelled and folder.resolve() != self.root.resolve() else None

    def real_splits(self, root: Path | str = "auto") -> list[SplitCache]:
        """The labelled splits that `real_root` holds, train before val; an empty list if it is None."""
        if (folder := self.real_root(root)) is None:
            return []
        workspace = replace(self, root=folder)
        splits = [workspace.split(name) for name in LABELLED if workspace.has_videos(name)]
        return [split for split in splits if split.masks is not None]

    def with_sizes(self, sizes: Mapping[str, Any]) -> "Workspace":
        """A copy with single sizes of recipes replaced, such as {"recurrent.length": 1}."""
        return replace(self, profile=replace(self.profile, replaced={**self.profile.replaced, **sizes}))
