"""Proves that the reconstructor is trained on unlabelled videos, and that the system works without it."""

import pytest
import torch

from vidseg_utils.evaluation.evaluate import evaluate_system
from vidseg_utils.models import build_model
from vidseg_utils.systems import SYSTEMS, build_system
from vidseg_utils.systems.convlstm_unet import ConvLSTMRecipe, ConvLSTMUnet, without_reconstructor
from vidseg_utils.systems.copy_last import CopyLast, UnetCopyLast
from vidseg_utils.training.run_folder import read_config


def tiny():
    torch.manual_seed(0)
    reconstructor = build_model("convlstm_reconstructor", base_channels=4, hidden_channels=8)
    return ConvLSTMUnet(reconstructor.eval(), build_model("unet", base_channels=4).eval())


def test_frames_in_one_mask_of_class_ids_out():
    past, system = torch.rand(2, 11, 3, 16, 24), tiny()
    mask = system.predict(past)
    assert mask.shape == (2, 16, 24)
    assert mask.dtype == torch.uint8
    torch.testing.assert_close(mask[:1], system.predict(past[:1]))
    with pytest.raises(ValueError, match="forecasts from frames"):
        system.predict(torch.zeros(2, 11, 16, 24, dtype=torch.long))


def test_the_segmenter_gets_the_predicted_frame():
    system, past = tiny(), torch.rand(1, 11, 3, 16, 24)
    expected = system.segmenter(system.reconstructor(past)).argmax(dim=1).to(torch.uint8)
    torch.testing.assert_close(system.predict(past), expected)


def test_without_the_reconstructor_frame_10_is_segmented():
    system, past = tiny(), torch.rand(1, 11, 3, 16, 24)
    plain = without_reconstructor(system)
    torch.testing.assert_close(plain.predict(past), UnetCopyLast(segmenter=system.segmenter).predict(past))
    assert plain.name != system.name
    with pytest.raises(ValueError, match="copy_last has no reconstructor; choose convlstm_unet"):
        without_reconstructor(CopyLast())


def test_it_is_trained_on_unlabelled_videos_loaded_and_scored(workspace):
    here = workspace()
    SYSTEMS["convlstm_unet"].train(here)
    assert read_config(here.run_folder("convlstm"))["train_samples"] == 1
    system = build_system("convlstm_unet", workspace=here)
    assert 0 <= evaluate_system(system, here.split("val"), progress=False).metrics["jaccard"] <= 1


def test_the_same_seed_gives_the_same_weights_and_longer_training_a_smaller_error(workspace):
    weights = []
    for runs in ("first", "second"):
        torch.manual_seed(len(weights))
        sizes = {"convlstm.learning_rate": 1e-2, "convlstm.residual": False, "convlstm.epochs": 10}
        _, history = ConvLSTMRecipe(workspace(runs, sizes)).train()
        weights.append((workspace(runs).run_folder("convlstm") / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
