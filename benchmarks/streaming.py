"""Measure how many frames per second a recurrent U-Net segments live, and check that its labels stay the same.

    python benchmarks/streaming.py
    python benchmarks/streaming.py --size original --block resnet --compile
    python benchmarks/streaming.py --run runs/recurrent_unet-cpu        # trained weights

Frames per second are those of the fastest frame, because other work on the machine affects it least; on a CPU they are
measured in processor time divided by the number of threads. The header of each size gives an upper bound: the machine's
speed in multiplying large matrices, divided by the operations of one frame. The first variant is the network as it was
trained, on a CPU without `reusing_memory`. What bounds it there is memory: clearing it, maps in two layouts, and passes
over maps that no cache holds.
The published code of this model took 1.65 times as long as ours in float32 and 3.1 times as long as ours in bf16 at
160x240, 1.7 and 3.0 times at 512x1024: one run, one thread of a processor with bf16 units, frames of both in turn. On
two quiet cores of such a processor ours made 35.0 and 2.7 frames a second, in bf16 77.9 and 6.4.
On a GPU, `LiveSegmenter` replays a CUDA graph. --bf16 tries bf16 too, --compile also
torch.compile, which takes a minute and needs a C++ compiler.
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidseg_utils.device import find_device, reusing_memory
from vidseg_utils.models import LiveSegmenter, RecurrentUNet, build_model, parameter_count, prepare_for_streaming
from vidseg_utils.training.machine import describe_machine
from vidseg_utils.training.weights import load_model

MATRIX_SIZE = 1536  # side of the matrices whose product measures the machine's speed
LOGIT_SCALE = 30  # of random weights, so that the labels differ from pixel to pixel
AS_TRAINED = "as trained"  # the first variant


def fastest_seconds(work: Callable[[], object], *, repeats: int, device: torch.device) -> float:
    """Seconds of the fastest of `repeats` calls; on a CPU in processor time of one thread."""
    seconds = []
    for _ in range(repeats):
        started, cpu_started = time.perf_counter(), time.process_time()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        on_cpu = (time.process_time() - cpu_started) / torch.get_num_threads()
        seconds.append(on_cpu if device.type == "cpu" else time.perf_counter() - started)
    return min(seconds)


def measure_variants(
    variants: dict[str, torch.nn.Module], height: int, width: int, *, device: torch.device, repeats: int
) -> Iterator[dict[str, Any]]:
    """Frames per second of each variant, and the share of pixels whose label is that of the first.

    A variant that fails yields its error.
    """
    frames, labels = torch.rand(1, 4, 3, height, width, device=device), None
    for name, network in variants.items():
        try:
            with contextlib.nullcontext() if name == AS_TRAINED else reusing_memory(device):
                live = LiveSegmenter(network, frames[:, 0])
                answer = torch.stack([live(frame).argmax(dim=1) for frame in frames.unbind(dim=1)], dim=1)
                seconds = fastest_seconds(partial(live, frames[:, 1]), repeats=repeats, device=device)
        except Exception as error:
            yield {"variant": name, "error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            continue
        labels = answer if labels is None else labels
        same = (answer == labels).float().mean().item()
        yield {"variant": name, "frames_per_second": 1 / seconds, "same_labels": same}


def streaming_variants(
    model: RecurrentUNet, *, device: torch.device, bf16: bool, compiled: bool
) -> dict[str, torch.nn.Module]:
    """The network in more and more of the ways to make it faster."""
    streams = {"prepared": prepare_for_streaming(model)}
    if bf16:
        streams["prepared, bf16"] = prepare_for_streaming(model, torch.bfloat16)
    options = {"freezing": True} if device.type == "cpu" else None
    # each size by itself: code for any size, which torch would make for the second one, is slower
    compiled_streams = {
        f"{name}, compiled": torch.compile(stream, dynamic=False, options=options) for name, stream in streams.items()
    }
    return {AS_TRAINED: model, **streams, **(compiled_streams if compiled else {})}


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
        with torch.no_grad():
            model.head.weight.mul_(LOGIT_SCALE)
    device = find_device(options.device)
    model = model.to(device).eval()
    matrix = torch.rand(MATRIX_SIZE, MATRIX_SIZE, device=device)
    machine = 2 * MATRIX_SIZE**3 / fastest_seconds(lambda: matrix @ matrix, repeats=5, device=device)
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
