"""How videos move: a scene is drawn at random, rigid-body physics plays it, and statistics compare it with CLEVRER."""

from vidseg_utils.simulator.bounce_statistics import measure_bounces
from vidseg_utils.simulator.physics import BrokenRuleError, simulate, simulate_video
from vidseg_utils.simulator.placed_scene import PlacedObject, objects_at_start, place_objects, simulate_objects
from vidseg_utils.simulator.scene import Scene, sample_scene
from vidseg_utils.simulator.settings import (
    FIRST_WORLD,
    WORLDS,
    PhysicsSettings,
    find_world,
    settings_of_record,
    world_name,
)
from vidseg_utils.simulator.statistics import motion_statistics

__all__ = [
    "FIRST_WORLD",
    "WORLDS",
    "BrokenRuleError",
    "PhysicsSettings",
    "PlacedObject",
    "Scene",
    "find_world",
    "measure_bounces",
    "motion_statistics",
    "objects_at_start",
    "place_objects",
    "sample_scene",
    "settings_of_record",
    "simulate",
    "simulate_objects",
    "simulate_video",
    "world_name",
]
