"""Proves that two processes train as one does, with the same losses, and that only the first of them writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from tests.helpers import NoisyStripes
from tests.training.shared_fit import train
from vidseg_utils.run_folders import read_history
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.loaders import build_loaders
from vidseg_utils.training.processes import BatchShares
from vidseg_utils.training.run_folder import read_config

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder of `shared_fit`, trained by two processes."""
    folder = tmp_path_factory.mktemp("shared")
    program = [*LAUNCH, "--main_process_port=0", "-m", "tests.training.shared_fit", str(folder)]
    done = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("trained in") == 2  # a bar of the first process for each training
    return folder


@pytest.mark.slow
def test_two_processes_have_the_losses_and_weights_of_one(shared, tmp_path):
    train(tmp_path)
    one, two = (read_history(run) for run in (tmp_path, shared / "uninterrupted"))
    for ours, theirs in zip(one, two, strict=True):
        for name in ("train_loss", "accuracy", "learning_rate"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4)
    weights = [load_file(run / "weights.safetensors") for run in (tmp_path, shared / "uninterrupted")]
    assert_close(*weights, atol=1e-4, rtol=1e-3)
    assert read_config(shared / "uninterrupted")["machine"].endswith(", 2 processes")
    assert "processes" not in read_config(tmp_path)["machine"]


@pytest.mark.slow
def test_a_shared_training_resumes(shared):
    histories = [read_history(shared / name) for name in ("uninterrupted", "resumed")]
    for history in histories:
        assert all(epoch.pop("seconds") > 0 for epoch in history)
    assert json.dumps(histories[0]) == json.dumps(histories[1])
    weights = [(shared / name / "weights.safetensors").read_bytes() for name in ("uninterrupted", "resumed")]
    assert weights[0] == weights[1]


def test_processes_share_every_batch_of_one_order():
    shares = [list(BatchShares(range(11), 4, drop_last=False, process=process, n_processes=2)) for process in range(2)]
    assert shares[0] == [[0, 2], [4, 6], [8, 10]]
    assert shares[1] == [[1, 3], [5, 7], [9]]


def train_loader(batch_size, **share):
    """The training loader of 11 samples."""
    data, config = NoisyStripes(11), FitConfig(batch_size=batch_size)
    return build_loaders(data, data, config, order=torch.Generator(), device=torch.device("cpu"), **share)[0]


@pytest.mark.parametrize(("batch_size", "n_processes", "batches"), [(4, 1, 3), (4, 4, 2), (5, 1, 2), (20, 4, 1)])
def test_a_last_batch_that_cannot_be_shared_is_dropped(batch_size, n_processes, batches):
    assert {len(train_loader(batch_size, process=n, n_processes=n_processes)) for n in range(n_processes)} == {batches}


def test_more_processes_than_samples_of_a_batch_are_refused():
    with pytest.raises(ValueError, match="4 processes cannot share batches of 3 samples; start fewer processes"):
        train_loader(3, n_processes=4)
