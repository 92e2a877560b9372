"""Videos of our own: scenes, rigid bodies, pictures and the course folders that hold them."""

from vidseg_utils.data.synthetic.physics import simulate, simulate_video
from vidseg_utils.data.synthetic.scene import PhysicsSettings, Scene, sample_scene
from vidseg_utils.data.synthetic.write import generate, make_video

__all__ = ["PhysicsSettings", "Scene", "generate", "make_video", "sample_scene", "simulate", "simulate_video"]
