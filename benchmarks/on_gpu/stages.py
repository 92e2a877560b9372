"""The stages of `benchmarks/gpu.py`: each yields what it measures, a line and its figures at a time."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.generate_speed import measure_generate
from benchmarks.streaming import measure_variants, streaming_variants
from benchmarks.training_step import PROBLEMS, compare_changes, parse_options
from vidseg_utils.data import generate
from vidseg_utils.data.parallel import n_cores
from vidseg_utils.evaluation import evaluate_system, predict_split
from vidseg_utils.models import build_model
from vidseg_utils.profiles import PROFILES
from vidseg_utils.systems import Workspace, build_system
from vidseg_utils.systems.mask_simvp.recipe import MaskSimVPRecipe
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.simvp_unet import SimVPRecipe
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.training import FitConfig

SMALL_UNET = {  # 1.9 M parameters; trained like this on 1,000 videos it reached a Jaccard index of 0.96
    "unet.base_channels": 16,
    "unet.head": "factored",
    "unet.epochs": 6,
    "unet.batch_size": 64,
    "unet.learning_rate": 8e-3,
    "unet.augmentation": ("hflip", "object_crop"),
}
SMOKE_SIZES = {"unet.base_channels": 4, "unet.batch_size": 4, "unet.frames_every": 11, "unet.epochs": 1}


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    many: tuple[int, int]  # videos in train and val: the set of the small U-Net, and of the evaluation
    few: tuple[int, int]  # those that large networks train on
    step_options: dict[str, tuple[str, ...]]  # name of a network -> options of training_step.py
    profile: str  # of the trainings
    sizes: dict[str, Any]  # of the profile, replaced in all trainings
    frame_sizes: tuple[tuple[int, int], ...]  # of the live segmentation
    repeats: int  # frames that are timed live


FULL = Scale(
    many=(1000, 400),
    few=(256, 32),
    step_options={
        "unet": ("--published", "--batch-size", "16"),
        "simvp": ("--published", "--batch-size", "16"),
        "mask_simvp": ("--published", "--batch-size", "16", "--without", "compile"),
        "small unet": ("--published", "--batch-size", "64", "--base-channels", "16", "--head", "factored"),
    },
    profile="gpu",
    sizes={"unlabeled": 0, "hidden": 0, "workers": 14},
    frame_sizes=((160, 240), (512, 1024)),
    repeats=100,
)
SMOKE = Scale(
    many=(3, 2),
    few=(2, 2),
    step_options={
        "unet": ("--height", "32", "--width", "48", "--base-channels", "4", "--batch-size", "1", "--steps", "1"),
        "simvp": ("--height", "32", "--width", "48", "--hid-s", "4", "--hid-t", "8", "--n-s", "2", "--steps", "1"),
    },
    profile="smoke",
    sizes={"unlabeled": 0, "hidden": 0, "height": 40, "width": 60, **SMOKE_SIZES},
    frame_sizes=((32, 48),),
    repeats=2,
)


@dataclass(frozen=True)
class Bench:
    """What every stage is given."""

    work: Path  # folder for data and runs
    scale: Scale
    device: torch.device
    ends: float  # `time.monotonic()` at which the stage is killed

    def has(self, seconds: float) -> bool:
        """Whether so much time is left."""
        return time.monotonic() + seconds < self.ends

    def workspace(self, videos: tuple[int, int], runs: str, sizes: dict[str, Any] | None = None) -> Workspace:
        """A set of so many videos, which is generated if it is not there, and a folder of runs of its own."""
        root, (train, val) = self.work / f"videos_{videos[0]}", videos
        splits = {"train": train, "val": val, "unlabeled": 0, "hidden": 0}
        generate(root, **splits, seed=0, store="cache", device=self.device.type, progress=False)
        sizes = {**splits, **(sizes or {}), **self.scale.sizes}
        return Workspace.for_profile(
            self.scale.profile, sizes=sizes, root=root, runs=self.work / runs, device=self.device.type
        )


Rows = Iterator[dict[str, Any]]


def measure_generation(bench: Bench) -> Rows:
    """Videos a second into the cache. The first set is the one that later stages use."""
    (train, val), (few, few_val), cores = bench.scale.many, bench.scale.few, n_cores()
    accelerator, sets = bench.device.type, "videos_{}".format
    calls = [(sets(train), train, val, accelerator, cores), (sets(few), few, few_val, "cpu", cores)]
    for processes in sorted({1, 4, 8} & set(range(1, cores)), reverse=True):
        calls.append((f"cpu_{processes}", max(2, few * processes // cores), 0, "cpu", processes))
    if accelerator != "cpu":
        calls.append(("gpu_1", max(2, few // 4), 0, accelerator, 1))
    for name, n_train, n_val, device, processes in calls:
        if not bench.has(5.0):
            return
        try:
            speed = measure_generate(bench.work / name, train=n_train, val=n_val, device=device, processes=processes)
        except Exception as error:
            yield failure(f"generate {name}", error)
            continue
        rates = {"videos_per_second": speed.videos_per_second, "serial_share": speed.serial_share}
        yield {"line": str(speed), **asdict(speed), **rates}


def measure_steps(bench: Bench) -> Rows:
    """Training samples a second of bare networks, one change after the other."""
    for name, arguments in bench.scale.step_options.items():
        options, kind = parse_options(arguments), "unet" if "unet" in name else name
        problem, device = PROBLEMS[kind](options, bench.device.type), bench.device.type
        without = options.without or ([] if device == "cuda" else ["compile"])
        batch_size = options.batch_size if kind == "unet" else max(1, options.batch_size // 4)
        print(name, flush=True)
        try:
            for row in compare_changes(problem, device=device, steps=options.steps, without=without):
                speed = row["steps_per_second"] * batch_size
                yield {"network": name, **row, "samples_per_second": speed}
                if not bench.has(10.0):
                    return
        except Exception as error:
            yield failure(name, error)


def measure_fits(bench: Bench) -> Rows:
    """Samples a second through `fit`: with the layout, precision and loading that it chooses itself, and compiled."""
    unet = SegmenterRecipe, bench.scale.few, {"unet.epochs": 3, "unet.batch_size": 16}
    simvp = SimVPRecipe, bench.scale.few, {"simvp.epochs": 2}
    yield from fit_recipe(bench, "small unet", SegmenterRecipe, bench.scale.many, SMALL_UNET, runs="runs_small")
    yield from fit_recipe(bench, "unet", *unet)
    yield from fit_recipe(bench, "simvp", *simvp)
    yield from fit_recipe(bench, "mask_simvp", MaskSimVPRecipe, bench.scale.few, {"mask.epochs": 1})
    if bench.device.type == "cuda" and "compile" in {field.name for field in fields(FitConfig)}:
        yield from fit_recipe(bench, "unet", *unet, runs="runs_compiled", compile=True)
        yield from fit_recipe(bench, "simvp", *simvp, runs="runs_compiled", compile=True)


def fit_recipe(
    bench: Bench,
    name: str,
    recipe: type[Recipe],
    videos: tuple[int, int],
    sizes: dict[str, Any],
    *,
    runs: str = "runs",
    **changes: Any,
) -> Rows:
    """Train a network. The fastest epoch counts, validation included; the first one also starts the loaders.

    changes: settings of the fit that replace those of the recipe
    """
    what, chosen = f"{name} through fit, {', '.join(changes) or 'as chosen'}", recipe.fit_config
    if not bench.has(10.0):
        return
    try:
        workspace = bench.workspace(videos, runs, sizes)
        with patch.object(recipe, "fit_config", lambda self: replace(chosen(self), **changes)):
            training = recipe(workspace)
            n_samples = len(training.data()[0])  # pyright: ignore[reportArgumentType]
            history = training.train()[1]
    except Exception as error:
        yield failure(what, error)
        return
    seconds = [row["seconds"] for row in history]
    fit = json.loads((workspace.run_folder(training.run_name) / "config.json").read_text())["fit"]
    speed, jaccard = n_samples / min(seconds), history[-1].get("jaccard")
    line = f"{what}: {speed:.1f} samples/s, epochs of {min(seconds):.1f} to {max(seconds):.1f} s"
    figures = {"samples_per_second": speed, "epoch_seconds": seconds, "jaccard": jaccard, "fit": fit}
    yield {"line": line if jaccard is None else f"{line}, Jaccard {jaccard:.3f}", "network": name, **figures}


def failure(what: str, error: Exception) -> dict[str, Any]:
    """A row for something that could not be measured."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return {"line": f"{what}: {text}", "error": text}


def measure_evaluation(bench: Bench) -> Rows:
    """Seconds for a split: `object_dynamics`, with the U-Net and the constants that come with the package."""
    workspace = bench.workspace(bench.scale.many, "runs")
    workspace = replace(workspace, profile=PROFILES["cpu_full"], shipped=True)  # the profile of the shipped weights
    system, split = build_system("object_dynamics", workspace=workspace), workspace.split("val")
    started = time.perf_counter()
    metrics = evaluate_system(system, split, device=bench.device, progress=False).metrics
    seconds = time.perf_counter() - started
    figures = {"videos": len(split), "evaluate_seconds": seconds, "jaccard": metrics["jaccard"]}
    yield {
        "line": f"object_dynamics evaluates {len(split)} videos in {seconds:.1f} s, {metrics['jaccard']:.3f}",
        **figures,
    }
    started = time.perf_counter()
    predict_split(system, split, device=bench.device, progress=False)
    seconds = time.perf_counter() - started
    yield {"line": f"object_dynamics predicts {len(split)} videos in {seconds:.1f} s", "predict_seconds": seconds}


def measure_live(bench: Bench) -> Rows:
    """Frames a second of a recurrent U-Net that segments frame by frame."""
    on_gpu = bench.device.type == "cuda"
    for block, size in (("vanilla", "small_shallow"), ("resnet", "small_deep")):
        torch.manual_seed(0)
        model = build_model("recurrent_unet", block=block, size=size, cell="gru")
        model.train()(torch.rand(2, 3, 3, 64, 96))  # moves BatchNorm's statistics away from 0 and 1
        model = model.to(bench.device).eval()
        variants = streaming_variants(model, device=bench.device, bf16=True, compiled=on_gpu)
        for height, width in bench.scale.frame_sizes:
            for row in measure_variants(variants, height, width, device=bench.device, repeats=bench.scale.repeats):
                what = f"{block} {size}, {height}x{width}, {row['variant']}"
                speed = (
                    row.get("error")
                    or f"{row['frames_per_second']:.0f} frames/s, labels {row['same_labels']:.2%} the same"
                )
                yield {"line": f"{what}: {speed}", "block": block, "size": size, "frame": [height, width], **row}


STAGES = {  # name -> what it measures, and its share of the time
    "generate": (measure_generation, 0.22),
    "steps": (measure_steps, 0.28),
    "fit": (measure_fits, 0.28),
    "evaluate": (measure_evaluation, 0.10),
    "live": (measure_live, 0.12),
}
