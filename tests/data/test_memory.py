"""No single bad input takes 1 GB of memory: sizes are looked at before anything is allocated."""

import json
import struct
import subprocess
import sys
import zipfile
import zlib

import av
import numpy as np
import pytest

from vidseg_utils.data.png import SIGNATURE
from vidseg_utils.models import build_model
from vidseg_utils.training.weights import save_model

pytest.importorskip("resource")
MOST_MB = 1000

SCRIPT = """
import resource, sys
import torch  # importing it takes some hundred MB
from vidseg_utils.{module} import {function} as read
from pathlib import Path
unit = 1024 if sys.platform == "linux" else 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(read({arguments}))
except ValueError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit // 10**6)
"""


def read_in_a_process(module, function, arguments):
    """What the function prints or says, after a check of its memory."""
    script = SCRIPT.format(module=module, function=function, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    text, taken_mb = done.stdout.rsplit("\n", 2)[:2]
    assert int(taken_mb) < MOST_MB
    return text


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def ihdr(height, width):
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def test_a_png_with_a_second_header(tmp_path):
    path, pixels = tmp_path / "image.png", zlib.compress(bytes(30_000 * 3 * 1000))
    path.write_bytes(
        SIGNATURE + ihdr(160, 240) + ihdr(25_000, 30_000) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    )
    said = read_in_a_process("data.png", "read_png", f"Path({str(path)!r}), height=160, width=240")
    assert "image.png: unreadable image (a second header at byte 33)" in said


def test_a_png_of_any_size_that_says_that_it_is_huge(tmp_path):
    path = tmp_path / "label.png"
    path.write_bytes(SIGNATURE + ihdr(60_000, 60_000) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""))
    assert "60000x60000" in read_in_a_process("data.png", "png_size", f"Path({str(path)!r})")


def test_a_video_of_a_huge_size(tmp_path):
    path = tmp_path / "video_0.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 7680, 5120, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((5120, 7680, 3), np.uint8), format="rgb24")
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    said = read_in_a_process("data.sources.clevrer_video", "decode_video", f"Path({str(path)!r})")
    assert said == "video_0.mp4 is 5120x7680 (height x width); expected 320x480 or 160x240"


def test_an_annotation_of_very_many_frames(tmp_path):
    path = tmp_path / "annotation.json"
    properties = [
        {"object_id": n, "shape": "cube", "material": ("metal", "rubber")[n // 8], "color": colour}
        for n, colour in enumerate(["gray", "red", "blue", "green", "brown", "cyan", "purple", "yellow"] * 2)
    ]
    motion = [{"objects": []}] * 400_000
    path.write_text(json.dumps({"object_property": properties, "motion_trajectory": motion, "collision": []}))
    said = read_in_a_process("world", "read_annotation", f"Path({str(path)!r})")
    assert "400000 frames; at most 10000 are read" in said


def test_a_json_file_of_any_size(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"a": [' + "[]," * 20_000_000 + "0]}")
    assert "a JSON file of this package has at most 32 MB" in read_in_a_process("paths", "read_json", f"{str(path)!r}")


def test_an_archive_entry_that_is_larger_than_it_says(tmp_path):
    path, name, n_bytes = tmp_path / "archive.zip", "train/video_0/image_0.png", 2_000_000_000
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as entry,
    ):
        for _ in range(n_bytes // 10_000_000):
            entry.write(bytes(10_000_000))
    content = bytearray(path.read_bytes())
    position = content.rfind(b"PK\x01\x02")
    assert struct.unpack_from("<I", content, position + 24)[0] == n_bytes
    struct.pack_into("<I", content, position + 24, 1000)
    path.write_bytes(content)
    said = read_in_a_process(
        "data.sources.course_archive", "import_archive", f"{str(path)!r}, {str(tmp_path / 'set')!r}, progress=False"
    )
    assert "1 are damaged and left out" in said
    assert "Bad CRC-32" in said


def test_an_archive_with_a_huge_list_of_entries(tmp_path):
    path = tmp_path / "archive.zip"
    n_bytes = 300_000_000
    with path.open("wb") as file:
        file.truncate(n_bytes)
        file.seek(n_bytes)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, n_bytes, 0, 0))
    said = read_in_a_process(
        "data.sources.course_archive", "import_archive", f"{str(path)!r}, {str(tmp_path / 'set')!r}"
    )
    assert "is refused: its list of entries has 300 MB" in said


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"base_channels": 3000}, "bytes of weights and weights.safetensors has"),
        ({"base_channels": 10**9}, "a setting is 1000000000; at most 10000 is possible"),
    ],
)
def test_a_run_whose_model_is_larger_than_its_weights(tmp_path, config, message):
    save_model(tmp_path / "run", build_model("unet", base_channels=4), name="unet", config=config)
    said = read_in_a_process("training", "load_model", f"{str(tmp_path / 'run')!r}")
    assert "config.json describes a model that cannot be built" in said
    assert message in said
