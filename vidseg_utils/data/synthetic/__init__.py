"""Videos of our own: scenes, rigid bodies, pictures and the course folders that hold them."""

from vidseg_utils.data.synthetic.physics import BrokenRuleError, simulate, simulate_video
from vidseg_utils.data.synthetic.scene import Scene, sample_scene
from vidseg_utils.data.synthetic.video import make_video
from vidseg_utils.data.synthetic.world import PhysicsSettings
from vidseg_utils.data.synthetic.write import generate

__all__ = [
    "BrokenRuleError",
    "PhysicsSettings",
    "Scene",
    "generate",
    "make_video",
    "sample_scene",
    "simulate",
    "simulate_video",
]
