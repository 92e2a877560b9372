"""Proves that the JEPA is trained without labels, its decoder with them, and that the system needs only frames."""

import pytest
import torch
from torch.utils.data import DataLoader

from vidseg_utils.data import ClipDataset, to_float
from vidseg_utils.evaluation.evaluate import evaluate_system
from vidseg_utils.models import build_model
from vidseg_utils.systems import SYSTEMS, build_system
from vidseg_utils.systems.jepa.recipe import (
    JEPADecoderRecipe,
    JEPARecipe,
    longest_horizon,
    random_window,
    score_embeddings,
)
from vidseg_utils.systems.jepa.system import JEPASystem
from vidseg_utils.training.run_folder import read_config


def weights_of(folder):
    return (folder / "weights.safetensors").read_bytes()


def tiny():
    torch.manual_seed(0)
    sizes = {"channels": 6, "hidden": 8, "predictor_hidden": 8, "decoder_hidden": 8}
    return JEPASystem(build_model("jepa_forecaster", **sizes).eval())


def test_frames_in_one_mask_or_its_probabilities_out():
    past, system = torch.rand(2, 11, 3, 16, 24), tiny()
    mask, probabilities = system.predict(past), system.predict_probabilities(past)
    assert mask.shape == (2, 16, 24)
    assert torch.equal(mask, probabilities.argmax(dim=1).to(torch.uint8))
    torch.testing.assert_close(mask[:1], system.predict(past[:1]))
    with pytest.raises(ValueError, match="jepa forecasts from frames"):
        system.predict(torch.zeros(2, 11, 16, 24, dtype=torch.long))


def test_only_the_last_four_given_frames_are_read():
    past, system = torch.rand(1, 11, 3, 16, 24), tiny()
    others = torch.cat([torch.rand_like(past[:, :7]), past[:, 7:]], dim=1)
    assert torch.equal(system.predict_probabilities(past), system.predict_probabilities(others))


def test_it_is_trained_loaded_and_scored(workspace):
    here = workspace()
    SYSTEMS["jepa"].train(here)
    embeddings, decoder = (read_config(here.run_folder(name)) for name in JEPASystem.run_names)
    assert embeddings["train_samples"] == 3  # two labelled videos and an unlabelled one
    assert embeddings["train_on"] == ["train", "unlabeled"]
    assert decoder["train_samples"] == 2
    system = build_system("jepa", workspace=here)
    metrics = evaluate_system(system, here.split("val"), progress=False).metrics
    assert 0 <= metrics["jaccard"] <= 1
    assert system.trained_on().keys() == {here.run_folder("jepa_decoder").name}


def test_the_decoder_keeps_the_trained_jepa(workspace):
    here = workspace(sizes={"jepa.epochs": 2})
    jepa, _ = JEPARecipe(here).train()
    forecaster, _ = JEPADecoderRecipe(here).train()
    for name, weight in jepa.state_dict().items():
        assert torch.equal(weight, forecaster.jepa.state_dict()[name]), name


def test_the_last_epoch_is_kept_and_the_same_seed_gives_the_same_weights(workspace):
    runs = [workspace(name, {"jepa.epochs": 3}) for name in ("first", "second")]
    for index, here in enumerate(runs):
        torch.manual_seed(index)
        _, history = JEPARecipe(here).train()
        assert [row["trained_epochs"] for row in history] == [1, 2, 3]
    assert len({weights_of(here.run_folder("jepa_embeddings")) for here in runs}) == 1


def test_settings_of_the_terms_against_collapse_belong_to_the_run(workspace):
    JEPARecipe(workspace()).train()
    with pytest.raises(ValueError, match="variance_weight"):
        JEPARecipe(workspace(sizes={"jepa.variance_weight": 0.0})).train()


def test_windows_stay_within_a_clip_and_the_horizon_grows_to_that_of_the_task():
    torch.manual_seed(0)
    assert [longest_horizon(epoch, 6) for epoch in range(1, 7)] == [4, 7, 10, 11, 11, 11]
    assert longest_horizon(1, 1) == 11
    assert {random_window(11) for _ in range(100)} == {(first, first + 15) for first in range(8)}
    assert {random_window(18) for _ in range(20)} == {(0, 22)}


def test_the_loss_falls(workspace):
    here = workspace(sizes={"jepa.learning_rate": 1e-2})
    recipe = JEPARecipe(here)
    network = recipe.build()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    frames = torch.stack([item["frames"] for item in ClipDataset(here.split("train"), masks=False)])
    losses = []
    torch.manual_seed(0)
    for _ in range(30):
        loss = recipe.step(network, {"frames": frames})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_scores_of_embeddings_compare_frame_21_with_its_prediction_and_with_frame_10(workspace):
    here = workspace()
    network = JEPARecipe(here).build().eval()
    clips = ClipDataset(here.split("val"), masks=False)
    scores = score_embeddings(network, DataLoader(clips, batch_size=1), here.device)
    errors, copy_errors = [], []
    for clip in clips:
        frames = to_float(clip["frames"][None])
        with torch.inference_mode():
            encoded, predicted = network.encode(frames), network.predict(frames[:, :11])[:, 0]
        errors.append((predicted - encoded[:, 21]).square().mean().item())
        copy_errors.append((encoded[:, 10] - encoded[:, 21]).square().mean().item())
    assert scores["error"] == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    assert scores["copy_error"] == pytest.approx(sum(copy_errors) / len(copy_errors), rel=1e-4)
