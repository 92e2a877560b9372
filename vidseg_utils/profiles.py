"""The five profiles: `smoke` (a quick check), `cpu` (a laptop), `cpu_full` (a laptop, full frames), `colab` and `gpu`.

`Profile` holds the sizes that all recipes share. The sizes of one recipe are beside it, in a subclass of `Sizes`.
Each size has one value per profile, and any single size can be replaced:

    get_profile("cpu", {"height": 40, "unet.epochs": 3})              in code
    vidseg train simvp_unet --profile cpu --size unet.epochs=3        on the command line
    SIZES = {"unet.epochs": 3}                                        in a notebook's parameters
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self, get_origin

from vidseg_utils.task import CLIP_FRAMES, HEIGHT, PAST_FRAMES, WIDTH

PNG_BYTES = 39_000  # of a generated frame, measured
PROFILE_NAMES = ("smoke", "cpu", "cpu_full", "colab", "gpu")


def by_profile(smoke: Any, cpu: Any, gpu: Any, *, cpu_full: Any = None, colab: Any = None) -> Any:
    """A dataclass field with one value per profile. By default cpu_full has the value of cpu, and colab of cpu_full."""
    cpu_full = cpu if cpu_full is None else cpu_full
    colab = cpu_full if colab is None else colab
    return field(metadata={"smoke": smoke, "cpu": cpu, "cpu_full": cpu_full, "colab": colab, "gpu": gpu})


@dataclass(frozen=True)
class Profile:
    """The sizes that all recipes share."""

    name: str
    # videos of each split
    train: int = by_profile(4, 300, 1_000, colab=500)
    val: int = by_profile(3, 100, 1_000)
    unlabeled: int = by_profile(2, 100, 13_000, colab=200)
    hidden: int = by_profile(2, 20, 2_000)
    # working size of a frame in pixels; on disk it is always 160 x 240
    height: int = by_profile(40, 80, 160, cpu_full=160)
    width: int = by_profile(60, 120, 240, cpu_full=240)
    # machine
    # of training: "no" (float32), "bf16", "fp16" (GPU only), or "auto", see `device.fastest_precision`
    precision: str = by_profile("no", "auto", "auto")
    workers: int = by_profile(0, 0, 4, colab=2)  # loader processes; 0 loads in the main process
    seed: int = by_profile(0, 0, 0)  # of the generated videos
    training_seed: int = by_profile(0, 0, 0)  # of weights, order, augmentation and possible worlds; not of the videos
    # sizes of recipes that replace those of the profile, such as {"unet.epochs": 3}
    replaced: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of videos of each split."""
        return {"train": self.train, "val": self.val, "unlabeled": self.unlabeled, "hidden": self.hidden}

    @property
    def disk_bytes(self) -> int:
        """Disk space of the generated videos, their caches and their pseudo-labels, reckoned from the sizes."""
        labelled, unlabelled, hidden = self.train + self.val, self.unlabeled, self.hidden
        frames = CLIP_FRAMES * (labelled + unlabelled) + PAST_FRAMES * hidden
        stored = frames * PNG_BYTES + CLIP_FRAMES * HEIGHT * WIDTH * (labelled + hidden)  # images, masks
        cached = self.height * self.width * (3 * frames + CLIP_FRAMES * (labelled + unlabelled))
        return stored + cached


class Sizes:
    """Base of the sizes of one recipe. A subclass is a frozen dataclass whose fields are `by_profile` values.

    group: the name before the dot when a single size is replaced, such as "unet" in "unet.epochs"
    """

    group: ClassVar[str]
    groups: ClassVar[dict[str, type["Sizes"]]] = {}  # every subclass by its group

    def __init_subclass__(cls, *, group: str):
        cls.group = group
        Sizes.groups[group] = cls

    @classmethod
    def for_profile(cls, profile: Profile) -> Self:
        """The sizes of that profile, including those that it replaces.

        Raises ValueError for a replaced size that this recipe lacks, or of another type.
        """
        prefix = f"{cls.group}."
        replaced = {key.removeprefix(prefix): v for key, v in profile.replaced.items() if key.startswith(prefix)}
        return _instance(cls, profile.name, replaced, prefix)


def get_profile(name: str = "auto", sizes: Mapping[str, Any] | None = None, *, default: str | None = None) -> Profile:
    """The profile of that name; "auto" reads $VIDSEG_PROFILE, else it is colab on a GPU of Colab, and cpu elsewhere.

    default: what "auto" is where $VIDSEG_PROFILE is not set
    sizes: single sizes to replace, by name: a shared one ("height") or one of a recipe ("unet.epochs"). A string is
        converted to the size's type, as the command line needs it.
    Raises ValueError for an unknown profile or shared size, with the choices. `check_replaced` checks the sizes of
    recipes, once the recipes are imported.
    """
    if name == "auto":
        default = default or ("colab" if in_colab() and _has_gpu() else "cpu")
        name = os.environ.get("VIDSEG_PROFILE") or default
    if name not in PROFILE_NAMES:
        raise ValueError(f"unknown profile {name!r}; choose from {sorted(PROFILE_NAMES)}")
    sizes = dict(sizes or {})
    replaced = {key: sizes.pop(key) for key in list(sizes) if "." in key}
    return _instance(Profile, name, sizes, "", name=name, replaced=replaced)


def in_colab() -> bool:
    """Whether this process runs in Google Colab: a notebook's kernel there, or a command that it started."""
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def _has_gpu() -> bool:
    import torch  # takes seconds, so only in Colab

    return torch.cuda.is_available()


def check_replaced(profile: Profile) -> None:
    """Raise ValueError, with the choices, for a replaced size that no recipe has, or of another type."""
    for key in profile.replaced:
        group = key.partition(".")[0]
        if group not in Sizes.groups:
            raise ValueError(f"unknown size {key!r}; recipes with sizes are {sorted(Sizes.groups)}")
        Sizes.groups[group].for_profile(profile)


def _instance(cls: type, profile_name: str, sizes: Mapping[str, Any], prefix: str, **more: Any) -> Any:
    """An instance of `cls` with the values of a profile, in which `sizes` are replaced."""
    values = {size.name: size.metadata[profile_name] for size in fields(cls) if size.metadata}
    types = {size.name: size.type for size in fields(cls)}
    for name, value in sizes.items():
        if name not in values:
            raise ValueError(f"unknown size {prefix + name!r}; choose from {[prefix + known for known in values]}")
        values[name] = _as_type(value, types[name], f"size {prefix}{name}")
    return cls(**values, **more)


def _as_type(value: Any, wanted: Any, name: str) -> Any:
    """`value` as the type `wanted`: int, float, bool, str or tuple[str, ...]. Raises ValueError otherwise."""
    kind = get_origin(wanted) or wanted
    if isinstance(value, str) and kind is not str:
        value = _parse(value, kind)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and type(value) is list:
        value = tuple(value)
    if type(value) is not kind:
        raise ValueError(f"{name} takes {kind.__name__}, not {value!r}")
    return value


def _parse(text: str, kind: type) -> Any:
    """A string of the command line as `kind`; the string itself if it cannot be converted."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind is tuple:
        return tuple(filter(None, text.split(",")))
    try:
        return kind(text)
    except ValueError:
        return text


PROFILES = {name: get_profile(name) for name in PROFILE_NAMES}
