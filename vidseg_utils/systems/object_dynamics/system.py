"""Forecast objects: classify and measure them in the past masks, move them on by fitted physics, draw the mask."""

from dataclasses import asdict, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.classes import BACKGROUND
from vidseg_utils.data.identity import has_exact_labels, has_grown
from vidseg_utils.metrics import class_shares
from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.object_dynamics.decision import decide_mask
from vidseg_utils.systems.object_dynamics.filter import FilterSettings, run_ensemble_filter
from vidseg_utils.systems.object_dynamics.perception.class_assignment import assign_track_classes
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks, build_tracks
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds, advance
from vidseg_utils.systems.object_dynamics.training import load_constants, train_physics
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import FRAME_STEP, FUTURE_FRAMES, HEIGHT, WIDTH
from vidseg_utils.training.run_folder import UNKNOWN_DATA, training_data
from vidseg_utils.world.label_offset import COURSE_LABELS, EXACT_LABELS, LabelOffset
from vidseg_utils.world.mask_drawing import draw_masks

CLIPS_PER_BATCH = 32  # clips that are forecast together


class PixelClasses(NamedTuple):
    """What a segmenter says of clips, or true masks."""

    masks: UInt8[np.ndarray, "B T H W"]  # class ids
    scores: list[np.ndarray] | None  # of each clip: the class probabilities of its foreground pixels; None if true


class ObjectDynamics(Forecaster):
    """U-Net masks (or true ones) -> objects on the ground -> an ensemble of possible worlds -> the best mask.

    Labels may lie beside the exact masks: `constants.label_offset`. True masks are read, and forecasts drawn, with that
    offset. The segmenter's masks lie as the labels that it was trained on: see `segmenter_offset`.
    """

    name = "object_dynamics"
    run_names = ("unet", "rigid_body_physics")
    accepts_masks = True
    gives_probabilities = True

    def __init__(
        self,
        constants: PhysicsConstants,
        *,
        segmenter: nn.Module | None = None,
        settings: FilterSettings | None = None,
        seed: int = 0,
    ):
        super().__init__(segmenter=segmenter)
        self.constants = constants
        self.settings = settings or FilterSettings()
        self.seed = seed

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, then fit the constants to the training videos."""
        SegmenterRecipe(workspace).train()
        train_physics(workspace)

    @classmethod
    def load(cls, workspace: Workspace) -> "ObjectDynamics":
        """Load U-Net and the constants."""
        segmenter = workspace.load_network("unet")
        return cls(load_constants(workspace), segmenter=segmenter, seed=workspace.profile.training_seed)

    def count_parameters(self) -> int:
        """Number of trained parameters, including the fitted constants."""
        return super().count_parameters() + len(fields(self.constants))

    def identity(self) -> dict[str, Any]:
        """Also the fitted constants, the settings of the filter and its seed, and how the segmenter's masks lie."""
        own = {"constants": asdict(self.constants), "filter": asdict(self.settings), "seed": self.seed}
        if self.segmenter is not None:
            own["segmenter_offset"] = asdict(self.segmenter_offset)
        return {**super().identity(), **own}

    def trained_on(self) -> dict[str, dict[str, str]]:
        """Also the data to which the constants are fitted."""
        return {**super().trained_on(), **training_data(self.constants)}

    def segment(self, frames: Float[Tensor, "B T 3 H W"]) -> UInt8[Tensor, "B T 160 240"]:
        """Class ids of frames of any size, in [0, 1]; an object has one class in the whole clip."""
        pixels = self.classify_pixels(frames)
        assigned = assign_track_classes(pixels.masks, pixels.scores, offset=self.segmenter_offset)
        return torch.from_numpy(assigned).to(frames.device)

    def classify_pixels(self, frames: Float[Tensor, "B T 3 H W"]) -> PixelClasses:
        """What the segmenter says of frames in [0, 1]: the part of `segment` that a network does."""
        masks, scores = [], []
        for clip in frames.unbind(0):
            labels, logits = label_pixels(self.segmenter_logits(clip))
            masks.append(labels.cpu().numpy())
            scores.append(logits.softmax(dim=-1).cpu().numpy())
        return PixelClasses(np.stack(masks), scores)

    def forecast_pixels(self, pixels: PixelClasses, *, offset: LabelOffset) -> tuple[np.ndarray, np.ndarray]:
        """Masks in which an object has one class in the whole clip, and the forecast of the last frame.

        It needs no segmenter, so worker processes may do it. offset: of the masks against the exact ones
        """
        assigned = assign_track_classes(pixels.masks, pixels.scores, offset=offset)
        return assigned, self._forecast_batch(assigned, offset=offset, assigned=True)

    @property
    def segmenter_offset(self) -> LabelOffset:
        """The offset of the segmenter's masks: that of its labels, if the constants were fitted to the same data.

        Otherwise the labels are taken to be as the course's, unless they were generated exact.
        """
        parts = self.segmenter.modules() if self.segmenter is not None else ()
        learned = [data for part in parts for data in training_data(part).values()]
        fitted = [data for data in training_data(self.constants).values() if data != UNKNOWN_DATA]
        same = any(a["id"] == b["id"] or has_grown(a, b) for a in learned for b in fitted)
        if same:
            return self.constants.label_offset
        return EXACT_LABELS if any(has_exact_labels(data) for data in learned) else COURSE_LABELS

    def forecast_masks(self, masks: Integer[Tensor, "B T H W"]) -> UInt8[Tensor, "B H W"]:
        """Forecast from past class ids (others unknown). The same masks give the same forecast, in any batch."""
        return self._forecast(masks, offset=self.constants.label_offset, assigned=False)

    def forecast_segmented(self, masks: Integer[Tensor, "B T H W"]) -> UInt8[Tensor, "B H W"]:
        """Forecast from class ids that `segment` found."""
        return self._forecast(masks, offset=self.segmenter_offset, assigned=True)

    def class_probabilities(self, frames: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B 49 h w"]:
        """The share of the possible worlds that show each class at each pixel."""
        past = self.segment(frames).to("cpu", torch.uint8).numpy()
        tracks, worlds = self.estimate_worlds(past, offset=self.segmenter_offset)
        self.advance_to_last_frame(worlds, tracks)
        class_id = np.repeat(tracks.class_id, self.settings.members, axis=0)
        present, (height, width) = worlds.active & (class_id > 0), past.shape[2:]
        offset = self.constants.label_offset
        masks = draw_masks(class_id, worlds.poses, present, height=height, width=width, offset=offset)
        return class_shares(torch.from_numpy(masks).unflatten(0, (len(past), -1))).to(frames.device)

    def _forecast(
        self, masks: Integer[Tensor, "B T H W"], *, offset: LabelOffset, assigned: bool
    ) -> UInt8[Tensor, "B H W"]:
        """offset: of the masks; assigned: whether an object has one class in the whole clip."""
        past = masks.to("cpu", torch.uint8).numpy()
        batches = [past[start : start + CLIPS_PER_BATCH] for start in range(0, len(past), CLIPS_PER_BATCH)]
        forecasts = [self._forecast_batch(batch, offset=offset, assigned=assigned) for batch in batches]
        return torch.from_numpy(np.concatenate(forecasts)).to(masks.device)

    def _forecast_batch(self, past: np.ndarray, *, offset: LabelOffset, assigned: bool) -> np.ndarray:
        height, width = past.shape[2:]
        past = past if assigned else assign_track_classes(past, offset=offset)
        return self.forecast_from_worlds(*self.estimate_worlds(past, offset=offset), height=height, width=width)

    def estimate_worlds(
        self, past: Integer[np.ndarray, "B T H W"], *, offset: LabelOffset | None = None
    ) -> tuple[Tracks, Worlds]:
        """The objects' tracks in past masks, and B x K possible worlds at the last past frame, clip by clip.

        offset: of the masks against the exact ones; by default that of the labels
        """
        measured = measure_poses(past, offset=self.constants.label_offset if offset is None else offset)
        tracks = build_tracks(measured, clips=len(past), frames=past.shape[1])
        return tracks, run_ensemble_filter(tracks, self.constants, self.settings, seed=self.seed)

    def forecast_from_worlds(
        self, tracks: Tracks, worlds: Worlds, *, height: int, width: int
    ) -> UInt8[np.ndarray, "B height width"]:
        """Move the possible worlds on to the last frame, in place, and decide the mask."""
        self.advance_to_last_frame(worlds, tracks)
        return decide_mask(tracks.class_id, worlds, height=height, width=width, offset=self.constants.label_offset)

    def advance_to_last_frame(self, worlds: Worlds, tracks: Tracks) -> None:
        """Move the possible worlds on from the last past frame to the frame of the forecast, in place."""
        self.advance_worlds(worlds, tracks, ahead=FUTURE_FRAMES)

    def advance_worlds(self, worlds: Worlds, tracks: Tracks, *, ahead: int) -> None:
        """Move the possible worlds on from the last past frame by `ahead` frames of a clip, in place."""
        advance(worlds, ahead * FRAME_STEP, self.constants)


def label_pixels(logits: Float[Tensor, "T K H W"]) -> tuple[UInt8[Tensor, "T 160 240"], Float[Tensor, "F K"]]:
    """The class of each pixel of 160 x 240, and the logits of the pixels that are not background, in order.

    Logits of smaller frames are interpolated, linear between the points at which smaller masks are sampled. A pixel
    whose class is uncertain lies across an outline. How much it leans to either side says where the outline is, which
    its label alone does not. Between four points of background all is background.
    """
    labels = logits.max(dim=1).indices.to(torch.uint8)  # on a CPU several times as fast as argmax
    if labels.shape[1:] == (HEIGHT, WIDTH):
        return labels, logits.movedim(1, -1)[labels != BACKGROUND]
    axes, shown = [], labels != BACKGROUND
    for axis, full in ((1, HEIGHT), (2, WIDTH)):
        size = labels.shape[axis]
        sampled = ((np.arange(size) + 0.5) * full / size).astype(int)  # as `nearest_scale` does
        position = np.interp(np.arange(full), sampled, np.arange(size))
        axes.append(torch.from_numpy(position * 2 / (size - 1) - 1).to(logits))
        below, above = (torch.from_numpy(end(position).astype(int)).to(logits.device) for end in (np.floor, np.ceil))
        shown = shown.index_select(axis, below) | shown.index_select(axis, above)
    frame, row, column = shown.nonzero(as_tuple=True)
    points = torch.stack([axes[1][column], axes[0][row]], dim=1).split(
        torch.bincount(frame, minlength=len(logits)).tolist()
    )
    values = torch.cat(
        [
            F.grid_sample(image[None], at[None, None], padding_mode="border", align_corners=True)[0, :, 0].T
            for image, at in zip(logits, points, strict=True)
        ]
    )  # (P, K)
    found = values.max(dim=1).indices.to(torch.uint8)
    labels = torch.zeros(shown.shape, dtype=torch.uint8, device=logits.device)
    labels[shown] = found
    return labels, values[found != BACKGROUND]
