"""Object dynamics: a class id is an identity and physics is simple, so forecast objects, not pixels.

`patches` and `voting` give each object one class; `cracks` and `outline` read places off masks, `tracks` sorts them by
object, `tracking` follows them through the past; `planar` and `contact` are the physics, `fitting` finds its constants;
`choice` decides, `silhouette` draws, `system` is all of it. `learning` trains a network to move objects in place of the
physics, `rollout` lets it, `learned` is that system. `ladder` replaces one stage after another by the truth, and
`picture_plane` does without the camera.
"""

from vidseg_utils.systems.object_dynamics.learned.system import LearnedObjectDynamics
from vidseg_utils.systems.object_dynamics.system import ObjectDynamics, train_physics

__all__ = ["LearnedObjectDynamics", "ObjectDynamics", "train_physics"]
