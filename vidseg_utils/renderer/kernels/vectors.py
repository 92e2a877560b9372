"""Arithmetic with vectors, tuples of three numbers, and with matrices, tuples of their three rows."""

from math import sqrt

from vidseg_utils.renderer.kernels.compiling import inner


@inner
def clamp(x, low, high):
    """The value, or the nearer limit; the lower one for NaN, so that an index never lies outside of a table."""
    return min(max(low, x), high)


@inner
def smoothstep(x):
    """0 below 0, 1 above 1, smooth in between."""
    x = clamp(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


@inner
def dot(a, b):
    """Inner product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inner
def scaled(a, factor):
    """The vector times a number."""
    return a[0] * factor, a[1] * factor, a[2] * factor


@inner
def product(a, b):
    """Product of each two entries, such as those of a light and a colour."""
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


@inner
def along_ray(origin, depth, direction):
    """The point of a ray at that depth."""
    return origin[0] + depth * direction[0], origin[1] + depth * direction[1], origin[2] + depth * direction[2]


@inner
def difference(a, b):
    """The vector from b to a."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@inner
def unit(a):
    """The vector scaled to length 1."""
    return scaled(a, 1 / sqrt(max(dot(a, a), 1e-12)))


@inner
def mirrored(direction, normal):
    """The direction in which a mirror with that unit normal sends light on."""
    return along_ray(direction, -2 * dot(direction, normal), normal)


@inner
def clipped(light):
    """Each channel clipped to 0..1."""
    return clamp(light[0], 0.0, 1.0), clamp(light[1], 0.0, 1.0), clamp(light[2], 0.0, 1.0)


@inner
def vector(array):
    """The three entries of an array as a tuple, which the compiler can keep in registers."""
    return array[0], array[1], array[2]


@inner
def matrix(array):
    """The three rows of an array (3, 3) as a tuple of tuples."""
    return (
        (array[0, 0], array[0, 1], array[0, 2]),
        (array[1, 0], array[1, 1], array[1, 2]),
        (array[2, 0], array[2, 1], array[2, 2]),
    )


@inner
def times(matrix, v):
    """A matrix times a vector; with a rotation, from the object's own frame to the world."""
    return dot(matrix[0], v), dot(matrix[1], v), dot(matrix[2], v)


@inner
def transposed_times(matrix, v):
    """The transposed matrix times a vector; with a rotation, from the world to the object's own frame."""
    return along_ray(along_ray(scaled(matrix[0], v[0]), v[1], matrix[1]), v[2], matrix[2])
