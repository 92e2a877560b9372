"""A fit of a second on a toy problem, with everything random that a real one has: order, augmentation, dropout.

As a program it plays through a list of scenarios, each in a process of its own that kills itself at a given moment.
"""

import importlib
import json
import os
import signal
import sys

import torch
from torch import nn

from vidseg_utils.training.fit import FitConfig, fit


class Noisy(torch.utils.data.Dataset):
    """Pictures whose blocks are bright where the class is 1; flipped and made noisy at random on each look."""

    def __init__(self, n=11, augment=True):
        generator = torch.Generator().manual_seed(n)
        self.masks = torch.randint(0, 2, (n, 1, 4), generator=generator).repeat_interleave(6, 1).repeat_interleave(2, 2)
        self.augment = augment

    def __len__(self):
        return len(self.masks)

    def __getitem__(self, index):
        mask = self.masks[index]
        image = mask[None].float().expand(3, -1, -1)
        if self.augment:
            if torch.rand(()) < 0.5:
                mask, image = mask.flip(-1), image.flip(-1)
            image = image + 0.1 * torch.randn(image.shape)
        return image, mask


def toy_model():
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(8, 2, 1)
    )


def toy_step(model, batch):
    images, masks = batch
    return nn.functional.cross_entropy(model(images), masks)


def toy_validate(model, loader, device):
    right = total = 0
    for images, masks in loader:
        answer = model(images.to(device)).argmax(dim=1).cpu()
        right, total = right + (answer == masks).sum().item(), total + masks.numel()
    return {"accuracy": right / total, "wrong": total - right}


def toy_fit(run, *, step=toy_step, validate=toy_validate, **settings):
    """Three epochs of four batches; returns (model, history)."""
    model = toy_model()
    config = FitConfig(
        **{
            "epochs": 3,
            "batch_size": 3,
            "learning_rate": 0.02,
            "monitor": "accuracy",
            "mode": "max",
            "plateau_patience": 0,
        }
        | settings
    )
    description = {"model": {"name": "toy", "config": {"sizes": (3, 8, 2)}}}
    history = fit(
        model, Noisy(), Noisy(6, False), step=step, validate=validate, config=config, run=run, description=description
    )
    return model, history


def kill_at(call, function):
    """`function`, but the process is killed at its call of that number (from 1)."""
    calls = 0

    def killing(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)

    return killing


def play(scenario):
    """Train as `scenario` says: {"run", "settings", and "step", "validate" or "replace": the call that kills}."""
    torch.set_num_threads(1)
    if "replace" in scenario:
        os.replace = kill_at(scenario["replace"], os.replace)
    toy_fit(
        scenario["run"],
        step=kill_at(scenario.get("step", 0), toy_step),
        validate=kill_at(scenario.get("validate", 0), toy_validate),
        **scenario["settings"],
    )


if __name__ == "__main__":
    importlib.import_module("torch._dynamo")  # an optimiser imports it; here once, instead of in every process
    for scenario in json.loads(sys.argv[1]):
        if (child := os.fork()) == 0:
            play(scenario)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)
