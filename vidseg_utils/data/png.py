"""Frames on disk: 8-bit RGB PNG files, checked as they are read, so that a damaged file never yields an image.

Decoders miss some damage (Pillow ignores the checksum of the pixels), so every chunk's checksum is tested first.
Format: PNG specification, third edition, section 5.
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from vidseg_utils.data.faults import Fault, read_bytes

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 1 << 23  # of an image of unknown size; a street scene has 2 million
_COLOUR_TYPES = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}


def read_png(path: Path, *, height: int, width: int, greyscale: bool = False) -> np.ndarray:
    """(height, width, 3) uint8 RGB, or (height, width) uint8 if `greyscale`. Raises Fault that says what is wrong."""
    content = read_bytes(path, missing="missing image", unreadable="unreadable image")
    _check_chunks(content, path)
    file_width, file_height, depth, colour_type = struct.unpack(">IIBB", content[16:26])
    if (file_height, file_width) != (height, width):
        detail = f"{file_height}x{file_width} (height x width); expected {height}x{width}"
        raise Fault("wrong image size", path, detail)
    expected, shape = ("greyscale", (height, width)) if greyscale else ("RGB", (height, width, 3))
    colours = _COLOUR_TYPES.get(colour_type, str(colour_type))
    if colours != expected or depth != 8:
        raise Fault(f"image not {expected}", path, f"{depth}-bit {colours}; convert it to 8-bit {expected}")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except Exception as error:  # Pillow documents no exceptions for damaged files
        raise Fault("unreadable image", path, f"{type(error).__name__}: {error}") from None
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise Fault("unreadable image", path, f"decoded to {pixels.shape} {pixels.dtype}")
    return pixels


def png_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header. Raises Fault for a damaged file and for more than MAX_PIXELS."""
    content = read_bytes(path, missing="missing image", unreadable="unreadable image")
    _check_chunks(content, path)
    width, height = struct.unpack(">II", content[16:24])
    if not 0 < height * width <= MAX_PIXELS:
        raise Fault("wrong image size", path, f"{height}x{width} (height x width); more than {MAX_PIXELS} pixels")
    return height, width


def _check_chunks(content: bytes, path: Path) -> None:
    """Raise Fault unless the chunks are complete, begin with IHDR, end with IEND and have correct checksums."""
    if not content.startswith(SIGNATURE):
        raise Fault("unreadable image", path, "not a PNG file")
    offset, view, names = len(SIGNATURE), memoryview(content), []
    while not names or names[-1] != b"IEND":
        if offset + 12 > len(content):
            raise Fault("unreadable image", path, f"cut off after {len(content)} bytes")
        (length,) = struct.unpack_from(">I", content, offset)
        end = offset + 8 + length
        if end + 4 > len(content):
            raise Fault("unreadable image", path, f"cut off after {len(content)} bytes")
        name = bytes(view[offset + 4 : offset + 8])
        if zlib.crc32(view[offset + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise Fault("unreadable image", path, f"bad checksum at byte {offset}")
        if not names and (name, length) != (b"IHDR", 13):
            raise Fault("unreadable image", path, "no PNG header")
        if names and name == b"IHDR":  # decoders take the size from the last one, which nobody has checked
            raise Fault("unreadable image", path, f"a second header at byte {offset}")
        names.append(name)
        offset = end + 4


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W, 3) uint8 pixels: each value minus its left neighbour, Huffman coded, in 1 ms a frame.

    Other filters of PNG, and its search for repetitions, save no space in images with sensor noise.
    """
    height, width, _ = pixels.shape
    differences = pixels.copy(order="K")  # keeps the memory layout, which may be channel by channel
    differences[:, 1:] -= pixels[:, :-1]
    rows = np.ones((height, 1 + 3 * width), dtype=np.uint8)  # the first byte of a row is its filter; 1 is "Sub"
    rows[:, 1:].reshape(height, width, 3)[...] = differences
    coder = zlib.compressobj(level=1, strategy=zlib.Z_HUFFMAN_ONLY)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8-bit RGB, not interlaced
    chunks = (b"IHDR", header), (b"IDAT", coder.compress(rows.data) + coder.flush()), (b"IEND", b"")
    with path.open("wb") as file:
        file.write(SIGNATURE)
        for name, content in chunks:
            file.write(struct.pack(">I", len(content)) + name + content)
            file.write(struct.pack(">I", zlib.crc32(name + content)))
