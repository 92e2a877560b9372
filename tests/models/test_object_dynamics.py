"""Proves that the model of object dynamics keeps its constants through a run folder, bit for bit."""

import pytest
import torch

from vidseg_utils.models import build_model
from vidseg_utils.training.weights import load_model, save_model


def test_constants_come_back_from_a_run_folder(tmp_path):
    model = build_model("object_dynamics", n_constants=3)
    model.constants.copy_(torch.tensor([1e-5, 0.1, 1 / 3], dtype=torch.float64))
    save_model(tmp_path, model, name="object_dynamics", config={"n_constants": 3})
    torch.testing.assert_close(load_model(tmp_path)(), model(), rtol=0, atol=0)


def test_a_model_of_no_constants_is_refused():
    with pytest.raises(ValueError, match="n_constants must be a whole number of at least 1, got 0"):
        build_model("object_dynamics", n_constants=0)
