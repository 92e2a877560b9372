"""Proves that a saved model is loaded unchanged, and that each kind of damage gives a one-line error."""

import hashlib
import json

import pytest
import torch

from tests.helpers import NoisyStripes, toy_fit, toy_model, toy_step, toy_validate
from vidseg_utils.models import build_model
from vidseg_utils.training.checkpoints import Checkpoints
from vidseg_utils.training.fit_config import FitConfig
from vidseg_utils.training.loop import fit
from vidseg_utils.training.run_folder import file_sha256
from vidseg_utils.training.weights import load_model, save_model

CONFIG = {"n_classes": 2, "base_channels": 2}


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "run", build_model("unet", **CONFIG), name="unet", config=CONFIG)
    return tmp_path / "run"


def test_a_saved_model_is_loaded_bit_for_bit_in_eval_mode(tmp_path):
    model = build_model("unet", **CONFIG).to(memory_format=torch.channels_last)
    model(torch.rand(2, 3, 16, 16))
    save_model(tmp_path, model, name="unet", config=CONFIG)
    loaded = load_model(tmp_path)
    assert not loaded.training
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(loaded.to(memory_format=torch.channels_last)(images), model.eval()(images))


def test_saving_keeps_other_entries_of_the_config(run):
    (run / "config.json").write_text(json.dumps({"note": "kept", "model": {}}))
    save_model(run, build_model("unet", **CONFIG), name="unet", config=CONFIG)
    config = json.loads((run / "config.json").read_text())
    assert config.pop("sha256") == file_sha256(run / "weights.safetensors")
    assert config == {"note": "kept", "model": {"name": "unet", "config": CONFIG}, "finished": True}


def test_fit_trains_once_and_load_model_finds_the_same(tmp_path):
    description = {"model": {"name": "unet", "config": CONFIG}}
    steps = []

    def step(model, batch):
        steps.append(1)
        return toy_step(model, batch)

    models = []
    for _ in range(2):
        torch.manual_seed(len(models))
        model = build_model("unet", **CONFIG)
        history = fit(
            model,
            NoisyStripes(4),
            NoisyStripes(2),
            step=step,
            validate=toy_validate,
            config=FitConfig(epochs=2, batch_size=4, monitor="accuracy", mode="max"),
            run=tmp_path,
            description=description,
        )
        assert len(history) == 2
        models.append(model.eval())
    assert len(steps) == 2
    images = torch.rand(1, 3, 12, 8)
    answers = [model.to(memory_format=torch.contiguous_format)(images) for model in (*models, load_model(tmp_path))]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path, position=-1):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def change_config(run, **entries):
    path = run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def save_with_nan(run):
    model = build_model("unet", **CONFIG)
    torch.nn.init.constant_(model.head.bias, float("nan"))
    save_model(run, model, name="unet", config=CONFIG)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "weights.safetensors").unlink(), r"weights\.safetensors is missing: .*train it first"),
        (lambda run: truncate(run / "weights.safetensors"), r"weights\.safetensors is damaged"),
        (lambda run: (run / "weights.safetensors").write_bytes(b""), r"weights\.safetensors is damaged"),
        (lambda run: (run / "weights.safetensors").write_bytes(b"\xff" * 4096), r"weights\.safetensors is damaged"),
        (lambda run: (run / "config.json").unlink(), r"config\.json does not say which model the run holds; train"),
        (lambda run: truncate(run / "config.json"), r"config\.json does not say which model .*is not valid JSON"),
        (lambda run: (run / "config.json").write_text("[1]"), r"config\.json does not say which model .*JSON list"),
        (
            lambda run: (run / "config.json").write_text('{"model": {"name": "yolo", "config": {}}}'),
            r"config\.json describes a model that cannot be built: unknown model 'yolo'",
        ),
        (
            lambda run: (run / "config.json").write_text('{"model": {"name": "unet", "config": {"n_classes": "x"}}}'),
            r"config\.json describes a model that cannot be built: n_classes must be",
        ),
        (
            lambda run: change_config(run, model={"name": "unet", "config": {"base_channels": 4}}),
            r"weights\.safetensors does not fit this UNet: .* is \(.*\) instead of \(.*build the model with ",
        ),
        (
            lambda run: save_model(run, torch.nn.Conv2d(3, 2, 1), name="unet", config=CONFIG),
            r"weights\.safetensors does not fit this UNet: bias is unknown",
        ),
        (
            lambda run: flip_a_bit(run / "weights.safetensors"),
            r"weights\.safetensors is damaged: its checksum is not the one in config\.json; delete the run and train",
        ),
        (lambda run: flip_a_bit(run / "weights.safetensors", 20), r"weights\.safetensors is damaged: its checksum"),
        (save_with_nan, r"weights\.safetensors is damaged: head\..* holds values that are not finite; delete the run"),
        (lambda run: change_config(run, finished=False), r"run is not finished; train it with the same command"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_each_kind_of_damage_gives_a_one_line_error(run, damage, message, unchecked_shapes):
    damage(run)
    with pytest.raises(ValueError, match=message) as error:
        load_model(run)
    assert "\n" not in str(error.value)


def test_weights_for_another_frame_size_or_other_classes_are_refused(run):
    change_config(run, size=[80, 120], classes=["background", "cat"])
    load_model(run)  # whoever asks for nothing gets it
    load_model(run, size=(80, 120), classes=("background", "cat"))
    with pytest.raises(ValueError, match=r"run was trained on frames of 80x120 pixels, not 40x60; use the profile"):
        load_model(run, size=(40, 60))
    with pytest.raises(ValueError, match=r"for other classes: class 1 is 'cat' there and 'dog' here; choose another"):
        load_model(run, classes=("background", "dog"))
    with pytest.raises(ValueError, match=r"class 2 is None there and 'dog' here"):
        load_model(run, classes=("background", "cat", "dog"))


def test_a_finished_run_of_an_earlier_version_is_loaded_and_logged(run, caplog):
    config = json.loads((run / "config.json").read_text())
    del config["sha256"]
    (run / "config.json").write_text(json.dumps(config))
    load_model(run)
    assert "made by an earlier version: its weights.safetensors has no checksum" in caplog.text
    change_config(run, trained_on={"id": "0", "text": "some data"})  # this version keeps a checksum
    with pytest.raises(ValueError, match=r"is damaged: its checksum is not the one in config\.json"):
        load_model(run)


def test_a_run_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no run folder .*nowhere; train it first"):
        load_model(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_only_the_writing_process_changes_the_run_folder(tmp_path):
    """With several processes every one appends to its history, and the first writes for all."""
    checkpoints = Checkpoints(tmp_path, toy_model(), FitConfig(monitor="accuracy", mode="max"), stateful={})
    checkpoints.add({"epoch": 1, "accuracy": 0.5}, write=False)
    assert len(checkpoints.history) == 1
    assert not list(tmp_path.iterdir())
    checkpoints.add({"epoch": 2, "accuracy": 0.4}, write=True)
    assert not (tmp_path / "weights.safetensors").exists()  # epoch 1 was better
    assert (tmp_path / "last" / "epoch_00002").is_dir()


@pytest.fixture
def interrupted(tmp_path):
    """The run folder of a training that was interrupted in its second epoch."""

    def stop(model, loader, device):
        if (tmp_path / "run" / "last").exists():
            raise KeyboardInterrupt
        return toy_validate(model, loader, device)

    with pytest.raises(KeyboardInterrupt):
        toy_fit(tmp_path / "run", validate=stop)
    return tmp_path / "run"


@pytest.mark.parametrize("damage", [truncate, flip_a_bit])
@pytest.mark.parametrize("file", ["weights.safetensors", "state.pt", "progress.json"])
def test_a_damaged_state_of_an_unfinished_run_names_the_cure(interrupted, file, damage):
    (path,) = (interrupted / "last").glob(f"*/{file}")
    damage(path)
    with pytest.raises(ValueError, match=rf"{file} is damaged .*; delete .*last to train anew"):
        toy_fit(interrupted)


def test_a_changed_number_in_the_history_of_an_unfinished_run_is_noticed(interrupted):
    (progress,) = (interrupted / "last").glob("*/progress.json")
    content = json.loads(progress.read_text())
    content["history"][0]["accuracy"] += 0.125
    progress.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"progress\.json is damaged \(its history has another checksum\); delete"):
        toy_fit(interrupted)


def test_the_best_weights_of_an_unfinished_run_are_checked_too(interrupted):
    (progress,) = (interrupted / "last").glob("*/progress.json")
    content = json.loads(progress.read_text())
    content["history"].append(content["history"][0] | {"epoch": 2, "accuracy": 0})  # not the best
    content["history_sha256"] = hashlib.sha256(json.dumps(content["history"]).encode()).hexdigest()
    progress.write_text(json.dumps(content))
    flip_a_bit(interrupted / "weights.safetensors")
    with pytest.raises(ValueError, match=r"run.weights\.safetensors is missing or damaged; delete the run folder"):
        toy_fit(interrupted)
