"""Checkpoints of a training: the best weights (safetensors) and the state after the last complete epoch.

`RUN/last/epoch_N/` is written under another name and renamed. Only then is the previous one removed, so a valid state
remains whenever the process is killed.
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


class Checkpoints:
    """Writes the history, the best weights and the resumable state to the run folder after each epoch.

    stateful: objects whose state is saved beside the model's, such as the optimiser, by name
    """

    def __init__(self, run: Path, model: nn.Module, config: FitConfig, *, stateful: dict[str, Any]):
        self.run, self.model, self.config, self.stateful = run, model, config, stateful
        self.history: list[dict[str, Any]] = []

    def resume(self) -> None:
        """Restore the state after the last complete epoch, if there is one.

        Raises ValueError naming the damaged file, and the cure.
        """
        folders = sorted((self.run / LAST).glob("epoch_*"))
        if not folders:
            return
        folder, cure = folders[-1], f"delete {self.run / LAST} to train anew"
        read_weights(folder / WEIGHTS, self.model, cure=cure)
        path = folder / STATE
        try:
            states = torch.load(path, map_location="cpu", weights_only=True)
            for name in self.stateful.keys() & states.keys():  # only fp16 has a gradient scaler, and GPUs may change
                self.stateful[name].load_state_dict(states[name])
            path = folder / PROGRESS
            self.history = read_json(path)["history"]
        except (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{path} is damaged ({reason}); {cure}") from None

    def is_best(self) -> bool:
        """Whether the last epoch is better than every earlier one."""
        *earlier, last = [epoch[self.config.monitor] for epoch in self.history]
        return all(self.config.is_better(last, other) for other in earlier)

    def add(self, epoch: dict[str, Any], *, write: bool) -> None:
        """Append an epoch to the history, and write it to disk if `write`: one process writes for all."""
        self.history.append(epoch)
        if not write:
            return
        # In this order: if the process is killed in between, the epoch is repeated and gives the same files.
        if self.is_best():
            write_weights(self.run / WEIGHTS, self.model)
        folder = self.run / LAST / f"epoch_{len(self.history):05d}"
        with atomic_write(folder) as temporary:
            temporary.mkdir(parents=True)
            write_weights(temporary / WEIGHTS, self.model)
            torch.save({name: item.state_dict() for name, item in self.stateful.items()}, temporary / STATE)
            write_json(temporary / PROGRESS, {"history": self.history})
        write_history(self.run, self.history)
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other)
