"""Checkpoints of a training: the best weights (safetensors) and the state after the last complete epoch.

`RUN/last/epoch_N/` is written under another name and renamed. Only then are the best weights copied from it and the
previous one removed, so a valid state remains whenever the process is killed. Checksums detect damage between the two.
"""

import hashlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidseg_utils.paths import atomic_write, read_json, write_json
from vidseg_utils.run_folders import LAST
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.run_folder import WEIGHTS, file_sha256, write_history
from vidseg_utils.training.weights import read_weights, write_weights

# what reading a damaged state raises
DAMAGE = (OSError, ValueError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError)
STATE, PROGRESS = "state.pt", "progress.json"


class Checkpoints:
    """Writes the history, the best weights and the resumable state to the run folder after each epoch.

    stateful: objects whose state is saved beside the model's, such as the optimiser, by name
    """

    def __init__(self, run: Path, model: nn.Module, config: FitConfig, *, stateful: dict[str, Any]):
        self.run, self.model, self.config, self.stateful = run, model, config, stateful
        self.history: list[dict[str, Any]] = []
        self.best_sha256 = ""  # checksum of the best weights

    def resume(self, *, write: bool) -> None:
        """Restore the state after the last complete epoch, if there is one, and the best weights if `write`.

        Raises ValueError naming the damaged file, and the cure.
        """
        folders = sorted((self.run / LAST).glob("epoch_*"))
        if not folders:
            return
        folder, cure = folders[-1], f"delete {self.run / LAST} to train anew"
        read_weights(folder / WEIGHTS, self.model, cure=cure)
        path = folder / PROGRESS
        try:
            progress = read_json(path)
            self.history, self.best_sha256 = progress["history"], progress["best_sha256"]
            if _history_sha256(self.history) != progress["history_sha256"]:
                raise ValueError("its history has another checksum")
            for name, sha256 in progress["sha256"].items():
                path = folder / name
                if file_sha256(path) != sha256:
                    raise ValueError(f"its checksum is not the one in {PROGRESS}")
            path = folder / STATE
            states = torch.load(path, map_location="cpu", weights_only=True)
            for name in self.stateful.keys() & states.keys():  # only fp16 has a gradient scaler, and GPUs may change
                self.stateful[name].load_state_dict(states[name])
            path = folder / PROGRESS
            last_is_best = self.is_best()
        except DAMAGE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{path} is damaged ({reason}); {cure}") from None
        if not write:
            return
        best = self.run / WEIGHTS
        if last_is_best:  # the process may have been killed before it copied them
            self._copy_best(folder)
        if not best.is_file() or file_sha256(best) != self.best_sha256:
            raise ValueError(f"{best} is missing or damaged; delete the run folder {self.run} and train again")

    def is_best(self) -> bool:
        """Whether the last epoch is better than every earlier one."""
        *earlier, last = [epoch[self.config.monitor] for epoch in self.history]
        return all(self.config.is_better(last, other) for other in earlier)

    def add(self, epoch: dict[str, Any], *, write: bool) -> None:
        """Append an epoch to the history, and write it to disk if `write`: one process writes for all."""
        self.history.append(epoch)
        if not write:
            return
        folder = self.run / LAST / f"epoch_{len(self.history):05d}"
        with atomic_write(folder) as temporary:
            temporary.mkdir(parents=True)
            write_weights(temporary / WEIGHTS, self.model)
            torch.save({name: item.state_dict() for name, item in self.stateful.items()}, temporary / STATE)
            sha256 = {name: file_sha256(temporary / name) for name in (WEIGHTS, STATE)}
            if self.is_best():
                self.best_sha256 = sha256[WEIGHTS]
            progress = {"history": self.history, "history_sha256": _history_sha256(self.history), "sha256": sha256}
            write_json(temporary / PROGRESS, {**progress, "best_sha256": self.best_sha256})
        if self.is_best():  # `resume` does this again if the process is killed here
            self._copy_best(folder)
        write_history(self.run, self.history)
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other)

    def _copy_best(self, folder: Path) -> None:
        """Copy the weights of an epoch's folder to the run folder."""
        with atomic_write(self.run / WEIGHTS) as temporary:
            shutil.copyfile(folder / WEIGHTS, temporary)


def _history_sha256(history: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(history).encode()).hexdigest()
