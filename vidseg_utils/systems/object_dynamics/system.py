"""Forecast objects: name them, read their state off the masks, let fitted physics run on, draw the answer."""

from copy import copy
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.data.parallel import worker_processes
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.object_dynamics.decision import decide_mask
from vidseg_utils.systems.object_dynamics.filter import FilterSettings, run_ensemble_filter
from vidseg_utils.systems.object_dynamics.perception.class_assignment import assign_track_classes
from vidseg_utils.systems.object_dynamics.perception.components import foreground
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks, build_tracks
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.fitting import fit_constants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import FRAME_STEP, FUTURE_FRAMES, HEIGHT, WIDTH
from vidseg_utils.training.run_folder import CONSTANTS, claim, finish, is_finished, locked
from vidseg_utils.training.weights import load_model
from vidseg_utils.world.trajectory import Trajectory

CLIPS_AT_ONCE = 32


class ObjectDynamics(Forecaster):
    """U-Net masks (or true ones) -> objects on the floor -> an ensemble of possible worlds -> the mask worth most."""

    name = "object_dynamics"
    run_names = ("unet", "rigid_body_physics")
    accepts_masks = True

    def __init__(
        self,
        constants: PhysicsConstants,
        *,
        segmenter: nn.Module | None = None,
        settings: FilterSettings | None = None,
        seed: int = 0,
        processes: int = 1,
    ):
        super().__init__(segmenter=segmenter)
        self.constants = constants
        self.settings = settings or FilterSettings()
        self.seed = seed
        self.processes = processes  # for batches of masks; a script that asks for more needs `if __name__ == …`

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, then fit the constants to the annotations of the training videos."""
        SegmenterRecipe(workspace).train()
        train_physics(workspace)

    @classmethod
    def load(cls, workspace: Workspace) -> "ObjectDynamics":
        """Load U-Net and the constants."""
        segmenter = load_model(workspace.run_folder("unet"), device=workspace.device)
        return cls(load_constants(workspace), segmenter=segmenter, seed=workspace.profile.seed)

    def count_parameters(self) -> int:
        """How many trained numbers the system has, the fitted constants among them."""
        return super().count_parameters() + len(fields(self.constants))

    def segment(self, frames: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) of any size, in [0, 1] -> (B, T, 160, 240) class ids, one an object of a clip."""
        segmenter = self.require_segmenter()
        masks, scores = [], []
        for clip in frames.unbind(0):
            logits = segmenter(clip)  # (T, 49, H, W)
            if logits.shape[-2:] != (HEIGHT, WIDTH):
                logits = upsample_logits(logits)
            masks.append(logits.argmax(dim=1).to("cpu", torch.uint8).numpy())
            shown = torch.from_numpy(foreground(masks[-1])).to(logits.device)
            scores.append(logits.movedim(1, -1)[shown].softmax(dim=-1).cpu().numpy())
        return torch.from_numpy(assign_track_classes(np.stack(masks), scores)).to(frames.device)

    def forecast_masks(self, masks: Tensor) -> Tensor:
        """masks: (B, 11, H, W) class ids, others unknown -> (B, H, W) uint8. The same masks give the same answer."""
        past = masks.to("cpu", torch.uint8).numpy()
        parts = [past[start : start + CLIPS_AT_ONCE] for start in range(0, len(past), CLIPS_AT_ONCE)]
        alone = copy(self)
        alone.segmenter = None  # not to be sent to every worker
        with worker_processes(min(self.processes, len(parts))) as run:
            answers = list(run(alone._forecast_part, parts))
        return torch.from_numpy(np.concatenate(answers)).to(masks.device)

    def _forecast_part(self, past: np.ndarray) -> np.ndarray:
        height, width = past.shape[2:]
        return self.forecast_from_worlds(*self.estimate_worlds(assign_track_classes(past)), height=height, width=width)

    def forecast_from_worlds(self, tracks: Tracks, worlds: Worlds, *, height: int, width: int) -> np.ndarray:
        """Let the possible worlds run on to the last frame, and draw the mask that is worth most: (B, H, W) uint8."""
        self.advance_to_last_frame(worlds, tracks)
        return decide_mask(tracks.class_id, worlds, height=height, width=width)

    def advance_to_last_frame(self, worlds: Worlds, tracks: Tracks) -> None:
        """Let the possible worlds run on to the frame of the answer."""
        advance(worlds, FUTURE_FRAMES * FRAME_STEP, self.constants)

    def estimate_worlds(self, past: np.ndarray) -> tuple[Tracks, Worlds]:
        """past: (B, T, H, W) masks -> the objects' tracks, and B x K possible worlds at the last of the frames."""
        tracks = build_tracks(measure_poses(past), len(past), past.shape[1])
        return tracks, run_ensemble_filter(tracks, self.constants, self.settings, seed=self.seed)


def upsample_logits(logits: Tensor) -> Tensor:
    """(T, 49, H, W) logits of smaller frames -> (T, 49, 160, 240), linear between the pixels that masks are sampled at.

    A pixel in two minds lies across an outline, and how much it leans to either side says where: more than its label.
    """
    lines = []
    for size, full in zip(logits.shape[-2:], (HEIGHT, WIDTH), strict=True):
        sampled = ((np.arange(size) + 0.5) * full / size).astype(int)  # as `nearest_scale` does
        lines.append(torch.from_numpy(np.interp(np.arange(full), sampled, np.linspace(-1, 1, size))))
    row, column = torch.meshgrid(*lines, indexing="ij")
    grid = torch.stack([column, row], dim=-1).to(logits).expand(len(logits), -1, -1, -1)
    return F.grid_sample(logits, grid, padding_mode="border", align_corners=True)


def load_training_trajectories(workspace: Workspace) -> list[Trajectory]:
    """The annotations of the training videos. Raises ValueError, with the cure, where there are none."""
    split = workspace.split("train")
    found = [split.annotation(index) for index in range(len(split))]
    trajectories = [trajectory for trajectory in found if trajectory is not None]
    if not trajectories:
        raise ValueError(
            f"the training videos in {workspace.root} have no annotation.json, to which object dynamics is "
            "fitted; generate or import videos (`vidseg data generate --help`)"
        )
    return trajectories


def train_physics(workspace: Workspace, *, run: str = "rigid_body_physics", progress: bool = True) -> PhysicsConstants:
    """Fit the constants to the annotations of the training split, or read them if the run is finished.

    Raises ValueError, with the cure, where the training videos have no annotations.
    """
    folder = workspace.run_folder(run)
    with locked(folder):
        if not is_finished(folder):
            claim(folder, {"task": "object dynamics", "profile": workspace.profile.name}, defaults={})
            fit_constants(load_training_trajectories(workspace), progress=progress).to_json(folder / CONSTANTS)
            finish(folder)
    return load_constants(workspace, run=run)


def load_constants(workspace: Workspace, *, run: str = "rigid_body_physics") -> PhysicsConstants:
    """The constants that `train_physics` left. Raises ValueError, with the cure, where they are missing or damaged."""
    return PhysicsConstants.from_json(workspace.run_folder(run) / CONSTANTS)
