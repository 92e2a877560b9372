"""mask.npy: the class ids of a video's 22 frames, read strictly: no pickles, no other types, nothing cut off.

Only what numpy.save writes for a plain array is let in. Format: numpy.lib.format, versions 1.0 and 2.0.
"""

import io
import re
from pathlib import Path

import numpy as np

from vidseg_utils.classes import IGNORE_INDEX, N_CLASSES
from vidseg_utils.data.faults import Fault, read_bytes

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{'descr': '([!-&(-~]{1,20})', "  # printable, no quote
    rb"'fortran_order': (True|False), 'shape': \(([0-9, ]{0,99})\), \} *\n"
)


def read_mask_file(path: Path, *, shape: tuple[int, int, int]) -> np.ndarray:
    """`shape` (frames, height, width) uint8 class ids; values that are no class (49 and more) become 255.

    Raises Fault for a file that is missing, unreadable, pickled, or of another type or shape.
    """
    masks = read_raw_mask_file(path, shape=shape)
    masks[masks >= N_CLASSES] = IGNORE_INDEX
    return masks


def read_raw_mask_file(path: Path, *, shape: tuple[int, int, int]) -> np.ndarray:
    """`read_mask_file` with the values as they are in the file."""
    content = read_bytes(path, missing="missing mask", unreadable="unreadable mask")
    descr, fortran, found_shape, start = _parse_header(content, path)
    if "O" in descr:
        raise Fault("pickled mask", path, "holds Python objects; save it as numpy uint8")
    if descr not in ("|u1", "<u1", ">u1", "=u1"):
        raise Fault("wrong mask dtype", path, f"{descr}; expected uint8 (|u1)")
    if found_shape != shape:
        fewer = found_shape[1:] == shape[1:] and found_shape[0] < shape[0]
        raise Fault("too few mask frames" if fewer else "wrong mask shape", path, f"{found_shape}; expected {shape}")
    values = np.frombuffer(content, dtype=np.uint8, offset=start)
    if values.size != np.prod(shape):
        raise Fault("unreadable mask", path, f"{values.size} values; its shape needs {np.prod(shape)}")
    return values.reshape(shape, order="F" if fortran else "C").copy(order="C")


def _parse_header(content: bytes, path: Path) -> tuple[str, bool, tuple[int, ...], int]:
    """(type, Fortran order, shape, place of the first value)."""
    if not content.startswith(_MAGIC):
        if content[:1] == b"\x80":
            raise Fault("pickled mask", path, "a pickle can run code, so it is not opened; save it with numpy.save")
        raise Fault("unreadable mask", path, "not an array written by numpy.save")
    width = {1: 2, 2: 4}.get(content[6] if len(content) > 6 else 0, 0)  # bytes of the header's length
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    header = _HEADER.fullmatch(content[8 + width : start]) if width and start <= len(content) else None
    if header is None:
        raise Fault("unreadable mask", path, "its header is not one of numpy.save")
    shape = tuple(int(n) for n in header[3].split(b",") if n.strip().isdigit())
    return header[1].decode("latin-1"), header[2] == b"True", shape, start


def write_mask_file(path: Path, masks: np.ndarray) -> None:
    """Write masks as numpy.save does, which itself would not say that the disk is full."""
    content = io.BytesIO()
    np.save(content, masks)
    path.write_bytes(content.getbuffer())
