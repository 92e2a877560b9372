"""Proves the promises of `fit` except resuming: history, best weights, precision, accumulation, and errors."""

import json
import math
import os
import shutil
import threading
import time

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.helpers import NoisyStripes, toy_fit, toy_model, toy_step, toy_validate
from vidseg_utils.device import fastest_precision
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.training.epoch import evaluate
from vidseg_utils.training.fit_config import OPTIMISERS
from vidseg_utils.training.loop import FitConfig, fit
from vidseg_utils.training.processes import build_accelerator
from vidseg_utils.training.retraining import training_anew
from vidseg_utils.training.run_folder import locked, read_config


def scripted(*values):
    """A `validate` that returns these values, one per epoch."""
    values = iter(values)
    return lambda model, loader, device: {"accuracy": next(values)}


def test_the_model_learns_and_the_history_has_every_epoch(tmp_path):
    _, history = toy_fit(tmp_path / "run", epochs=8, scheduler="none")
    assert [epoch["epoch"] for epoch in history] == list(range(1, 9))
    assert set(history[0]) == {"epoch", "train_loss", "accuracy", "wrong", "learning_rate", "seconds"}
    assert history[-1]["train_loss"] < 0.6 * history[0]["train_loss"]
    assert history == [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 3)])
def test_the_best_weights_are_saved_and_loaded_into_the_model_at_the_end(tmp_path, mode, best):
    states = []

    def validate(model, loader, device):
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"accuracy": [0.5, 0.9, 0.1, 0.9, 0.1][len(states) - 1]}

    model, _ = toy_fit(tmp_path / "run", epochs=5, mode=mode, validate=validate)
    kept = load_file(tmp_path / "run" / "weights.safetensors")
    for name, tensor in states[best - 1].items():
        assert torch.equal(kept[name], tensor)
        assert torch.equal(model.state_dict()[name], tensor)
    assert not torch.equal(kept["0.weight"], states[-1]["0.weight"])


def test_plateau_lowers_the_learning_rate_when_the_metric_does_not_improve(tmp_path):
    _, history = toy_fit(
        tmp_path / "run", epochs=5, validate=scripted(0.5, 0.6, 0.6, 0.6, 0.6), plateau_patience=1, learning_rate=0.1
    )
    assert [epoch["learning_rate"] for epoch in history] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("accumulation_steps", [1, 3])
@pytest.mark.parametrize("scheduler", ["onecycle", "cosine"])
def test_schedules_by_step_end_with_the_last_step(tmp_path, monkeypatch, scheduler, accumulation_steps):
    rates = []

    def step(model, batch):
        rates.append(optimisers[-1].param_groups[0]["lr"])
        return toy_step(model, batch)

    optimisers = []

    class RecordedAdam(torch.optim.Adam):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            optimisers.append(self)

    monkeypatch.setitem(OPTIMISERS, "adam", RecordedAdam)
    toy_fit(tmp_path / "run", step=step, scheduler=scheduler, accumulation_steps=accumulation_steps, learning_rate=0.1)
    assert len(rates) == 12
    assert len(set(rates)) == 3 * math.ceil(4 / accumulation_steps)
    if scheduler == "onecycle":  # from a 25th of the highest rate to almost 0
        assert rates[0] == pytest.approx(0.1 / 25)
        assert rates[-1] == pytest.approx(0.1 / 25e4)
    else:  # from the highest rate to 0 after the last step
        assert rates == sorted(rates, reverse=True)
        assert rates[0] == pytest.approx(0.1)
        assert optimisers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_accumulated_batches_give_the_step_of_one_large_batch(tmp_path):
    """Without BatchNorm, dropout and augmentation, the average of 2 batches of 2 equals 1 batch of 4."""
    weights = []
    for name, settings in {"large": {"batch_size": 4}, "small": {"batch_size": 2, "accumulation_steps": 2}}.items():
        torch.manual_seed(0)
        model = nn.Conv2d(3, 2, 1)
        fit(
            model,
            NoisyStripes(8, False),
            NoisyStripes(6, False),
            step=toy_step,
            validate=toy_validate,
            config=FitConfig(epochs=2, scheduler="none", monitor="wrong", learning_rate=0.1, **settings),
            run=tmp_path / name,
            description={},
        )
        weights.append(model.weight.detach())
    torch.testing.assert_close(*weights)


def test_clipping_bounds_the_gradient(tmp_path, monkeypatch):
    norms = []

    class RecordedAdam(torch.optim.Adam):
        def step(self, *arguments, **keywords):
            gradients = [weight.grad for group in self.param_groups for weight in group["params"]]
            norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm().item())
            return super().step(*arguments, **keywords)

    monkeypatch.setitem(OPTIMISERS, "adam", RecordedAdam)
    toy_fit(tmp_path / "unclipped", epochs=1)
    unclipped_norm, norms[:] = max(norms), []
    toy_fit(tmp_path / "clipped", epochs=1, clip_norm=0.01)
    assert unclipped_norm > 0.1
    assert max(norms) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("device", "gpu", "amx", "precision"),
    [
        ("cuda", (7, 5), False, "fp16"),
        ("cuda", (8, 0), False, "bf16"),
        ("cpu", None, True, "bf16"),
        ("cpu", None, False, "no"),
        ("meta", None, True, "no"),
    ],
)
def test_the_fastest_precision_depends_on_the_units_of_the_device(device, gpu, amx, precision, monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: gpu)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    assert fastest_precision(torch.device(device)) == precision


def test_precision_auto_is_probed_once_for_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("vidseg_utils.training.speedups.fastest_precision", lambda device: "bf16")
    first, _ = toy_fit(tmp_path / "run", epochs=1, precision="auto")
    assert read_config(tmp_path / "run")["fit"]["precision"] == "bf16"
    monkeypatch.setattr("vidseg_utils.training.speedups.fastest_precision", lambda device: "no")  # another machine
    again, _ = toy_fit(tmp_path / "run", epochs=1, precision="auto")
    torch.testing.assert_close(first.state_dict(), again.state_dict(), rtol=0, atol=0)
    toy_fit(tmp_path / "other", epochs=1, precision="auto")
    assert read_config(tmp_path / "other")["fit"]["precision"] == "no"


@pytest.mark.parametrize(("device", "cpu"), [("cpu", True), ("cuda:1", False)])
def test_a_training_is_on_the_device_that_it_is_given(device, cpu, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    asked = {}

    def accelerator(**settings):
        asked.update(settings, device=os.environ.get("ACCELERATE_TORCH_DEVICE"))

    monkeypatch.setattr("vidseg_utils.training.processes.Accelerator", accelerator)
    build_accelerator(FitConfig(), torch.device(device))
    assert (asked["cpu"], asked["device"]) == (cpu, device)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as `accelerate launch` does
    build_accelerator(FitConfig(), torch.device("cuda"))
    assert (asked["cpu"], asked["device"]) == (False, None)


def test_the_device_of_one_fit_does_not_bind_the_next():
    meta = torch.device("meta")  # the one other device that every machine has
    for device in (torch.device("cpu"), meta, torch.device("cpu")):
        assert build_accelerator(FitConfig(), device).device == device


def test_bf16_uses_autocast_in_training_only_and_leaves_the_model_unchanged(tmp_path):
    seen = []

    def step(model, batch):
        logits = model(batch[0])
        seen.append(logits.dtype)
        return nn.functional.cross_entropy(logits, batch[1])

    class RecordingModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, images):
            logits = self.conv(images)
            seen.append(logits.dtype)
            return logits

    model = RecordingModel()
    for precision, inside in (("bf16", torch.bfloat16), ("no", torch.float32)):  # in one process
        seen.clear()
        fit(
            model,
            NoisyStripes(4),
            NoisyStripes(2),
            step=step,
            validate=toy_validate,
            config=FitConfig(epochs=1, precision=precision, monitor="accuracy"),
            run=tmp_path / precision,
            description={},
        )
        assert seen[:2] == [inside, torch.float32]  # inside the model, and in the loss
        assert "forward" not in vars(model)
        assert model.conv.weight.dtype == torch.float32
        assert model(torch.rand(1, 3, 2, 2)).dtype == torch.float32


def test_evaluate_sets_eval_and_no_grad_and_restores_every_mode():
    model = toy_model()
    model.train()
    model[1].eval()  # a frozen BatchNorm

    def validate(model, loader, device):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
        raise KeyError("a fault in the middle")

    with pytest.raises(KeyError):
        evaluate(model, [], validate=validate, device=torch.device("cpu"))
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]


def test_a_loss_that_is_not_finite_stops_the_training_and_keeps_earlier_epochs(tmp_path):
    steps = []

    def step(model, batch):
        steps.append(1)
        return toy_step(model, batch) * (float("nan") if len(steps) == 6 else 1)

    with pytest.raises(ValueError, match=r"the loss is nan .*lower learning_rate, set clip_norm"):
        toy_fit(tmp_path / "run", step=step)
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["finished"] is False


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    def validate(model, loader, device):
        model[0].weight.data[0] = float("inf")
        return {"accuracy": 1.0}

    with pytest.raises(ValueError, match="not finite"):
        toy_fit(tmp_path / "run", validate=validate)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_a_metric_that_is_not_finite_is_null_in_the_history_and_refused_as_monitor(tmp_path):
    both = {"accuracy": 0.5, "psnr": float("inf")}
    _, history = toy_fit(tmp_path / "run", epochs=1, validate=lambda *_: both)
    assert history[0]["psnr"] is None
    with pytest.raises(ValueError, match=r"validation psnr \(inf\) are not finite"):
        toy_fit(tmp_path / "other", epochs=1, validate=lambda *_: both, monitor="psnr")


def test_an_unknown_monitor_lists_the_metrics(tmp_path):
    with pytest.raises(ValueError, match=r"unknown monitor 'jaccard'; choose from .*\['accuracy', 'wrong'\]"):
        toy_fit(tmp_path / "run", monitor="jaccard")


@pytest.mark.parametrize(("empty", "name"), [(0, "training"), (1, "validation")])
def test_empty_data_are_refused_before_anything_is_written(tmp_path, empty, name):
    data = [NoisyStripes(4), NoisyStripes(4)]
    data[empty] = torch.utils.data.Subset(data[empty], [])
    with pytest.raises(ValueError, match=f"the {name} data are empty"):
        fit(
            toy_model(),
            *data,
            step=toy_step,
            validate=toy_validate,
            config=FitConfig(monitor="accuracy"),
            run=tmp_path / "run",
            description={},
        )
    assert not (tmp_path / "run").exists()


def test_data_without_a_length_are_refused(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(NoisyStripes(4))

    with pytest.raises(ValueError, match="Stream has no length; training needs a map-style data set"):
        fit(
            toy_model(),
            Stream(),
            NoisyStripes(4),
            step=toy_step,
            validate=toy_validate,
            config=FitConfig(monitor="accuracy"),
            run=tmp_path / "run",
            description={},
        )
    assert not (tmp_path / "run").exists()


def test_a_last_batch_of_one_sample_is_dropped(tmp_path):
    sizes = []

    def step(model, batch):
        sizes.append(len(batch[0]))
        return toy_step(model, batch)

    toy_fit(tmp_path / "run", step=step, batch_size=5, epochs=1)  # 11 samples
    assert sizes == [5, 5]


def test_a_finished_run_is_loaded_and_not_trained(tmp_path):
    model, history = toy_fit(tmp_path / "run")

    def never(*_):
        raise AssertionError("trained again")

    again, same = toy_fit(tmp_path / "run", step=never, validate=never)
    assert same == history
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


@pytest.mark.filterwarnings("ignore:.*meta parameter:UserWarning")  # that device holds no values
def test_a_finished_run_is_loaded_onto_the_device(tmp_path):
    toy_fit(tmp_path / "run")
    model, _ = toy_fit(tmp_path / "run", device=torch.device("meta"))  # exists on every machine
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_a_run_of_other_settings_is_refused_with_the_settings_that_differ(tmp_path):
    toy_fit(tmp_path / "run", epochs=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError) as error:
        toy_fit(tmp_path / "run", epochs=2, learning_rate=0.5)
    message = str(error.value)
    differing = "fit.epochs: 1 in the folder, 2 now; fit.learning_rate: 0.02 in the folder, 0.5 now"
    assert f"was finished with other settings ({differing})" in message
    assert "to train anew, add --again or delete the folder; to keep it, choose another one" in message
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_run_of_other_settings_is_trained_anew_on_request_only(tmp_path, capsys):
    toy_fit(tmp_path / "run", epochs=1)
    with training_anew(True):
        _, history = toy_fit(tmp_path / "run", epochs=2)
    assert len(history) == 2
    expected = f"run folder {tmp_path / 'run'} is trained anew, because run folder "
    assert any(line.startswith(expected) and "2 now" in line for line in capsys.readouterr().err.splitlines())
    with training_anew(False), pytest.raises(ValueError, match="was finished with other settings"):
        toy_fit(tmp_path / "run", epochs=1)


def test_a_folder_that_holds_no_training_is_never_replaced(tmp_path):
    write_json(tmp_path / "config.json", {"system": "copy_last"})
    with training_anew(True), pytest.raises(ValueError):
        toy_fit(tmp_path)
    assert read_json(tmp_path / "config.json") == {"system": "copy_last"}


def test_a_finished_run_is_loaded_from_a_read_only_folder(tmp_path, monkeypatch):
    _, history = toy_fit(tmp_path / "run", epochs=1)
    (tmp_path / "run" / ".lock").unlink()

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr("vidseg_utils.training.run_folder.lock_file", refuse)
    assert toy_fit(tmp_path / "run", epochs=1)[1] == history


def test_a_run_that_another_process_trains_is_waited_for_and_then_loaded(tmp_path):
    order = []

    class Waiting(threading.Thread):
        def run(self):
            order.append(("began", time.monotonic()))
            self.result = toy_fit(tmp_path / "run", epochs=1, step=never)[1]
            order.append(("loaded", time.monotonic()))

    def never(*_):
        raise AssertionError("trained twice")

    toy_fit(tmp_path / "elsewhere", epochs=1)
    with locked(tmp_path / "run"):
        other = Waiting()
        other.start()
        time.sleep(0.5)
        for path in (tmp_path / "elsewhere").iterdir():
            if path.name != ".lock":
                shutil.move(path, tmp_path / "run" / path.name)
        order.append(("trained", time.monotonic()))
    other.join()
    assert [name for name, _ in sorted(order, key=lambda event: event[1])] == ["began", "trained", "loaded"]
    assert len(other.result) == 1


def test_loading_in_worker_processes_is_reproducible(tmp_path):
    for name in ("one", "two"):
        toy_fit(tmp_path / name, epochs=1, num_workers=2)
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"optimiser": "sgd"}, r"unknown optimiser 'sgd'; choose from \['adam', 'adamw'\]"),
        ({"scheduler": "step"}, "unknown scheduler 'step'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"mode": "best"}, "unknown mode 'best'"),
        ({"learning_rate": -1}, "learning_rate must be a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate must be a positive number"),
        ({"clip_norm": 0}, "clip_norm must be a positive number"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**wrong)


def test_a_model_without_trainable_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no weights to learn"):
        fit(
            nn.Conv2d(3, 2, 1).requires_grad_(False),
            NoisyStripes(4),
            NoisyStripes(4),
            step=toy_step,
            validate=toy_validate,
            config=FitConfig(monitor="accuracy"),
            run=tmp_path / "run",
            description={},
        )
