"""The ground and the objects as rigid bodies of a MuJoCo model.

MuJoCo has no restitution, so a bounce is a stiff damped spring. Todorov et al., MuJoCo (IROS 2012), and its manual.
"""

import copy
import functools
import math

import numpy as np
from jaxtyping import Float
from mujoco import MjData, MjModel, mj_setConst  # pyright: ignore[reportAttributeAccessIssue]  # mujoco has no type stubs

from vidseg_utils.classes import SHAPES
from vidseg_utils.simulator.bounce import CONTACT_FREQUENCY
from vidseg_utils.simulator.settings import PhysicsSettings
from vidseg_utils.world.solids import INERTIA, OBJECT_RADIUS

# Seconds in which the ground yields to a weight. Less than four coarse physics steps would make objects rock at rest.
GROUND_RESPONSE_SECONDS = 0.03
ROCKING_DAMPING = 10.0  # 1 / s, about the horizontal axes of cubes and cylinders
INSCRIBED_HALF_SIDE = OBJECT_RADIUS / 2**0.5  # of the square inside a cylinder's rim, world units
DRAWN_RESTITUTION = 0.5  # of a pair before its first touch, when each touch draws its own
GEOMS = {  # of each shape: the solid that touches the ground, and the one that touches other objects
    "cube": ('type="box" size="{radius} {radius} {radius}"',) * 2,
    "sphere": ('type="sphere" size="{radius}"',) * 2,
    "cylinder": ('type="box" size="{side} {side} {radius}"', 'type="sphere" size="{radius}"'),
}
# Rotation from a shape's own axes in CLEVRER to MuJoCo's: MuJoCo's cylinder stands along z, CLEVRER's along its own y.
OWN_AXES = {"cube": np.eye(3), "sphere": np.eye(3), "cylinder": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])}


@functools.lru_cache(maxsize=256)
def build_mujoco_model(shapes: tuple[str, ...], settings: PhysicsSettings) -> MjModel:
    """The ground and one free body of mass 1 for each shape. Body 0 is the world, body n + 1 is object n.

    A cylinder touches the ground as a box (the square inside its rim) and other objects as a sphere. While it stands,
    the contacts are the same. MuJoCo's own cylinders rock at rest, fall through the ground, and gain energy from
    corners of boxes.
    """
    restitution = DRAWN_RESTITUTION if settings.restitution is None else settings.restitution
    bounce = f'solref="{-(CONTACT_FREQUENCY**2)} {-_contact_damping(restitution)}" solimp="0.99 0.99 0.01"'
    bodies, pairs = [], []
    for n, shape in enumerate(shapes):
        foot, side = (geom.format(radius=OBJECT_RADIUS, side=INSCRIBED_HALF_SIDE) for geom in GEOMS[shape])
        inertia = " ".join(map(str, INERTIA[SHAPES.index(shape)].tolist()))
        bodies.append(
            f'<body><freejoint/><inertial pos="0 0 0" mass="1" diaginertia="{inertia}"/>'
            f'<geom name="foot{n}" {foot} contype="0" conaffinity="0"/>'
            f'<geom name="side{n}" {side} contype="0" conaffinity="0"/></body>'
        )
        friction = settings.sphere_friction if shape == "sphere" else settings.sliding_friction
        pairs.append(_contact_pair("ground", f"foot{n}", friction, f'solref="{GROUND_RESPONSE_SECONDS} 1"'))
        pairs += [_contact_pair(f"side{m}", f"side{n}", settings.contact_friction, bounce) for m in range(n)]
    model = MjModel.from_xml_string(
        f'<mujoco><option cone="elliptic" gravity="0 0 {-settings.gravity}"/><worldbody>'
        '<geom name="ground" type="plane" size="0 0 1" contype="0" conaffinity="0"/>'
        f"{''.join(bodies)}</worldbody><contact>{''.join(pairs)}</contact></mujoco>"
    )
    damping = model.dof_damping.reshape(len(shapes), 6)  # linear, then about the body's own x, y and z (upright)
    damping[:, :3] = settings.linear_drag  # the mass is 1
    damping[:, 3:5] = [[settings.angular_drag if shape == "sphere" else ROCKING_DAMPING] for shape in shapes]
    damping[:, 5] = settings.angular_drag
    damping[:, 3:] *= model.body_inertia[1:]
    return model


def with_masses(model: MjModel, masses: Float[np.ndarray, "N"]) -> MjModel:
    """A copy of the model whose bodies have these masses. Inertia and drag grow with the mass."""
    model = copy.copy(model)
    model.body_mass[1:] *= masses
    model.body_inertia[1:] *= masses[:, None]
    model.dof_damping[:] *= masses.repeat(6)
    mj_setConst(model, MjData(model))  # what the solver derives from the masses
    return model


def _contact_pair(first: str, second: str, friction: float, stiffness: str) -> str:
    contact = f'condim="3" friction="{friction} {friction} 0 0 0"' if friction > 0 else 'condim="1"'
    return f'<pair geom1="{first}" geom2="{second}" {contact} {stiffness}/>'


@functools.lru_cache(maxsize=64)
def _contact_damping(restitution: float) -> float:
    """Damping (1 / s) of a unit spring of CONTACT_FREQUENCY whose bounce returns `restitution` of the speed.

    The contact ends when its force is 0, before the dent is gone (Schwager and Poeschel, 2007, eq. 20). Found by
    bisection.
    """
    low, high = 0.0, 0.999  # of the critical damping
    for _ in range(50):
        ratio = (low + high) / 2
        omega = math.sqrt(1 - ratio**2)
        returned = math.exp(-ratio / omega * (math.pi - math.atan2(2 * ratio * omega, omega**2 - ratio**2)))
        low, high = (ratio, high) if returned > restitution else (low, ratio)
    return 2 * ratio * CONTACT_FREQUENCY
