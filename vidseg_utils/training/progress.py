"""What is kept of a training on disk: weights (safetensors), and the state after the last whole epoch.

`RUN/last/epoch_N/` is written under another name and renamed, and only then is the one before it removed; so there is
always a sound one, whenever the process is killed.
"""

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidseg_utils.paths import atomic_write, read_json, write_json
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.run_folder import LAST, WEIGHTS, write_history
from vidseg_utils.training.weights import read_weights, write_weights

STATE, PROGRESS = "state.pt", "progress.json"


class Progress:
    """The epochs so far, kept on disk after each, with the best weights and the state of the `parts` (optimiser, …)."""

    def __init__(self, run: Path, model: nn.Module, config: FitConfig, *, parts: dict[str, Any]):
        self.run, self.model, self.config, self.parts = run, model, config, parts
        self.history: list[dict[str, Any]] = []

    def resume(self) -> None:
        """Go back to the state after the last whole epoch, if one is kept.

        Raises ValueError naming what is damaged, and the cure.
        """
        folders = sorted((self.run / LAST).glob("epoch_*"))
        if not folders:
            return
        folder, cure = folders[-1], f"delete {self.run / LAST} to train anew"
        read_weights(folder / WEIGHTS, self.model, cure=cure)
        path = folder / STATE
        try:
            states = torch.load(path, map_location="cpu", weights_only=True)
            for name in self.parts.keys() & states.keys():  # another GPU may be the one that has a scaler of gradients
                self.parts[name].load_state_dict(states[name])
            path = folder / PROGRESS
            self.history = read_json(path)["history"]
        except (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{path} is damaged ({reason}); {cure}") from None

    def is_best(self) -> bool:
        """Whether no earlier epoch is as good as the last."""
        *earlier, last = [epoch[self.config.monitor] for epoch in self.history]
        return all(self.config.is_better(last, other) for other in earlier)

    def add(self, epoch: dict[str, Any], *, write: bool) -> None:
        """Take in one more epoch, and keep it on disk if `write` (one process does, for all)."""
        self.history.append(epoch)
        if not write:
            return
        # In this order: a process that is killed in between does this epoch again, and ends with the same files.
        if self.is_best():
            write_weights(self.run / WEIGHTS, self.model)
        folder = self.run / LAST / f"epoch_{len(self.history):05d}"
        with atomic_write(folder) as temporary:
            temporary.mkdir(parents=True)
            write_weights(temporary / WEIGHTS, self.model)
            torch.save({name: part.state_dict() for name, part in self.parts.items()}, temporary / STATE)
            write_json(temporary / PROGRESS, {"history": self.history})
        write_history(self.run, self.history)
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other)
