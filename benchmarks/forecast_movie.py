"""A forecast as a short animation: the true video on the left, what `object_dynamics` forecasts on the right.

    python benchmarks/forecast_movie.py                          # figures/forecast.gif, half a minute on one core
    python benchmarks/forecast_movie.py --number 1020 --out other.gif

The physics is fitted to generated trajectories. The past is given as true masks, so no network is needed. The printed
score is the mean intersection over union of the objects in frame 21, and that of copying frame 10.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

from vidseg_utils.classes import BACKGROUND
from vidseg_utils.paths import figures_dir
from vidseg_utils.renderer import render_video
from vidseg_utils.simulator import simulate_video
from vidseg_utils.systems.object_dynamics import ObjectDynamics, forecast_ahead
from vidseg_utils.systems.object_dynamics.perception.class_assignment import assign_track_classes
from vidseg_utils.systems.object_dynamics.physics.annotated_states import tracks_from_trajectory
from vidseg_utils.systems.object_dynamics.physics.fitting import fit_constants
from vidseg_utils.task import CLIP_VIDEO_FRAMES, FUTURE_FRAMES, PAST_FRAMES
from vidseg_utils.visualisation import draw_forecast_movie, use_style, write_movie
from vidseg_utils.world import EXACT_LABELS

SEED = 0  # of the generated world
TRAINING_VIDEOS = 100  # trajectories that the physics is fitted to
FRAMES_PER_SECOND = 4.2  # 25 video frames a second, of which every sixth is shown: real time
LAST_FRAME_REPEATS = 6  # the movie rests on its last picture


def forecast_every_frame(past: np.ndarray) -> np.ndarray:
    """past: (11, H, W) true masks -> (11, H, W) uint8 masks forecast for frames 11..21."""
    training = [simulate_video(SEED, number) for number in range(TRAINING_VIDEOS)]
    system = ObjectDynamics(fit_constants(map(tracks_from_trajectory, training), progress=False))
    assigned = assign_track_classes(past[None], offset=EXACT_LABELS)[0]
    return forecast_ahead(system, assigned, horizon=FUTURE_FRAMES, offset=EXACT_LABELS).masks


def object_iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Mean intersection over union of the objects that the truth shows."""
    pairs = [(prediction == class_id, truth == class_id) for class_id in np.unique(truth) if class_id != BACKGROUND]
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--number", type=int, default=1014, help="video of the world; 1014 was picked because objects collide late"
    )
    parser.add_argument("--out", default=figures_dir() / "forecast.gif", help="a .gif or .mp4 file")
    arguments = parser.parse_args()
    use_style()
    plt.switch_backend("agg")
    trajectory = simulate_video(SEED, arguments.number)
    frames, masks = render_video(trajectory.select_frames(CLIP_VIDEO_FRAMES))
    forecasts = forecast_every_frame(masks[:PAST_FRAMES])
    pictures = draw_forecast_movie(frames, masks, list(forecasts))
    pictures += [pictures[-1]] * LAST_FRAME_REPEATS
    path = write_movie(arguments.out, pictures, frames_per_second=FRAMES_PER_SECOND)
    scores = object_iou(forecasts[-1], masks[-1]), object_iou(masks[PAST_FRAMES - 1], masks[-1])
    print(
        f"{path}: {path.stat().st_size // 1000} kB; objects' IoU {scores[0]:.2f}, by copying frame 10 {scores[1]:.2f}"
    )


if __name__ == "__main__":
    main()
