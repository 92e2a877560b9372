"""What makes a training step of U-Net and SimVP faster, and that the loss stays what it was.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --height 160 --width 240 --batch-size 32 --base-channels 64 \\
        --hid-s 64 --hid-t 256 --n-t 8                     # the published sizes, for a GPU

Each line adds one thing to the line before. Steps a second are those of the fastest step, which other work on the
machine disturbs least; the loss curve is that of the same seed and batch, compared with the first line's. bf16 and
torch.compile are tried on a GPU, or with --bf16 and --compile (a CPU without bf16 units is slower with it, and
compiling takes it a minute).
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data.layout import PAST
from vidseg_utils.models import build_model, parameter_count


def unet_problem(options: argparse.Namespace, device: str) -> tuple[Callable, Callable]:
    generator = torch.Generator().manual_seed(0)
    size = (options.height, options.width)
    images = torch.rand(options.batch_size, 3, *size, generator=generator).to(device)
    masks = torch.randint(0, N_CLASSES, (options.batch_size, *size), generator=generator).to(device)
    return (
        lambda: build_model("unet", base_channels=options.base_channels),
        lambda model: functional.cross_entropy(model(images).float(), masks),
    )


def simvp_problem(options: argparse.Namespace, device: str) -> tuple[Callable, Callable]:
    generator = torch.Generator().manual_seed(0)
    shape = (PAST, 3, options.height, options.width)
    batch_size = max(1, options.batch_size // 4)  # a clip is many frames
    past, future = (torch.rand(batch_size, *shape, generator=generator).to(device) for _ in range(2))
    sizes = {name: getattr(options, name) for name in ("hid_s", "hid_t", "n_s", "n_t", "translator")}
    return (
        lambda: build_model("simvp", in_shape=shape, **sizes),
        lambda model: functional.mse_loss(model(past).float(), future),
    )


def measure(
    problem: tuple[Callable, Callable],
    *,
    device: str,
    steps: int,
    layout: bool,
    fused: bool,
    bf16: bool,
    compiled: bool,
) -> tuple[float, list[float], int]:
    """Steps a second, the loss of every step, and the number of parameters."""
    build, loss_of = problem
    torch.manual_seed(0)
    model = build().to(device)
    if layout:
        model = model.to(memory_format=torch.channels_last)
    step_model = torch.compile(model) if compiled else model
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=fused, foreach=None if fused else False)
    seconds, losses = [], []
    for _ in range(steps + 2):  # the first two warm up
        started = time.perf_counter()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            loss = loss_of(step_model)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())  # waits for the GPU
        seconds.append(time.perf_counter() - started)
    return 1 / min(seconds[2:]), losses, parameter_count(model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {
        "height": 80, "width": 120, "batch_size": 8, "steps": 6, "base_channels": 8,
        "hid_s": 16, "hid_t": 64, "n_s": 4, "n_t": 4,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--translator", default="inception", help='"inception" (default) or "gsta"')
    parser.add_argument("--models", nargs="+", default=["unet", "simvp"], choices=["unet", "simvp"])
    parser.add_argument("--threads", type=int, help="of the CPU; default: all")
    parser.add_argument("--bf16", action="store_true", help="try bf16 autocast on a CPU too")
    parser.add_argument("--compile", action="store_true", help="try torch.compile on a CPU too")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    where = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}, torch {torch.__version__}, {options.height} x {options.width}, batch {options.batch_size}")

    added = {"plain float32": {}, "+ channels_last": {"layout": True}, "+ fused Adam": {"fused": True}}
    if on_gpu or options.bf16:
        added["+ bf16 autocast"] = {"bf16": True}
    if on_gpu or options.compile:
        added["+ torch.compile"] = {"compiled": True}
    for name in options.models:
        problem = {"unet": unet_problem, "simvp": simvp_problem}[name](options, device)
        switches = dict.fromkeys(("layout", "fused", "bf16", "compiled"), False)
        first_speed, first_losses = None, None
        for label, switch in added.items():
            switches |= switch
            speed, losses, n_parameters = measure(problem, device=device, steps=options.steps, **switches)
            if first_losses is None:
                first_speed, first_losses = speed, losses
                print(f"\n{name}, {n_parameters:,} parameters; loss {losses[0]:.4f} -> {losses[-1]:.4f}")
            apart = max(abs(a - b) / abs(b) for a, b in zip(losses, first_losses, strict=True))
            print(f"  {label:16s} {speed:7.2f} steps/s  x{speed / first_speed:5.2f}  loss at most {apart:.1e} apart")


if __name__ == "__main__":
    main()
