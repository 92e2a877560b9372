"""The stages of `benchmarks/gpu.py`: each yields what it measures, a line and its figures at a time."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.generate_speed import measure_generate, measure_start
from benchmarks.on_gpu.scales import SMALL_UNET, Scale
from benchmarks.streaming import AS_TRAINED, LOGIT_SCALE, measure_variants, streaming_variants
from benchmarks.training_step import CHANGES, PROBLEMS, compare_changes, measure, parse_options
from vidseg_utils.data import generate
from vidseg_utils.data.parallel import n_cores
from vidseg_utils.evaluation import evaluate_system, predict_split
from vidseg_utils.models import build_model
from vidseg_utils.profiles import PROFILES
from vidseg_utils.systems import Workspace, build_system
from vidseg_utils.systems.jepa.recipe import JEPARecipe
from vidseg_utils.systems.mask_simvp.recipe import MaskSimVPRecipe
from vidseg_utils.systems.recipe import Recipe
from vidseg_utils.systems.simvp_unet import SimVPRecipe
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe


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
        generate(root, **splits, seed=0, store="cache", progress=False)
        sizes = {**splits, **(sizes or {}), **self.scale.sizes}
        return Workspace.for_profile(
            self.scale.profile, sizes=sizes, root=root, runs=self.work / runs, device=self.device.type
        )


Rows = Iterator[dict[str, Any]]


def measure_generation(bench: Bench) -> Rows:
    """Videos a second into the cache, drawn by the processor. Later stages use the first two sets."""
    (train, val), (few, few_val), cores = bench.scale.many, bench.scale.few, n_cores()
    calls = [(f"videos_{few}", few, few_val, cores), (f"videos_{train}", train, val, cores)]
    for processes in sorted({1, 4} & set(range(1, cores)), reverse=True):
        calls.append((f"processes_{processes}", max(2, few * processes // cores), 0, processes))
    start = None  # takes about as long with fewer processes
    for name, n_train, n_val, processes in calls:
        if not bench.has(5.0):
            return
        try:
            if start is None:
                start = measure_start(processes)
                yield {
                    "line": f"{processes} processes start in {start[0]:.1f} s",
                    "processes": processes,
                    "start_seconds": start[0],
                }
            numbers = {"train": n_train, "val": n_val, "processes": processes}
            speed = measure_generate(bench.work / name, **numbers, start=start)
        except Exception as error:
            yield failure(f"generate {name}", error)
            continue
        rates = {"videos_per_second": speed.videos_per_second, "serial_share": speed.serial_share}
        yield {"line": str(speed), **asdict(speed), **rates}


def measure_steps(bench: Bench) -> Rows:
    """Training samples a second of bare networks: one change after the other; then as a CUDA graph; at last compiled,
    which takes long.
    """
    device, fastest = bench.device.type, {}
    for name, arguments in bench.scale.step_options.items():
        if not bench.has(10.0):
            return
        options, kind = parse_options(arguments), "unet" if "unet" in name else name
        batch_size = options.batch_size if kind == "unet" else max(1, options.batch_size // 4)
        problem, kept = PROBLEMS[kind](options, device), set()
        print(name, flush=True)
        try:
            for row in compare_changes(problem, device=device, steps=options.steps, without=["compile"]):
                kept |= {switch for switch, change in CHANGES.items() if row.get("kept") and change == row["change"]}
                yield {"network": name, **row, "samples_per_second": row["steps_per_second"] * batch_size}
            fastest[name] = problem, options.steps, batch_size, frozenset(kept)
        except Exception as error:
            yield failure(name, error)
    for (switch, what, needs), name in product(
        (("graph", "CUDA graph", 5.0), ("compile", CHANGES["compile"], 30.0)), fastest
    ):
        if device != "cuda" or name == "mask_simvp" or not bench.has(needs):
            continue
        problem, steps, batch_size, kept = fastest[name]
        try:
            speed, losses, _ = measure(problem, device=device, steps=steps, switches=kept | {switch})
        except Exception as error:
            yield failure(f"{name}, {what}", error)
            continue
        line = f"{name}, {what}: {speed:.2f} steps/s, loss {losses[0]:.4f} -> {losses[-1]:.4f}"
        figures = {"steps_per_second": speed, "samples_per_second": speed * batch_size}
        yield {"line": line, "network": name, "change": what, **figures, "with": sorted(kept)}


def measure_fits(bench: Bench) -> Rows:
    """Samples a second through `fit`: with the layout, precision and loading that it chooses itself, and compiled."""
    many, few = bench.scale.many, bench.scale.few
    unet = SegmenterRecipe, few, {"unet.epochs": 2, "unet.batch_size": 16}
    simvp = SimVPRecipe, few, {"simvp.epochs": 2}
    mask_simvp = MaskSimVPRecipe, few, {"mask.epochs": 2}
    jepa = JEPARecipe, few, {"jepa.epochs": 2}
    yield from fit_recipe(bench, "unet", *unet)
    yield from fit_recipe(bench, "simvp", *simvp)
    yield from fit_recipe(bench, "mask_simvp", *mask_simvp)
    yield from fit_recipe(bench, "jepa", *jepa)
    yield from fit_recipe(bench, "small unet", SegmenterRecipe, many, SMALL_UNET, runs="runs_small")
    if bench.device.type == "cuda":
        yield from fit_recipe(bench, "mask_simvp", *mask_simvp, runs="runs_bf16", precision="bf16")
        yield from fit_recipe(bench, "jepa", *jepa, runs="runs_planar", channels_last=False)
        yield from fit_recipe(bench, "unet", *unet, runs="runs_compiled", needs=60.0, compile=True)
        yield from fit_recipe(bench, "simvp", *simvp, runs="runs_compiled", needs=60.0, compile=True)
        one = {**SMALL_UNET, "unet.epochs": 2}
        yield from fit_recipe(
            bench, "small unet", SegmenterRecipe, many, one, runs="runs_loaded", needs=30.0, data_on_device=False
        )


def fit_recipe(
    bench: Bench,
    name: str,
    recipe: type[Recipe],
    videos: tuple[int, int],
    sizes: dict[str, Any],
    *,
    runs: str = "runs",
    needs: float = 10.0,
    **changes: Any,
) -> Rows:
    """Train a network. The fastest epoch counts, validation included; the first one also starts the loaders.

    needs: seconds; without them the training is left out
    changes: settings of the fit that replace those of the recipe
    """
    how = ", ".join(f"{key}={value}" for key, value in changes.items()) or "as chosen"
    what, chosen = f"{name} through fit, {how}", recipe.fit_config
    if not bench.has(needs):
        return
    try:
        workspace = bench.workspace(videos, runs, sizes)
        if bench.device.type == "cuda":
            torch.cuda.init()  # the first training has not done so yet
            torch.cuda.reset_peak_memory_stats()
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
    if bench.device.type == "cuda":
        figures["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        line += f", at most {figures['peak_gib']:.1f} GiB"
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
    metrics = evaluate_system(system, split, device=bench.device, processes=n_cores(), progress=False).metrics
    seconds = time.perf_counter() - started
    figures = {"videos": len(split), "evaluate_seconds": seconds, "jaccard": metrics["jaccard"]}
    yield {
        "line": f"object_dynamics evaluates {len(split)} videos in {seconds:.1f} s, {metrics['jaccard']:.3f}",
        **figures,
    }
    started = time.perf_counter()
    predict_split(system, split, device=bench.device, processes=n_cores(), progress=False)
    seconds = time.perf_counter() - started
    yield {"line": f"object_dynamics predicts {len(split)} videos in {seconds:.1f} s", "predict_seconds": seconds}


def measure_live(bench: Bench) -> Rows:
    """Frames a second of a recurrent U-Net that segments frame by frame; compiled at last, which takes long."""
    streams = {}
    for block, size in (("vanilla", "small_shallow"), ("resnet", "small_deep")):
        torch.manual_seed(0)
        model = build_model("recurrent_unet", block=block, size=size, cell="gru")
        model.train()(torch.rand(2, 3, 3, 64, 96))  # moves BatchNorm's statistics away from 0 and 1
        with torch.no_grad():
            model.head.weight.mul_(LOGIT_SCALE)  # the labels then differ from pixel to pixel
        model = model.to(bench.device).eval()
        streams[block, size] = streaming_variants(model, device=bench.device, bf16=True, compiled=True)
    for compiled in (False, True) if bench.device.type == "cuda" else (False,):
        for (height, width), (block, size) in product(bench.scale.frame_sizes, streams):
            if compiled and not bench.has(30.0):
                return
            torch.compiler.reset()  # it compiles the code of one class only so often
            variants = {
                name: network
                for name, network in streams[block, size].items()
                if name == AS_TRAINED or name.endswith("compiled") == compiled
            }
            for row in measure_variants(variants, height, width, device=bench.device, repeats=bench.scale.repeats):
                what = f"{block} {size}, {height}x{width}, {row['variant']}"
                speed = (
                    row.get("error")
                    or f"{row['frames_per_second']:.0f} frames/s, labels {row['same_labels']:.2%} the same"
                )
                yield {"line": f"{what}: {speed}", "block": block, "size": size, "frame": [height, width], **row}


STAGES = {  # name -> what it measures, and its share of the time
    "generate": (measure_generation, 0.18),
    "steps": (measure_steps, 0.20),
    "fit": (measure_fits, 0.32),
    "evaluate": (measure_evaluation, 0.16),
    "live": (measure_live, 0.14),
}
