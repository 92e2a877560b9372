"""mask.npy: the class ids of a video's 22 frames, checked as it is read: no pickles, no other types, not cut short.

Only files that numpy.save writes for a plain array are accepted. Format: numpy.lib.format, versions 1.0 and 2.0.
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
    """`shape` (frames, height, width) uint8 class ids; values above 48, which are no class, become 255.

    Raises Fault for a file that is missing, unreadable, pickled, or of another type or shape.
    """
    masks = read_raw_mask_file(path, shape=shape)
    masks[masks >= N_CLASSES] = IGNORE_INDEX
    return masks


def read_raw_mask_file(path: Path, *, shape: tuple[int, int, int]) -> np.ndarray:
    """Like `read_mask_file`, but with the values as they are in the file."""
    content = read_bytes(path, missing="missing mask", unreadable="unreadable mask")
    descr, fortran_order, file_shape, offset = _parse_header(content, path)
    if "O" in descr:
        raise Fault("pickled mask", path, "holds Python objects; save it as numpy uint8")
    if descr not in ("|u1", "<u1", ">u1", "=u1"):
        raise Fault("wrong mask dtype", path, f"{descr}; expected uint8 (|u1)")
    if file_shape != shape:
        fewer = file_shape[1:] == shape[1:] and file_shape[0] < shape[0]
        raise Fault("too few mask frames" if fewer else "wrong mask shape", path, f"{file_shape}; expected {shape}")
    values = np.frombuffer(content, dtype=np.uint8, offset=offset)
    if values.size != np.prod(shape):
        raise Fault("unreadable mask", path, f"{values.size} values; its shape needs {np.prod(shape)}")
    return values.reshape(shape, order="F" if fortran_order else "C").copy(order="C")


def _parse_header(content: bytes, path: Path) -> tuple[str, bool, tuple[int, ...], int]:
    """(type, Fortran order, shape, byte offset of the first value)."""
    if not content.startswith(_MAGIC):
        if content[:1] == b"\x80":
            raise Fault("pickled mask", path, "a pickle can run code, so it is not opened; save it with numpy.save")
        raise Fault("unreadable mask", path, "not an array written by numpy.save")
    version = content[6] if len(content) > 6 else 0
    length_bytes = {1: 2, 2: 4}.get(version, 0)  # bytes that hold the header's length
    start = 8 + length_bytes
    offset = start + int.from_bytes(content[8:start], "little")
    header = _HEADER.fullmatch(content[start:offset]) if length_bytes and offset <= len(content) else None
    if header is None:
        raise Fault("unreadable mask", path, "its header is not one of numpy.save")
    shape = tuple(int(n) for n in header[3].split(b",") if n.strip().isdigit())
    return header[1].decode("latin-1"), header[2] == b"True", shape, offset


def write_mask_file(path: Path, masks: np.ndarray) -> None:
    """Write masks as numpy.save does. Unlike numpy.save, it raises OSError when the disk is full."""
    content = io.BytesIO()
    np.save(content, masks)
    path.write_bytes(content.getbuffer())
