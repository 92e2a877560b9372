"""Random damage to files, JSON values and folders: what the tests and benchmarks/reliability.py feed to the readers."""

import os
import random
import shutil
import struct
import zlib
from pathlib import Path


def mutate(content: bytes, rng: random.Random, *, first: int = 0, last: int | None = None) -> bytes:
    """Apply one to four small random changes, anywhere or between two offsets."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        end = len(data) if last is None else min(last, len(data))
        if end <= first:
            break
        offset, length = rng.randrange(first, end), rng.choice((1, 1, 2, 4, 16, 300))
        kind = rng.randrange(7)
        if kind == 0:
            data[offset] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[offset] = rng.choice((0, 1, 10, 32, 48, 57, 127, 128, 255))
        elif kind == 2:
            data[offset : offset + length] = rng.randbytes(length)
        elif kind == 3:
            del data[offset : offset + length]
        elif kind == 4:
            data[offset:offset] = rng.choice((bytes(length), data[offset : offset + length], rng.randbytes(length)))
        elif kind == 5:
            data[offset : offset + 4] = struct.pack(rng.choice("<>") + "I", rng.choice((0, 1, 255, 1 << 16, 2**32 - 1)))
        else:
            del data[offset:]
    return bytes(data)


def with_right_checksums(content: bytes) -> bytes:
    """Correct the checksums of a damaged PNG, so that it reaches the decoder."""
    out, offset = bytearray(content[:8]), 8
    while offset + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        chunk = content[offset + 4 : offset + 8 + length]
        out += struct.pack(">I", max(0, len(chunk) - 4)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        offset += 12 + length
    return bytes(out)


STRANGE = (None, True, -1, 0, 3, 10**400, 1e308, float("nan"), float("inf"), "", "red", "cube", "\ud800", [], {}, [[]],
           [1, 2], [None] * 3, [1e999] * 3, {"objects": []}, "9" * 5000, 3000, 400_000)  # fmt: skip


def mutate_value(value: object, rng: random.Random) -> object:
    """Replace, remove or duplicate something deep inside a JSON value."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(list(keys))
        action = rng.random()
        if action < 0.05:
            del value[key]
        elif action < 0.08 and isinstance(value, list):
            value.append(value[key])
        elif action < 0.1 and isinstance(value, dict):
            value[rng.choice(("x", "object_id", "shape"))] = value.pop(key)
        else:
            value[key] = mutate_value(value[key], rng)
        return value
    return rng.choice(STRANGE)


def damage_tree(path: Path, rng: random.Random) -> None:
    """Damage a file or folder of a data set: change bytes, delete it, move it, or replace it by something else."""
    kind = rng.randrange(5)
    if kind == 0 and path.is_file():
        path.write_bytes(mutate(path.read_bytes(), rng))
    elif kind == 1:
        path.rename(
            path.with_name(rng.choice(("image_3.png", "image_003.png", "mask.npy", "video_1", "video_01", "x")))
        )
    else:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if kind == 2:
            path.mkdir()
        elif kind == 3:
            path.symlink_to(rng.choice(("/nowhere", ".", path.name, "image_1.png", os.devnull)))
