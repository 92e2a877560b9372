"""Proves that mask forecasters train on true and predicted masks, are reproducible, and beat copy-last on motion."""

import pickle

import numpy as np
import pytest
import torch

from vidseg_utils.evaluation.evaluate import evaluate_system
from vidseg_utils.metrics import choose_classes
from vidseg_utils.models import build_model, move_masks
from vidseg_utils.paths import read_json
from vidseg_utils.systems import SYSTEMS, Workspace, build_system
from vidseg_utils.systems.mask_simvp.forecast import forecast_last, forecast_location_maps, forecast_scores
from vidseg_utils.systems.mask_simvp.recipe import MaskSimVPRecipe, loss_then_jaccard, parse_configuration
from vidseg_utils.systems.mask_simvp.system import (
    UnetMaskSimVP,
    UnetMaskSimVPCrossEntropy,
    UnetMaskSimVPMSE,
    UnetMaskSimVPRollout,
)
from vidseg_utils.systems.pseudo_labels import label_split
from vidseg_utils.systems.simvp_unet import SimVPSizes
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe

KINDS = ("mask_simvp", "mask_simvp_cross_entropy", "mask_simvp_mse", "mask_simvp_rollout")


def tiny(representation="objects", **more):
    torch.manual_seed(0)
    settings = {"hid_s": 4, "hid_t": 8, "n_s": 2, "n_t": 2, "groups": 2, "shrink": 2, "residual": True, **more}
    return build_model("mask_simvp", representation=representation, **settings).eval()


@pytest.mark.parametrize(
    "system",
    [UnetMaskSimVP(tiny()), UnetMaskSimVPMSE(tiny("number")), UnetMaskSimVPRollout(tiny())],
    ids=lambda system: system.name,
)
def test_past_masks_in_one_mask_of_class_ids_out(system):
    past = torch.zeros(2, 11, 16, 24, dtype=torch.uint8)
    past[0, :, 4:9, 4:9], past[1, :, 2:7, 9:20], past[:, :, 0] = 30, 7, 255
    mask = system.predict(past)
    assert mask.shape == (2, 16, 24)
    assert mask.dtype == torch.uint8
    assert mask.max() < 49
    torch.testing.assert_close(mask, system.predict(past))
    torch.testing.assert_close(mask[:1], system.predict(past[:1]))


@pytest.mark.parametrize(
    "system",
    [
        UnetMaskSimVP(tiny(), segmenter=build_model("unet", base_channels=4).eval()),
        UnetMaskSimVPRollout(tiny(), segmenter=build_model("unet", base_channels=4).eval()),
        UnetMaskSimVPCrossEntropy(tiny("one_hot"), segmenter=build_model("unet", base_channels=4).eval()),
    ],
    ids=lambda system: system.name,
)
def test_from_frames_it_forecasts_probabilities_that_call_for_its_mask(system):
    frames = torch.rand(2, 11, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    probabilities = system.predict_probabilities(frames)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 16, 24))
    by_object = system.options["representation"] == "objects"
    mask = choose_classes(probabilities, score=0.25) if by_object else probabilities.argmax(dim=1)
    assert (mask == system.predict(frames)).float().mean() > (0.9 if by_object else 0.999)


@pytest.mark.parametrize("ahead", [1, 4])
def test_a_rollout_keeps_the_size_and_the_straight_path_of_an_object(ahead):
    """A square of 5x5 pixels moves half a cell per frame; an untrained model forecasts straight motion."""
    clip = torch.zeros(1, 22, 16, 48, dtype=torch.uint8)
    for t in range(22):
        clip[:, t, 6:11, 2 + t : 7 + t] = 30
    past, future = clip[:, :11], clip[:, 11:]
    model = tiny(ahead=ahead)
    steps = forecast_location_maps(model, past, ahead=ahead)
    assert [maps.logits.shape[1] for maps in steps] == ([1] * 11 if ahead == 1 else [4, 4, 3])
    torch.testing.assert_close(torch.cat([move_masks(maps) for maps in steps], dim=1), future.long())
    forecast = forecast_scores(model, past, ahead=ahead).argmax(dim=2)
    assert (forecast == 30)[future == 30].all()  # its edges are uncertain, so more pixels may be forecast
    torch.testing.assert_close(forecast_last(model, past, ahead=ahead), forecast[:, -1])
    recipe = MaskSimVPRecipe(Workspace.for_profile("smoke"), last_frame_weight=1.0, ahead=ahead)
    loss, last = recipe.forecast_loss(model, past, future)
    assert loss < 2  # the same probability for every cell would give 5.7
    torch.testing.assert_close(last.logits, steps[-1].logits)


@pytest.mark.parametrize("ahead", [1, 4])
def test_one_hot_masks_are_fed_back_as_class_ids(ahead):
    """A model that copies the last mask for ever: a rollout of it is that mask in every frame."""
    past = torch.randint(0, 49, (2, 11, 4, 6), generator=torch.Generator().manual_seed(0))
    windows = []

    def copy_last(window):
        windows.append(window)
        return torch.nn.functional.one_hot(window[:, -1:], 49).movedim(-1, 2).expand(-1, ahead, -1, -1, -1).float()

    scores = forecast_scores(copy_last, past, ahead=ahead)
    assert scores.shape == (2, 11, 49, 4, 6)
    assert torch.equal(scores.argmax(dim=2), past[:, -1:].expand(-1, 11, -1, -1))
    assert all(window.shape == past.shape for window in windows)
    assert torch.equal(windows[1], torch.cat([past[:, ahead:], past[:, -1:].expand(-1, ahead, -1, -1)], dim=1))


@pytest.mark.parametrize("name", KINDS)
def test_every_mask_system_is_trained_loaded_and_scored_on_predicted_and_true_masks(name, workspace):
    here = workspace()
    SYSTEMS[name].train(here)
    system = build_system(name, workspace=here)
    for true_masks in (False, True):
        metrics = evaluate_system(system, here.split("val"), true_masks=true_masks, progress=False).metrics
        assert 0 <= metrics["jaccard"] <= 1


def test_the_same_seed_gives_the_same_weights_bit_for_bit(workspace):
    weights = []
    for runs in ("first", "second"):
        torch.manual_seed(len(weights))  # earlier random draws must not matter
        here = workspace(runs, {"mask.epochs": 2})
        MaskSimVPRecipe(here, train_on="true", ahead=1).train()
        weights.append((here.run_folder("mask_objects_rollout") / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_moving_square_is_forecast_better_than_by_copy_last(workspace):
    """Overfitting two clips: copy-last overlaps a third of the moved square, the forecast much more."""
    here = workspace(sizes={"mask.epochs": 25, "mask.learning_rate": 2e-2, "mask.configuration": "2_2_8_32_1"})
    model, history = MaskSimVPRecipe(here, train_on="true").train()
    truth = torch.tensor(here.split("train").masks[:])
    forecast = forecast_last(model.eval(), truth[:, :11])
    overlap = [((a == 9) & (truth[:, -1] == 9)).sum() / (truth[:, -1] == 9).sum() for a in (forecast, truth[:, 10])]
    assert overlap[0] > overlap[1] + 0.3
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]


def test_clips_have_predicted_past_and_true_future_masks_and_unlabelled_clips_have_pseudo_labels(workspace):
    here = workspace()
    with pytest.raises(ValueError, match="unet-smoke"):
        MaskSimVPRecipe(here, train_on="predicted", unlabeled=True).data()
    model, _ = SegmenterRecipe(here).train()
    true, _ = MaskSimVPRecipe(here, train_on="true", unlabeled=True).data()
    predicted, val = MaskSimVPRecipe(here, train_on="predicted", unlabeled=True).data()
    assert (len(true), len(predicted), len(val)) == (2, 3, 1)
    seen, unseen = (label_split(model, here.split(split), progress=False) for split in ("train", "unlabeled"))
    np.testing.assert_array_equal(predicted[1]["past"], seen[1, :11])
    assert predicted[1]["past"].shape == true[1]["past"].shape
    torch.testing.assert_close(predicted[1]["future"], true[1]["future"])
    np.testing.assert_array_equal(predicted[2]["future"], unseen[0, 11:])
    assert len(MaskSimVPRecipe(here, train_on="predicted", unlabeled=False).data()[0]) == 2


def test_a_data_set_of_masks_is_pickled_small_and_unchanged(workspace):
    train, _ = MaskSimVPRecipe(workspace(), train_on="true", unlabeled=False).data()
    sent = pickle.dumps(train)
    assert len(sent) < 2000
    torch.testing.assert_close(pickle.loads(sent)[1], train[1])


def test_configurations_have_the_notation_of_the_published_tables(workspace):
    sizes = {"n_s": 8, "n_t": 16, "hid_s": 64, "hid_t": 512, "groups": 8}
    assert parse_configuration("8_16_64_512_8") == sizes
    published = MaskSimVPRecipe(workspace(), representation="one_hot")
    assert published.model()[1]["hid_s"] == SimVPSizes.for_profile(workspace().profile).hid_s
    for wrong in ("8_16_64_512", "8_16_64_512_x", ""):
        with pytest.raises(ValueError, match="is not of the form N_S_N_T_hid_S_hid_T_groups"):
            parse_configuration(wrong)


def test_the_loss_chooses_the_best_epoch_and_the_jaccard_index_decides_ties(workspace):
    epochs = [(0.353, 0.25), (0.3282, 0.24), (0.3264, 0.20), (0.3249, 0.10), (43.1, 0.01), (42.9, 0.02), (9.96, 0.0)]
    in_order = sorted(epochs, key=lambda epoch: loss_then_jaccard(*epoch))
    assert in_order == [epochs[i] for i in (3, 1, 2, 0, 6, 5, 4)]
    assert loss_then_jaccard(0.0, 0.5) < loss_then_jaccard(1e-3, 1.0)
    here = workspace()
    MaskSimVPRecipe(here, train_on="true").train()
    fit = read_json(here.run_folder("mask_objects") / "config.json")["fit"]
    assert (fit["monitor"], fit["mode"]) == ("loss_then_jaccard", "min")


def test_unknown_choices_are_refused(workspace):
    with pytest.raises(ValueError, match=r"unknown train_on 'guessed'; choose from \['predicted', 'true'\]"):
        MaskSimVPRecipe(workspace(), train_on="guessed")
    with pytest.raises(ValueError, match="unknown representation 'words'"):
        MaskSimVPRecipe(workspace(), train_on="true", representation="words").train()
