"""Which objects look as in the frame before: those at rest, unless they are metal and mirror one that moves."""

from vidseg_utils.renderer.kernels.compiling import inner

# Poses that differ by less, in world units and in entries of the rotation matrix (about radians), count as one: this is
# less than a twentieth of a pixel.
SAME_POSITION, SAME_ROTATION = 5e-4, 2e-3
MIRRORED_TOLERANCE = 10.0  # times as much for an object that is seen in a mirror only
MIRROR_REACH = 1.0  # world units between two objects' centres; mirror images of objects farther away are left out


@inner
def has_moved(positions, rotations, start, t, i, tolerance):
    """Whether object i has another pose in frame t than in frame `start`; yes if it is absent."""
    for row in range(3):
        if not abs(positions[t, i, row] - positions[start, i, row]) < tolerance * SAME_POSITION:  # or NaN
            return True
        for column in range(3):
            if not abs(rotations[t, i, row, column] - rotations[start, i, row, column]) < tolerance * SAME_ROTATION:
                return True
    return False


@inner
def is_near(positions, t, i, other):
    """Whether metal object i may mirror the other one in frame t."""
    squared = 0.0
    for axis in range(3):
        step = positions[t, i, axis] - positions[t, other, axis]
        squared += step * step
    return i != other and squared < MIRROR_REACH**2


@inner
def mirrors_a_change(positions, rotations, t, i, starts):
    """Whether what metal object i mirrors has changed in frame t.

    starts: (N,) frame since which each other object has its pose, or is not near; brought up to date
    """
    changed = False
    for other in range(len(starts)):
        near, was_near = is_near(positions, t, i, other), is_near(positions, starts[other], i, other)
        if near != was_near or (near and has_moved(positions, rotations, starts[other], t, other, MIRRORED_TOLERANCE)):
            starts[other] = t
            changed = True
    return changed
