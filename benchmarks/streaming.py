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
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidseg_utils.device import find_device
from vidseg_utils.models import build_model, parameter_count, prepare_for_streaming
from vidseg_utils.training.machine import describe_machine
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


def measure_variants(
    variants: dict[str, torch.nn.Module], height: int, width: int, *, device: torch.device, repeats: int
) -> Iterator[dict[str, Any]]:
    """Frames per second of each variant, and the share of pixels whose label is that of the first.

    A variant whose name holds "bf16" runs in autocast. One that fails yields its error.
    """
    frames, labels = torch.rand(1, 4, 3, height, width, device=device), None
    for name, network in variants.items():
        try:
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled="bf16" in name):
                answer = segment(network, frames)  # warms up, too
                _, state = network(frames[:, :1])

                def one_frame(network: torch.nn.Module = network, state: Any = state) -> None:
                    network(frames[:, 1:2], state)
                    if device.type == "cuda":
                        torch.cuda.synchronize()

                seconds = fastest_seconds(one_frame, repeats=repeats)
        except Exception as error:
            yield {"variant": name, "error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            continue
        labels = answer if labels is None else labels
        same = (answer == labels).float().mean().item()
        yield {"variant": name, "frames_per_second": 1 / seconds, "same_labels": same}


def streaming_variants(
    model: torch.nn.Module, *, device: torch.device, bf16: bool, compiled: bool
) -> dict[str, torch.nn.Module]:
    """The network in more and more of the ways to make it faster."""
    stream = prepare_for_streaming(model)
    variants = {"plain float32": model, "folded, channels last": stream}
    if compiled:
        on_gpu = device.type == "cuda"
        variants["+ torch.compile"] = (
            torch.compile(stream, mode="reduce-overhead")
            if on_gpu
            else torch.compile(stream, options={"freezing": True})
        )
    if bf16:
        variants["+ bf16 autocast"] = variants[list(variants)[-1]]
    return variants


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
    parser.add_argument("--device", help="cpu or cuda; default: cuda if there is a GPU")
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
    device = find_device(options.device)
    model = model.to(device).eval()
    matrix = torch.rand(MATRIX_SIZE, MATRIX_SIZE, device=device)
    machine = 2 * MATRIX_SIZE**3 / fastest_seconds(lambda: (matrix @ matrix)[0, 0].item(), repeats=5)
    print(f"{describe_machine()}, {torch.get_num_threads()} threads: {machine / 1e9:.0f} GFLOP/s on {device} at best")
    print(f"{parameter_count(model):,} parameters")

    variants = streaming_variants(model, device=device, bf16=options.bf16, compiled=options.compile)
    for text in options.frames:
        height, width = map(int, text.split("x"))
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(torch.rand(1, 1, 3, height, width, device=device))
        per_frame = counter.get_total_flops()
        print(f"\n{height}x{width}: {per_frame / 1e9:.2f} GFLOP a frame, so at most {machine / per_frame:.1f} frames/s")
        first = None
        for row in measure_variants(variants, height, width, device=device, repeats=options.repeats):
            if "error" in row:
                print(f"  {row['variant']:24s} {row['error']}")
                continue
            speed, same = row["frames_per_second"], row["same_labels"]
            first = first or speed
            print(f"  {row['variant']:24s} {speed:7.2f} frames/s  x{speed / first:5.2f}  labels {same:.3%} the same")


if __name__ == "__main__":
    main()
