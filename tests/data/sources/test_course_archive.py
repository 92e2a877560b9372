"""Archives are unpacked from any folder, refused when they could do harm, and resumed; damage is reported."""

import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import full_disk, make_frames, write_split
from vidseg_utils.data.layout import list_videos, read_frames
from vidseg_utils.data.sources import course_archive as archive_module
from vidseg_utils.data.sources.course_archive import import_archive


@pytest.fixture
def zipped(tmp_path):
    """(zip file, folder to unpack to): two videos inside a top folder, and files outside the course layout."""
    write_split(tmp_path / "source", "train", [0])
    write_split(tmp_path / "source", "hidden", [15000])
    path = tmp_path / "course.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for source in sorted((tmp_path / "source").rglob("*.*")):
            file.write(source, f"Dataset_Student/{source.relative_to(tmp_path / 'source')}")
        file.writestr("Dataset_Student/README.txt", "hello")
        file.writestr("__MACOSX/Dataset_Student/train/video_0/._image_0.png", "x")
    return path, tmp_path / "out"


def test_the_files_are_unpacked_into_the_course_layout(zipped):
    path, out = zipped
    report = import_archive(path, out, progress=False)
    assert (report.unpacked, report.not_in_layout, report.damaged) == (23 + 11, 2, {})
    np.testing.assert_array_equal(read_frames(list_videos(out, "train")[0]), make_frames(0))
    assert "34 files unpacked" in str(report)


def test_a_second_call_unpacks_only_missing_files(zipped):
    path, out = zipped
    import_archive(path, out, progress=False)
    (out / "train" / "video_0" / "image_3.png").unlink()
    (out / "train" / "video_0" / "mask.npy").write_bytes(b"half")
    report = import_archive(path, out, progress=False)
    assert (report.unpacked, report.already_present) == (2, 32)


def _damage(path, name, at=200):
    """Flip one byte inside an entry's data."""
    with zipfile.ZipFile(path) as file:
        offset = file.getinfo(name).header_offset
    content = bytearray(path.read_bytes())
    name_length, extra_length = struct.unpack_from("<HH", content, offset + 26)
    content[offset + 30 + name_length + extra_length + at] ^= 0x55
    path.write_bytes(content)


def test_a_bad_checksum_is_reported_and_the_rest_unpacked(zipped):
    path, out = zipped
    _damage(path, "Dataset_Student/train/video_0/image_5.png")
    report = import_archive(path, out, progress=False)
    assert report.unpacked == 33
    assert list(report.damaged) == ["Dataset_Student/train/video_0/image_5.png"]
    assert "image_5.png" in str(report)
    assert not (out / "train" / "video_0" / "image_5.png").exists()
    assert "image_5.png" in (out / "import_report.json").read_text()


@pytest.mark.parametrize(
    "name",
    ["../train/video_0/image_0.png", "a/../../train/video_0/mask.npy", "/train/video_0/image_0.png",
     "C:/train/video_0/image_0.png", "..\\train\\video_0\\image_0.png", "\\\\host\\train\\video_0\\mask.npy"],
)  # fmt: skip
def test_paths_outside_the_folder_are_refused_before_anything_is_written(zipped, name):
    path, out = zipped
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(ValueError, match="would be written outside the folder"):
        import_archive(path, out, progress=False)
    assert not out.exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_are_refused(zipped, kind):
    path, out = zipped
    info = zipfile.ZipInfo("train/video_1/image_0.png")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link or a device"):
        import_archive(path, out, progress=False)
    assert not out.exists()


def test_zip_bombs_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("train/video_0/image_0.png", bytes(archive_module.MAX_ENTRY_BYTES + 1))
    with pytest.raises(ValueError, match="has 67108865 bytes"):
        import_archive(path, tmp_path / "out", progress=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for n in range(4):
            file.writestr(f"train/video_{n}/image_0.png", bytes(1 << 20))
    monkeypatch.setattr(archive_module, "SMALL_BYTES", 1 << 21)
    with pytest.raises(ValueError, match="times its size"):
        import_archive(path, tmp_path / "out", progress=False)
    monkeypatch.setattr(archive_module, "MAX_TOTAL_BYTES", 3 << 20)
    with pytest.raises(ValueError, match="it would unpack to"):
        import_archive(path, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_an_entry_larger_than_its_stated_size_is_not_unpacked_further(tmp_path):
    """The directory says 1000 bytes; 5 MB of zeros follow."""
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("train/video_0/image_0.png", bytes(5_000_000))
    content = path.read_bytes().replace(struct.pack("<I", 5_000_000), struct.pack("<I", 1000))
    path.write_bytes(content)
    report = import_archive(path, tmp_path / "out", progress=False)
    assert report.unpacked == 0
    assert len(report.damaged) == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_entry_that_could_be_unpacked_without_limit_is_left_out(tmp_path, method):
    """zipfile stops at the stated size only for stored and deflated entries."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("train/video_0/image_0.png", bytes(1000))
        file.writestr("train/video_0/image_1.png", b"x", compress_type=zipfile.ZIP_STORED)
    report = import_archive(path, tmp_path / "out", progress=False)
    assert report.unpacked == 1
    assert report.damaged == {
        "train/video_0/image_0.png": f"compressed by method {method}; only deflated entries are read"
    }


def test_a_mask_of_the_same_size_from_another_archive_is_unpacked(zipped, tmp_path):
    path, out = zipped
    import_archive(path, out, progress=False)
    before = (out / "train" / "video_0" / "mask.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "mended.zip", "w") as file:
        file.writestr("train/video_0/mask.npy", before[:-1] + b"\7")
    assert import_archive(tmp_path / "mended.zip", out, progress=False).unpacked == 1
    assert (out / "train" / "video_0" / "mask.npy").read_bytes() == before[:-1] + b"\7"


def test_only_temporary_files_of_a_killed_import_are_removed(zipped):
    path, out = zipped
    ours = out / "train" / "video_0" / ".image_3.0123abcd.tmp.png"
    other = out / "train" / ".notes.tmp"
    for file in (ours, other):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    import_archive(path, out, progress=False)
    assert (ours.exists(), other.exists()) == (False, True)


def test_two_entries_for_one_file_are_reported(zipped):
    path, out = zipped
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("again/train/video_0/image_0.png", b"other")
    report = import_archive(path, out, progress=False)
    assert list(report.damaged) == ["again/train/video_0/image_0.png"]
    assert (out / "train" / "video_0" / "image_0.png").stat().st_size > 5


def test_a_file_that_is_no_archive_gives_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.zip, and that is not the id"):
        import_archive(str(tmp_path / "absent.zip"), tmp_path / "out")
    (tmp_path / "text.zip").write_text("<html>quota exceeded</html>")
    with pytest.raises(ValueError, match="is not a zip archive that can be read"):
        import_archive(tmp_path / "text.zip", tmp_path / "out")


def test_an_archive_of_something_else_is_refused_before_anything_is_written(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("train/README.txt", "hello")
    with pytest.raises(ValueError, match=r"other\.zip holds no file of the course layout, such as train/video_0/image"):
        import_archive(tmp_path / "other.zip", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_too_little_room_is_one_line(zipped, monkeypatch):
    path, out = zipped
    monkeypatch.setattr(archive_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match=r"cannot write .*out: .* MB are needed and 0\.0 MB are free; .*it resumes"):
        import_archive(path, out, progress=False)


def test_a_disk_that_fills_while_unpacking_is_one_line(zipped):
    path, out = zipped
    with full_disk(300_000), pytest.raises(OSError, match=r"cannot write .*out.*too large.*it resumes"):
        import_archive(path, out, progress=False)
    assert import_archive(path, out, progress=False).already_present > 0


def test_a_drive_id_is_fetched_and_resumed(zipped, monkeypatch):
    import gdown

    path, out = zipped
    calls = []

    def download(*, id, output, quiet, resume):  # noqa: A002
        calls.append((id, resume))
        if len(calls) == 1:
            raise ConnectionError("line broke\nhalf way")
        Path(output).write_bytes(path.read_bytes())
        return output

    monkeypatch.setattr(gdown, "download", download)
    drive_id = "1aB-c_9876543210zyxwvutsrqponm"
    with pytest.raises(OSError, match=r"could not fetch .* \(a second try resumes\): line broke half way"):
        import_archive(drive_id, out, progress=False)
    assert import_archive(drive_id, out, progress=False).unpacked == 34
    assert calls == [(drive_id, True)] * 2


@pytest.mark.parametrize(
    "link",
    [
        "https://drive.google.com/file/d/{}/view?usp=sharing",
        "https://drive.google.com/open?id={}",
        "https://drive.google.com/uc?export=download&id={}&confirm=t",
        "https://drive.usercontent.google.com/download?id={}&export=download",
    ],
)
def test_a_share_link_is_as_good_as_the_id(zipped, monkeypatch, link):
    import gdown

    path, out = zipped
    drive_id = "1aB-c_9876543210zyxwvutsrqponm"

    def download(*, id, output, quiet, resume):  # noqa: A002
        assert id == drive_id
        Path(output).write_bytes(path.read_bytes())
        return output

    monkeypatch.setattr(gdown, "download", download)
    assert import_archive(link.format(drive_id), out, progress=False).unpacked == 34


def test_another_link_is_refused_with_what_is_needed(tmp_path):
    link = "https://drive.google.com/drive/folders/1aB-c_9876543210zyxwvutsrqponm"
    with pytest.raises(
        FileNotFoundError, match=r"nor a link to one, such as .*/file/d/ID/view; a link to a folder is none"
    ):
        import_archive(link, tmp_path, progress=False)
