"""Find out what makes a training step of U-Net, SimVP and SimVP on masks faster without changing the loss.

    python benchmarks/training_step.py                     # small networks: a minute or two on a CPU
    python benchmarks/training_step.py --published         # the published sizes; batch size by --batch-size
    python benchmarks/training_step.py --without           # torch.compile on a CPU too, which takes it minutes

Each line adds one change to those above that made the step faster; the last line compares before and after. Steps per
second are those of the fastest step. On a CPU they are measured in processor time divided by the number of threads,
because other work on the machine affects it least. All variants start from the same seed and batch. The benchmark ends
with an error if a loss differs from plain float32 by more than rounding explains (0.1 %, in bf16 3 %).
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.device import reusing_memory
from vidseg_utils.models import build_model, location_losses, parameter_count, translators
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems.mask_simvp.recipe import MaskSimVPSizes, parse_configuration
from vidseg_utils.task import CLIP_FRAMES, PAST_FRAMES


def unet_problem(options: argparse.Namespace, device: str) -> tuple[Callable, Callable]:
    generator = torch.Generator().manual_seed(0)
    size = (options.height, options.width)
    images = torch.rand(options.batch_size, 3, *size, generator=generator).to(device)
    masks = torch.randint(0, N_CLASSES, (options.batch_size, *size), generator=generator).to(device)
    return (
        lambda: build_model("unet", base_channels=options.base_channels, head=options.head),
        lambda model: functional.cross_entropy(model(images).float(), masks),
    )


def simvp_problem(options: argparse.Namespace, device: str) -> tuple[Callable, Callable]:
    generator = torch.Generator().manual_seed(0)
    shape = (PAST_FRAMES, 3, options.height, options.width)
    batch_size = max(1, options.batch_size // 4)  # a clip is many frames
    past, future = (torch.rand(batch_size, *shape, generator=generator).to(device) for _ in range(2))
    sizes = {name: getattr(options, name) for name in ("hid_s", "hid_t", "n_s", "n_t", "translator")}
    return (
        lambda: build_model("simvp", in_shape=shape, **sizes),
        lambda model: functional.mse_loss(model(past).float(), future),
    )


def mask_simvp_problem(options: argparse.Namespace, device: str) -> tuple[Callable, Callable]:
    """Clips of five squares that move apart; each is forecast separately."""
    batch_size, (height, width) = max(1, options.batch_size // 4), (options.height, options.width)
    masks = torch.zeros(batch_size, CLIP_FRAMES, height, width, dtype=torch.uint8)
    for number in range(5):
        for frame in range(CLIP_FRAMES):
            top, left = height // 3 + (number - 2) * frame * height // 160, (number * 20 + frame) * width // 120
            masks[:, frame, top : top + height // 8, left : left + height // 8] = 9 * number + 1
    past, future = masks[:, :PAST_FRAMES].to(device), masks[:, PAST_FRAMES:].to(device)
    sizes = MaskSimVPSizes.for_profile(get_profile("gpu" if options.published else "cpu"))
    config = {**parse_configuration(sizes.configuration), "shrink": sizes.cell}  # as MaskSimVPRecipe does
    return (
        lambda: build_model("mask_simvp", residual=True, translator="gsta", **config),
        lambda model: location_losses(model(past, as_location_maps=True), future).mean(),
    )


PROBLEMS = {"unet": unet_problem, "simvp": simvp_problem, "mask_simvp": mask_simvp_problem}
CHANGES = {
    "layout": "channels_last",
    "product": "conv. as product",
    "memory": "reused memory",
    "fused": "fused Adam",
    "search": "cuDNN search",
    "bf16": "bf16 autocast",
    "compile": "torch.compile",
}
CPU_CHANGES, GPU_CHANGES = {"product", "memory"}, {"search"}
MIN_SPEEDUP = 1.02  # a change is kept if it makes the step faster by at least this factor


def measure(
    problem: tuple[Callable, Callable], *, device: str, steps: int, switches: frozenset[str]
) -> tuple[float, list[float], int]:
    """Steps per second, the loss of every step, and the number of parameters, with these CHANGES switched on.

    On a GPU also with "graph": the third step is recorded as a CUDA graph, and replayed from then on.
    """
    build, loss_of = problem
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = "search" in switches  # cuDNN times its algorithms and takes the fastest
    model = build().to(device)
    if "layout" in switches:
        model = model.to(memory_format=torch.channels_last)
    if "compile" in switches:
        model.compile()
    fused = "fused" in switches
    clock = time.perf_counter if device == "cuda" else lambda: time.process_time() / torch.get_num_threads()
    optimiser = torch.optim.Adam(
        model.parameters(), lr=1e-4, fused=fused, foreach=None if fused else False, capturable="graph" in switches
    )

    def train() -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16, enabled="bf16" in switches):
            loss = loss_of(model)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    step, seconds, losses = train, [], []
    product = ("cpu", "cuda") if "product" in switches else ()
    reused = reusing_memory(torch.device(device)) if "memory" in switches else contextlib.nullcontext()
    with patch.object(translators, "PRODUCT_DEVICES", product), reused, _own_stream("graph" in switches) as stream:
        for index in range(steps + 2):  # the first two warm up
            if stream is not None and index == 2:
                step = _recorded(train, stream)
            started = clock()
            losses.append(step().item())  # waits for the GPU
            seconds.append(clock() - started)
    return 1 / min(seconds[2:]), losses, parameter_count(model)


@contextlib.contextmanager
def _own_stream(wanted: bool) -> Iterator["torch.cuda.Stream | None"]:
    """A stream of the GPU for all that is done in the block, if it is wanted: the usual one cannot be recorded."""
    if not wanted:
        yield None
        return
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield stream


def _recorded(step: Callable[[], Tensor], stream: torch.cuda.Stream) -> Callable[[], Tensor]:
    """The step as a CUDA graph: the GPU starts its kernels itself."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        loss = step()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay


def compare_changes(
    problem: tuple[Callable, Callable], *, device: str, steps: int, without: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Print a line for each change, then before and after. Yields what was measured; "same": whether the losses are.

    without: changes to leave out, beside those of the other kind of device
    """
    without = {*without, *(GPU_CHANGES if device == "cpu" else CPU_CHANGES)}
    first_speed, first_losses, n_parameters = measure(problem, device=device, steps=steps, switches=frozenset())
    print(f"  {n_parameters:,} parameters; loss {first_losses[0]:.4f} -> {first_losses[-1]:.4f}")
    print(f"  {'plain float32':16} {first_speed:7.2f} steps/s", flush=True)
    kept, speed = frozenset(), first_speed
    yield {"change": "plain float32", "steps_per_second": first_speed, "same": True, "parameters": n_parameters}
    for switch, name in CHANGES.items():
        if switch in without:
            continue
        tolerance = 3e-2 if "bf16" in kept | {switch} else 1e-3
        faster, losses, _ = measure(problem, device=device, steps=steps, switches=kept | {switch})
        difference = max(abs(a - b) / abs(b) for a, b in zip(losses, first_losses, strict=True))
        keep = faster > MIN_SPEEDUP * speed
        same = difference <= tolerance
        verdict = "LOSS DIFFERS" if not same else "kept" if keep else "left out: not faster here"
        line = f"  + {name:14} {faster:7.2f} steps/s  x{faster / speed:5.2f}  loss within {difference:.1e}  {verdict}"
        print(line, flush=True)
        yield {"change": name, "steps_per_second": faster, "same": same, "kept": keep}
        if keep:
            kept, speed = kept | {switch}, faster
    print(f"  before {first_speed:.2f}, after {speed:.2f} steps/s: {speed / first_speed:.2f} times as fast")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line, or those given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = {
        "height": 80, "width": 120, "batch_size": 8, "steps": 6, "base_channels": 8,
        "hid_s": 16, "hid_t": 64, "n_s": 4, "n_t": 4,
    }  # fmt: skip
    published = {"height": 160, "width": 240, "base_channels": 64, "hid_s": 64, "hid_t": 256, "n_t": 8}
    for name, default in small.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--published", action="store_true", help="the published sizes of picture and networks")
    parser.add_argument("--head", default="flat", help='of U-Net: "flat" (default) or "factored"')
    parser.add_argument("--translator", default="inception", help='"inception" (default) or "gsta"')
    parser.add_argument("--models", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument(
        "--without", nargs="*", choices=list(CHANGES), help="changes to skip; default on a CPU: compile"
    )
    parser.add_argument("--threads", type=int, help="of the CPU; default: all")
    options = parser.parse_args(arguments)
    if options.published:
        vars(options).update(published)
    return options


def main() -> None:
    options = parse_options()
    if options.threads:
        torch.set_num_threads(options.threads)
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    without = ([] if on_gpu else ["compile"]) if options.without is None else options.without
    machine = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"{machine}, torch {torch.__version__}, {options.height} x {options.width}, batch {options.batch_size}")

    same = True
    for name in options.models:
        print(f"\n{name}")
        problem = PROBLEMS[name](options, device)
        rows = compare_changes(problem, device=device, steps=options.steps, without=without)
        same &= {row["same"] for row in rows} == {True}
    if not same:
        raise SystemExit("a loss curve changed")


if __name__ == "__main__":
    main()
