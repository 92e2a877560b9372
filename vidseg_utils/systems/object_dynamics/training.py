"""The physics constants of a workspace: fitted to the training videos, kept in a run folder, and loaded from it.

Annotations are used where there are any. Otherwise the objects' tracks are measured in the masks.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from vidseg_utils.data import SplitCache, check_labels, dataset_identity
from vidseg_utils.data.label_estimate import estimate_from_root
from vidseg_utils.paths import write_json
from vidseg_utils.progress import ProgressBar
from vidseg_utils.run_folders import CONFIG, TRAINED_ON
from vidseg_utils.systems.object_dynamics.perception.class_assignment import assign_track_classes
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks, build_tracks
from vidseg_utils.systems.object_dynamics.physics.annotated_states import tracks_from_trajectory
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.fitting import fit_constants
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import CLIP_FRAMES
from vidseg_utils.training.retraining import claim_or_replace, locked_unless_finished
from vidseg_utils.training.run_folder import (
    CONSTANTS,
    FITTED_TO,
    FITTED_VIDEOS,
    file_sha256,
    finish,
    is_finished,
    note_run,
    read_config,
    trained_file,
)
from vidseg_utils.training.shipped import is_shipped
from vidseg_utils.world import EXACT_LABELS, LabelOffset
from vidseg_utils.world.trajectory import Trajectory

MAX_VIDEOS = 500  # videos of a fit; more do not change the result
CLIPS_PER_PART = 16  # clips that are measured together
# Pixels of a 240 x 160 mask, beyond two standard errors: a smaller label offset is not told from none.
MIN_OFFSET_PX = 0.1


def train_physics(workspace: Workspace, *, run: str = "rigid_body_physics", progress: bool = True) -> PhysicsConstants:
    """Fit the constants to the training split, or read them if the run is finished or shipped.

    Raises ValueError, with the cure, where the training videos have neither annotations nor masks of moving objects.
    """
    folder = workspace.run_folder(run)
    if is_shipped(folder):
        return load_constants(workspace, run=run)
    settings = {"task": "object dynamics", "profile": workspace.profile.name}
    settings |= {TRAINED_ON: dataset_identity(workspace.root)}
    with locked_unless_finished(folder):
        claim_or_replace(folder, settings, defaults={})
        if not is_finished(folder):
            constants, source, count = fit_to_videos(workspace, progress=progress)
            constants.to_json(folder / CONSTANTS)
            write_json(folder / CONFIG, read_config(folder) | {FITTED_TO: source, FITTED_VIDEOS: count})
            finish(folder, sha256=file_sha256(folder / CONSTANTS))
    return load_constants(workspace, run=run)


def load_constants(workspace: Workspace, *, run: str = "rigid_body_physics") -> PhysicsConstants:
    """The constants that `train_physics` left. Raises ValueError, with the cure, where they are missing or damaged."""
    folder = workspace.run_folder(run)
    constants = PhysicsConstants.from_json(trained_file(folder, CONSTANTS))
    note_run(constants, folder)
    return constants


def fit_to_videos(workspace: Workspace, *, progress: bool = True) -> tuple[PhysicsConstants, str, int]:
    """Fit the constants to the training split; also returns "annotations" or "masks", and how many videos were used."""
    split = workspace.split("train")
    offset = find_label_offset(workspace.root)
    annotations = list(islice(_annotations(split), MAX_VIDEOS))
    if annotations:
        source, count, tracks = "annotations", len(annotations), map(tracks_from_trajectory, annotations)
    else:
        check_labels(split, frames=range(CLIP_FRAMES))
        source, count = "masks", min(len(split), MAX_VIDEOS)
        tracks = measure_tracks(split, offset, count=count, progress=progress)
    constants = fit_constants(tracks, progress=progress)
    shifts = {"label_shift_x": offset.x, "label_shift_y": offset.y, "label_fatness": offset.fatness}
    return replace(constants, **shifts), source, count


def load_training_trajectories(workspace: Workspace) -> list[Trajectory]:
    """The annotations of the training videos. Raises ValueError, with the cure, where there are none."""
    check_annotations(workspace)
    return list(_annotations(workspace.split("train")))


def check_annotations(workspace: Workspace) -> None:
    """Raise ValueError, with the cure, if no training video has an annotation."""
    if next(_annotations(workspace.split("train")), None) is None:
        raise ValueError(
            f"the training videos in {workspace.root} have no annotation.json, to which learned object dynamics is "
            "fitted; generate or import videos (`vidseg data generate --help`), or train object_dynamics, which needs "
            "no annotations"
        )


def _annotations(split: SplitCache) -> Iterator[Trajectory]:
    annotations = (split.annotation(index) for index in range(len(split)))
    return (trajectory for trajectory in annotations if trajectory is not None)


def measure_tracks(split: SplitCache, offset: LabelOffset, *, count: int, progress: bool = True) -> Iterator[Tracks]:
    """The tracks of the first `count` videos, a few videos at a time. offset: of the masks against the exact ones."""
    masks = split.masks
    assert masks is not None  # a labelled split has masks
    with ProgressBar(desc="measure objects", total=count, unit="video", disable=not progress) as bar:
        for start in range(0, count, CLIPS_PER_PART):
            part = assign_track_classes(np.array(masks[start : min(start + CLIPS_PER_PART, count)]), offset=offset)
            yield build_tracks(measure_poses(part, offset=offset), clips=len(part), frames=part.shape[1])
            bar.update(len(part))


def find_label_offset(root: Path) -> LabelOffset:
    """How the labels of a data set lie against the exact masks; exact where no offset is clearly seen."""
    estimate = estimate_from_root(root)
    if estimate is None:
        return EXACT_LABELS
    offset, error = estimate.offset, estimate.standard_error
    numbers = ((offset.x, error.x), (offset.y, error.y), (offset.fatness, error.fatness))
    if all(abs(value) < MIN_OFFSET_PX + 2 * sigma for value, sigma in numbers):
        return EXACT_LABELS
    return replace(offset, fatness=max(offset.fatness, 0.0))
