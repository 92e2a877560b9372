"""Measure how many frames per second a recurrent U-Net segments live, and check that its labels stay the same.

    python benchmarks/streaming.py
    python benchmarks/streaming.py --size original --block resnet --compile
    python benchmarks/streaming.py --run runs/recurrent_unet-cpu        # trained weights

Each line adds one change to the line before. Frames per second are those of the fastest frame, because other work on
the machine affects it least. The header of each size gives an upper bound: the machine's speed in multiplying large
matrices, divided by the operations of one frame. Published code of this model reached 34 frames of 160x240 per second
in float32 and 56 in bf16, on two cores that multiply bf16 natively (1.07 and 2.3 at 512x1024). --bf16 also tries bf16;
--compile also tries torch.compile, which takes a minute and needs a C++ compiler.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidseg_utils.models import build_model, parameter_count, prepare_for_streaming
from vidseg_utils.training.weights import load_model

MATRIX_SIZE = 1536  # side of the matrices whose product measures the machine's speed


def fastest_seconds(work: Callable[[], object], *, repeats: int) -> float:
    """Seconds of the fastest of `repeats` calls."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def segment(model: torch.nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """Segment frames (1, T, 3, H, W) one by one; returns labels (1, T, H, W)."""
    state, labels = None, []
    for frame in frames.unbind(dim=1):
        logits, state = model(frame[:, None], state)
        labels.append(logits.argmax(dim=2))
    return torch.cat(labels, dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"block": "vanilla", "size": "small_shallow", "cell": "gru"}.items():
        parser.add_argument(f"--{name}", default=default, help=f"default {default}")
    parser.add_argument("--run", help="a run folder with trained weights, instead of random ones")
    parser.add_argument("--frames", nargs="+", default=["160x240", "512x1024"], help="default 160x240 512x1024")
    parser.add_argument("--repeats", type=int, default=30, help="frames to time; default 30")
    parser.add_argument("--threads", type=int, help="of the CPU; default: all")
    parser.add_argument("--bf16", action="store_true", help="try bf16 autocast too")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    torch.manual_seed(0)
    if options.run:
        model = load_model(options.run)
    else:
        model = build_model("recurrent_unet", block=options.block, size=options.size, cell=options.cell)
        model.train()(torch.rand(2, 3, 3, 64, 96))  # moves BatchNorm's statistics away from 0 and 1
    model.eval()
    matrix = torch.rand(MATRIX_SIZE, MATRIX_SIZE)
    machine = 2 * MATRIX_SIZE**3 / fastest_seconds(lambda: matrix @ matrix, repeats=5)
    print(f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}: {machine / 1e9:.0f} GFLOP/s at best")
    print(f"{parameter_count(model):,} parameters")

    stream = prepare_for_streaming(model)
    variants = {"plain float32": model, "folded, channels last": stream}
    if options.compile:
        variants["+ torch.compile"] = torch.compile(stream, options={"freezing": True})
    if options.bf16:
        variants["+ bf16 autocast"] = variants[list(variants)[-1]]
    for text in options.frames:
        height, width = map(int, text.split("x"))
        frames = torch.rand(1, 4, 3, height, width)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(frames[:, :1])
        per_frame = counter.get_total_flops()
        print(f"\n{height}x{width}: {per_frame / 1e9:.2f} GFLOP a frame, so at most {machine / per_frame:.1f} frames/s")
        first = labels = None
        for name, network in variants.items():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled="bf16" in name):
                answer = segment(network, frames)  # warms up, too
                _, state = network(frames[:, :1])
                seconds = fastest_seconds(lambda: network(frames[:, 1:2], state), repeats=options.repeats)  # noqa: B023
            first, labels = first or seconds, answer if labels is None else labels
            same = (answer == labels).float().mean().item()
            print(f"  {name:24s} {1 / seconds:7.2f} frames/s  x{first / seconds:5.2f}  labels {same:.3%} the same")


if __name__ == "__main__":
    main()
