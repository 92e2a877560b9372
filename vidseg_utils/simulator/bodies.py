"""Floor and objects as rigid bodies, for MuJoCo.

MuJoCo has no restitution: a bounce is a stiff damped spring. Todorov et al., MuJoCo (IROS 2012), and its manual.
"""

import functools
import math

import mujoco
import numpy as np

from vidseg_utils.simulator.settings import PhysicsSettings
from vidseg_utils.world.solids import OBJECT_RADIUS

CONTACT_FREQUENCY = 250.0  # radians a second: a bounce lasts about 12 ms and dents 0.01 units
FLOOR_SECONDS = 0.03  # in which the floor gives; less than four large steps makes objects rock by themselves
ROCKING_DAMPING = 10.0  # 1 / s, of what stands
HALF_WIDTH = {"cube": 2**0.5 * OBJECT_RADIUS, "sphere": OBJECT_RADIUS, "cylinder": OBJECT_RADIUS}  # the widest
INSCRIBED = OBJECT_RADIUS / 2**0.5  # half the side of the square in a cylinder's rim
GEOMS = {  # of each shape: what touches the floor, and what touches other objects
    "cube": ('type="box" size="{r} {r} {r}"',) * 2,
    "sphere": ('type="sphere" size="{r}"',) * 2,
    "cylinder": ('type="box" size="{s} {s} {r}"', 'type="sphere" size="{r}"'),
}
INERTIA = {  # of mass 1
    "cube": (2 / 3 * OBJECT_RADIUS**2,) * 3,
    "sphere": (2 / 5 * OBJECT_RADIUS**2,) * 3,
    "cylinder": (7 / 12 * OBJECT_RADIUS**2, 7 / 12 * OBJECT_RADIUS**2, OBJECT_RADIUS**2 / 2),
}
# MuJoCo's cylinder stands along its z, CLEVRER's along its own y
OWN_AXES = {"cube": np.eye(3), "sphere": np.eye(3), "cylinder": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])}


@functools.lru_cache(maxsize=256)
def build_model(shapes: tuple[str, ...], settings: PhysicsSettings) -> mujoco.MjModel:
    """A floor and one free body a shape, of mass 1; body 0 is the world, body n + 1 is object n.

    A cylinder stands on the square in its rim and meets others as a ball: upright, that is the same contact. MuJoCo's
    own cylinders rock by themselves, fall through the floor, and gain energy from corners of boxes.
    """
    bounce = f'solref="{-(CONTACT_FREQUENCY**2)} {-_contact_damping(settings.restitution)}" solimp="0.99 0.99 0.01"'
    bodies, pairs = [], []
    for n, shape in enumerate(shapes):
        foot, side = (geom.format(r=OBJECT_RADIUS, s=INSCRIBED) for geom in GEOMS[shape])
        bodies.append(
            f'<body><freejoint/><inertial pos="0 0 0" mass="1" diaginertia="{" ".join(map(str, INERTIA[shape]))}"/>'
            f'<geom name="foot{n}" {foot} contype="0" conaffinity="0"/>'
            f'<geom name="side{n}" {side} contype="0" conaffinity="0"/></body>'
        )
        friction = settings.sphere_friction if shape == "sphere" else settings.sliding_friction
        pairs.append(_pair("floor", f"foot{n}", friction, f'solref="{FLOOR_SECONDS} 1"'))
        pairs += [_pair(f"side{m}", f"side{n}", settings.contact_friction, bounce) for m in range(n)]
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><option cone="elliptic" gravity="0 0 {-settings.gravity}"/><worldbody>'
        '<geom name="floor" type="plane" size="0 0 1" contype="0" conaffinity="0"/>'
        f"{''.join(bodies)}</worldbody><contact>{''.join(pairs)}</contact></mujoco>"
    )
    damping = model.dof_damping.reshape(len(shapes), 6)  # linear, then about the body's own x, y and z (upright)
    damping[:, :3] = settings.linear_drag  # the mass is 1
    damping[:, 3:5] = [[settings.angular_drag if shape == "sphere" else ROCKING_DAMPING] for shape in shapes]
    damping[:, 5] = settings.angular_drag
    damping[:, 3:] *= model.body_inertia[1:]
    return model


def _pair(first: str, second: str, friction: float, stiffness: str) -> str:
    contact = f'condim="3" friction="{friction} {friction} 0 0 0"' if friction > 0 else 'condim="1"'
    return f'<pair geom1="{first}" geom2="{second}" {contact} {stiffness}/>'


@functools.lru_cache(maxsize=64)
def _contact_damping(restitution: float) -> float:
    """Damping (1 / s) of a unit spring of CONTACT_FREQUENCY whose bounce returns `restitution` of the speed.

    The contact ends when its force is 0, before the dent has gone (Schwager and Poeschel, 2007, eq. 20).
    """
    low, high = 0.0, 0.999  # of critical
    for _ in range(50):
        ratio = (low + high) / 2
        omega = math.sqrt(1 - ratio**2)
        returned = math.exp(-ratio / omega * (math.pi - math.atan2(2 * ratio * omega, omega**2 - ratio**2)))
        low, high = (ratio, high) if returned > restitution else (low, ratio)
    return 2 * ratio * CONTACT_FREQUENCY
