"""The progress of a training: epoch, loss, monitored metric and time left; in a notebook also the curves so far."""

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any

from vidseg_utils.progress import NotebookOutput, ProgressBar, ProgressFile
from vidseg_utils.training.fit_config import FitConfig

DrawCurves = Callable[[Sequence[dict[str, Any]], str, str], bytes]  # (history, monitored metric, title) -> PNG
SECONDS_PER_PICTURE = 5.0  # between two pictures of the same epoch; one takes about 0.15 s

_draw_curves: DrawCurves | None = None


def draw_curves_with(draw: DrawCurves | None) -> None:
    """Show the trainings of this notebook as the picture that `draw` returns; None: as a line of text."""
    global _draw_curves
    _draw_curves = draw


class TrainingBar(ProgressBar):
    """A bar over the batches of all epochs.

    Time left counts the validations, too, from the second epoch on, but not the first batch, which waits for data.
    """

    def __init__(self, run_name: str, config: FitConfig, history: list[dict[str, Any]], *, n_batches: int, show: bool):
        """history: the epochs that are trained already; `fit` appends to it"""
        self.run_name, self.config, self.history = run_name, config, history
        self.metric, self.summary = "", ""  # of the last epoch, and of the whole training, as text
        self.picture_time, self.picture_epochs = 0.0, 0  # when the last picture was drawn, and its number of epochs
        self.has_begun = False
        super().__init__(
            total=config.epochs * n_batches,
            initial=len(history) * n_batches,
            disable=not show,
            smoothing=0,  # the mean speed
            bar_format="{desc}: {percentage:3.0f}%|{bar:10}| {remaining} left{postfix}",
            desc=run_name,
        )

    def start_epoch(self, epoch: int) -> None:
        """Show the number of the epoch, from 1."""
        self.set_description_str(f"{self.run_name}, epoch {epoch}/{self.config.epochs}")

    def update(self, n: float | None = 1) -> bool | None:
        """Count a batch."""
        shown = super().update(n)
        if not self.has_begun:
            self.has_begun, self.initial = True, self.n
            self.start_t = self.last_print_t = time.time()  # a bar that was last shown before its start shows no end
        return shown

    def show_loss(self, loss: float) -> None:
        """Show the mean loss of the epoch so far, and the metric of the epoch before."""
        self.set_postfix_str(f"loss {loss:.4g}" + self.metric, refresh=False)

    def start_validation(self, loss: float) -> None:
        """Show the loss of the epoch, which is now validated."""
        self.set_postfix_str(f"loss {loss:.4g}{self.metric}, validating")

    def end_epoch(self, loss: float, metric: float) -> None:
        """Show the loss of the epoch and its monitored metric."""
        self.metric = f", {self.config.monitor} {metric:.4g}"
        self.set_postfix_str(f"loss {loss:.4g}{self.metric}")

    def end_training(self) -> None:
        """Close the bar. Its last state says how long the training took and which epoch was the best."""
        monitor, choose = self.config.monitor, max if self.config.mode == "max" else min
        best = choose(self.history, key=lambda row: row[monitor])
        seconds = sum(row["seconds"] for row in self.history)
        duration = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        text = f"best {monitor} {best[monitor]:.4g} in epoch {best['epoch']} of {len(self.history)}"
        self.summary = f"{self.run_name}: trained in {duration}, {text}"
        self.picture_epochs = 0
        self.close()
        if isinstance(self.output, ProgressFile):
            print(self.summary)

    def __str__(self) -> str:
        return self.summary or super().__str__()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show the state of the bar as text or, in a notebook and after the first epoch, above the curves."""
        if msg is not None or not self.history or _draw_curves is None or not isinstance(self.output, NotebookOutput):
            return super().display(msg, pos)
        now = time.monotonic()
        if self.picture_epochs != len(self.history) or now - self.picture_time > SECONDS_PER_PICTURE:
            self.picture_time, self.picture_epochs = now, len(self.history)
            picture = base64.b64encode(_draw_curves(self.history, self.config.monitor, str(self))).decode()
            self.output.show({"text/plain": str(self), "image/png": picture})
        return True
