"""Checks of arguments. Each raises ValueError with a message that says what to give instead."""

import inspect
from collections.abc import Callable, Collection


def check_positive(**sizes: int) -> None:
    """Raise ValueError that names the first of `sizes` that is not a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}")


def check_choice(kind: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError, such as "unknown cell 'lstm'; choose from […]", unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"unknown {kind} {value!r}; choose from {sorted(choices)}")


def check_settings(kind: str, build: Callable, settings: dict) -> None:
    """Raise ValueError, such as "model 'unet' has no setting …", for a key that `build` does not accept."""
    known = list(inspect.signature(build).parameters)
    if unknown := [key for key in settings if key not in known]:
        raise ValueError(f"{kind} has no setting {unknown[0]!r}; it has {known}")
