"""Compare SimVP's translators on moving digits, at equal size and equal training.

    python benchmarks/translators.py                                  # 11 minutes of one core: 2 to 3 each
    python benchmarks/translators.py --translators inception tau --seeds 0 1 2
    python benchmarks/translators.py --steps 4000 --batch-size 8      # for sharper digits

Ten frames in, ten out, 64x64 pixels, two digits (`vidseg_utils.data.sources.moving_digits`). Each line gives the sum of
squared errors of a frame (what papers call MSE) over 128 test videos, and the mean squared error of the pixels that
move. Copying the last frame is the baseline. After so few steps the digits are still blurred, so the table compares how
fast translators learn. Published on Moving MNIST, with other digits and mostly 2,000 epochs, so not to be compared
digit by digit: PredFormer 12.4 (25.3 M parameters), SimVP gSTA 15.05 (46.8 M), TAU 15.69 (44.7 M), ConvLSTM 22.41
(15.0 M).
"""

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from vidseg_utils.data.sources.moving_digits import N_PAST, SIZE, MovingDigits, split_frames
from vidseg_utils.device import fastest_precision, find_device, reusing_memory
from vidseg_utils.metrics import FrameScore
from vidseg_utils.models import build_model, parameter_count
from vidseg_utils.systems import CopyLastFrame
from vidseg_utils.training.loaders import seed_everything

# hid_t and n_t: all within 3 % of 1.87 million parameters
SIZES = {
    "inception": (128, 4),
    "gsta": (140, 4),
    "tau": (144, 4),
    "transformer": (160, 3),
    "convlstm": (120, 2),
}
HID_S, N_S = 16, 4


def build(translator: str) -> nn.Module:
    """A SimVP for digits."""
    hid_t, n_t = SIZES[translator]
    shape = (N_PAST, 1, SIZE, SIZE)
    return build_model("simvp", in_shape=shape, hid_s=HID_S, n_s=N_S, hid_t=hid_t, n_t=n_t, translator=translator)


def forecast(model: nn.Module, past: Tensor) -> Tensor:
    """The future frames, in bf16 where trainings of the workbook use it too."""
    in_bf16 = fastest_precision(past.device) == "bf16"
    with torch.autocast(past.device.type, dtype=torch.bfloat16, enabled=in_bf16):
        return model(past).float()


def train(model: nn.Module, *, steps: int, batch_size: int, learning_rate: float, seed: int, name: str) -> float:
    """Train with MSE and a one-cycle schedule; returns the seconds of a step, on a CPU those of a processor's work."""
    device = next(model.parameters()).device
    clock = processor_seconds if device.type == "cpu" else time.perf_counter
    model.to(memory_format=torch.channels_last)
    videos = MovingDigits("train", 10_000)
    generator = torch.Generator().manual_seed(seed)
    order = RandomSampler(videos, replacement=True, num_samples=steps * batch_size, generator=generator)
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps)
    seconds = 0.0
    for batch in tqdm(DataLoader(videos, batch_size=batch_size, sampler=order), desc=name, leave=False):
        past, future = (frames.to(device) for frames in split_frames(batch))
        started = clock()
        loss = F.mse_loss(forecast(model, past), future)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        loss.item()  # waits for a GPU
        seconds += clock() - started
    return seconds / steps


def processor_seconds() -> float:
    """Processor time by thread: unlike the clock's, little affected by other work on the machine."""
    return time.process_time() / torch.get_num_threads()


@torch.inference_mode()
def errors(model: nn.Module, device: torch.device, n_videos: int) -> tuple[float, float]:
    """Sum of squared errors of a frame, and the mean squared error of the pixels that move."""
    score = FrameScore()
    for batch in DataLoader(MovingDigits("test", n_videos), batch_size=16):
        past, future = (frames.to(device) for frames in split_frames(batch))
        score.update(forecast(model.eval(), past), future, past[:, -1])
    result = score.result()
    mean = sum(result["mse_per_pixel"]) / len(result["mse_per_pixel"])
    return mean * SIZE * SIZE, sum(result["mse_moving"]) / len(result["mse_moving"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--translators", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--steps", type=int, default=400, help="training steps; default 400")
    parser.add_argument("--batch-size", type=int, default=4, help="default 4")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="the highest one; default 0.002")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one training each; default 0")
    parser.add_argument("--test-videos", type=int, default=128, help="default 128")
    options = parser.parse_args()
    device = find_device()

    copied = errors(CopyLastFrame().to(device), device, options.test_videos)
    print(f"copying the last frame: error {copied[0]:.1f}, moving pixels {copied[1]:.4f}")
    print("| translator | seed | error of a frame | moving pixels | parameters | GFLOP | seconds a step |")
    print("|---|---|---|---|---|---|---|")
    for name in options.translators:
        for seed in options.seeds:
            seed_everything(seed)
            model = build(name).to(device)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(torch.zeros(1, N_PAST, 1, SIZE, SIZE, device=device))
            settings = {key: getattr(options, key) for key in ("steps", "batch_size", "learning_rate")}
            with reusing_memory(device):
                seconds = train(model, **settings, seed=seed, name=f"{name}, seed {seed}")
                frame, moving = errors(model, device, options.test_videos)
            gflop = counter.get_total_flops() / 1e9
            print(
                f"| {name} | {seed} | {frame:.1f} | {moving:.4f} | {parameter_count(model):,} | {gflop:.2f} | "
                f"{seconds:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
