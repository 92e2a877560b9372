"""Proves that a training goes on with the videos that it opened while another process adds some, and says so."""

import logging
import subprocess
import sys

from vidseg_utils.systems import ConvLSTMRecipe
from vidseg_utils.training.run_folder import read_config

GROW = """
import sys
from tests.helpers import fill_cache, moving_square
numbers = range(3, 3 + int(sys.argv[2]))
assert len(fill_cache(sys.argv[1], "unlabeled", [(n, moving_square(n % 4)[1], None) for n in numbers])) == len(numbers)
"""


class GrowingData(ConvLSTMRecipe):
    """Each epoch begins when another process has added a video."""

    def on_epoch(self, epoch):
        subprocess.run([sys.executable, "-c", GROW, str(self.workspace.root), str(1 + epoch)], check=True)


def test_a_set_that_grows_under_a_training_is_noticed(root, workspace, caplog):
    here = workspace(sizes={"convlstm.epochs": 2, "workers": 1})
    with caplog.at_level(logging.WARNING):
        _, history = GrowingData(here).train()
    assert len(history) == 2
    assert read_config(here.run_folder("convlstm"))["train_samples"] == 1
    (line,) = [message for message in caplog.messages if "during the training" in message]
    assert f"{root} has changed during the training (" in line
    assert "1 unlabeled" in line.partition("now")[0]
    assert "3 unlabeled" in line.partition("now")[2]
