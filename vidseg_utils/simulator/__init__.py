"""How videos move: a scene is drawn at random, rigid-body physics plays it, and statistics compare it with CLEVRER."""

from vidseg_utils.simulator.physics import BrokenRuleError, simulate, simulate_video
from vidseg_utils.simulator.scene import Scene, sample_scene
from vidseg_utils.simulator.settings import PhysicsSettings
from vidseg_utils.simulator.statistics import motion_statistics

__all__ = [
    "BrokenRuleError",
    "PhysicsSettings",
    "Scene",
    "motion_statistics",
    "sample_scene",
    "simulate",
    "simulate_video",
]
