"""Object dynamics: forecast objects, not pixels. A class id is an object's identity, and the physics is simple.

Past masks become components, components become tracks of one class each, outlines give poses (`perception`). An
ensemble of worlds follows the tracks (`filter`), moves on by fitted rigid-body physics (`physics`), and one mask is
decided (`decision`). `system` puts all of it together. `error_sources` replaces one stage after another by the truth,
and `image_plane` does without the camera. `learned` moves the objects by a trained network in place of the physics: the
interaction network, or a transformer over object tokens.
"""

from vidseg_utils.systems.object_dynamics.decision import decide_mask, decide_poses
from vidseg_utils.systems.object_dynamics.error_sources import (
    find_clear_collision,
    forecasts_from_masks,
    forecasts_from_truth,
    rollout_errors,
    state_error_table,
)
from vidseg_utils.systems.object_dynamics.image_plane import extrapolate_masks
from vidseg_utils.systems.object_dynamics.learned.system import DYNAMICS, LearnedObjectDynamics, TokenObjectDynamics
from vidseg_utils.systems.object_dynamics.learned.tokens import advance_with_tokens
from vidseg_utils.systems.object_dynamics.outlook import Outlook, forecast_ahead
from vidseg_utils.systems.object_dynamics.perception.outlines import measure_poses
from vidseg_utils.systems.object_dynamics.physics.annotated_states import seconds_per_frame, worlds_from_trajectories
from vidseg_utils.systems.object_dynamics.physics.rigid_body import advance
from vidseg_utils.systems.object_dynamics.system import ObjectDynamics, PixelClasses
from vidseg_utils.systems.object_dynamics.training import load_constants, train_physics

__all__ = [
    "DYNAMICS",
    "LearnedObjectDynamics",
    "ObjectDynamics",
    "Outlook",
    "PixelClasses",
    "TokenObjectDynamics",
    "advance",
    "advance_with_tokens",
    "decide_mask",
    "decide_poses",
    "extrapolate_masks",
    "find_clear_collision",
    "forecast_ahead",
    "forecasts_from_masks",
    "forecasts_from_truth",
    "load_constants",
    "measure_poses",
    "rollout_errors",
    "seconds_per_frame",
    "state_error_table",
    "train_physics",
    "worlds_from_trajectories",
]
