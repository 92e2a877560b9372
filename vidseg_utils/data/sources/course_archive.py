"""Unpack the course archive (a zip file, or one on Google Drive) without trusting it.

An archive that contains a path outside the target folder, a link or a zip bomb is refused before anything is written.
Only files of the course layout are unpacked, from any folder of the archive; a damaged entry is reported and left out.
"""

import errno
import re
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from vidseg_utils.data.layout import ANNOTATION_FILE, MASK_FILE, SPLITS
from vidseg_utils.data.locks import lock_dataset
from vidseg_utils.paths import atomic_write, write_json
from vidseg_utils.progress import ProgressBar

IMPORT_REPORT_FILE = "import_report.json"
MAX_ENTRY_BYTES = 1 << 26  # our largest file is a mask of 0.8 MB
MAX_TOTAL_BYTES = 100 << 30  # the full set is 14 GB
MAX_ENTRIES = 1_000_000  # the full set has 0.4 million
MAX_DIRECTORY_BYTES = 1 << 26  # of the archive's list of entries, which takes ten times as much memory
MAX_RATIO = 150  # unpacked over packed size of all entries; PNG files hardly shrink, a mask of background 1000 times
SMALL_BYTES = 1 << 28  # below this total any ratio is harmless
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks other methods beyond the stated size

_COURSE_FILE = re.compile(
    rf"(?:.*/)?({'|'.join(SPLITS)})/(video_[0-9]{{1,9}})/(image_[0-9]{{1,9}}\.png|{re.escape(MASK_FILE)}|{re.escape(ANNOTATION_FILE)})"
)
_DRIVE_ID = re.compile(r"[A-Za-z0-9_-]{20,}")
_DRIVE_LINK = re.compile(r"https?://drive\.(?:usercontent\.)?google\.com/\S*?(?:/d/|[?&]id=)([A-Za-z0-9_-]{20,})\S*")


@dataclass
class ArchiveReport:
    """The result of `import_archive`."""

    archive: str
    out: Path
    unpacked: int = 0
    already_present: int = 0
    not_in_layout: int = 0  # files that are not part of the course layout
    damaged: dict[str, str] = field(default_factory=dict)  # entry -> what is wrong with it

    def __str__(self) -> str:
        lines = [
            f"{self.out}: {self.unpacked} files unpacked, {self.already_present} were already there, "
            f"{self.not_in_layout} are no part of a data set, {len(self.damaged)} are damaged and left out"
        ]
        lines += [f"    {name}: {reason}" for name, reason in list(self.damaged.items())[:20]]
        if len(self.damaged) > 20:
            lines.append(f"    … and {len(self.damaged) - 20} more, all in {self.out / IMPORT_REPORT_FILE}")
        return "\n".join(lines)


def import_archive(archive: Path | str, out: Path | str, *, progress: bool = True) -> ArchiveReport:
    """Unpack a zip file, or one on Google Drive (its id or link), into the course layout under `out`. It resumes.

    Raises FileNotFoundError for a missing file, ValueError for an archive that is refused or is none, OSError for a
    full disk. The report is also written to OUT/import_report.json. A downloaded archive stays as OUT/.ID.zip.
    """
    out = Path(out)
    path = _locate(archive, out, progress=progress)
    if (directory_bytes := _directory_bytes(path)) > MAX_DIRECTORY_BYTES:
        raise ValueError(f"{path} is refused: its list of entries has {directory_bytes / 1e6:.0f} MB")
    try:
        opened = zipfile.ZipFile(path)
    except Exception as error:  # zipfile documents no exceptions for damaged files
        raise ValueError(f"{path} is not a zip archive that can be read: {error}") from None
    with opened:
        entries = [info for info in opened.infolist() if not info.filename.endswith("/")]
        refuse_if_dangerous(opened.infolist(), path)
        if not any(map(_course_path, entries)):
            raise ValueError(f"{path} holds no file of the course layout, such as train/video_0/image_0.png")
        report = ArchiveReport(str(archive), out)
        with lock_dataset(out):
            todo = _plan(entries, out, report)
            need_bytes = sum(info.file_size for info, _ in todo)
            if need_bytes > (free_bytes := shutil.disk_usage(out).free):
                need = f"{need_bytes / 1e6:,.1f} MB are needed and {free_bytes / 1e6:,.1f} MB are free"
                raise OSError(errno.ENOSPC, need, str(out))
            for info, target in ProgressBar(todo, desc="unpacking", unit="file", disable=not progress):
                _unpack(opened, info, target, report)
            write_json(out / IMPORT_REPORT_FILE, {name: value for name, value in vars(report).items() if name != "out"})
    return report


def _locate(archive: Path | str, out: Path, *, progress: bool) -> Path:
    path = Path(archive)
    if path.is_file():
        return path
    if link := _DRIVE_LINK.fullmatch(str(archive).strip()):
        archive = link[1]
    if not isinstance(archive, str) or not _DRIVE_ID.fullmatch(archive):
        raise FileNotFoundError(
            f"no file {archive}, and that is not the id of a file on Google Drive, nor a link to one, such as "
            "https://drive.google.com/file/d/ID/view; a link to a folder is none"
        )
    import gdown

    path = out / f".{archive}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if gdown.download(id=archive, output=str(path), quiet=not progress, resume=True) is None:
            raise OSError("nothing was sent")
    except Exception as error:  # errors of gdown, its HTTP library and the disk
        reason = " ".join(str(error).split())
        raise OSError(f"could not fetch {archive} from Google Drive (a second try resumes): {reason}") from None
    return path


def _directory_bytes(path: Path) -> int:
    """Size of the archive's list of entries, from the record at its end; 0 if there is none.

    Format: APPNOTE.TXT of PKWARE, sections 4.3.14 to 4.3.16.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - 22 - 65535 - 20))  # the record, a comment and the locator of the 64-bit record
        tail = file.read()
        record = tail.rfind(b"PK\x05\x06")
        if record < 0 or len(tail) < record + 22:
            return 0
        size = int.from_bytes(tail[record + 12 : record + 16], "little")
        locator = tail[record - 20 : record] if record >= 20 else b""
        if locator.startswith(b"PK\x06\x07"):
            file.seek(min(int.from_bytes(locator[8:16], "little"), end))
            size = max(size, int.from_bytes(file.read(56)[40:48], "little"))
    return min(size, end)


def refuse_if_dangerous(entries: list[zipfile.ZipInfo], archive: Path) -> None:
    """Raise ValueError with the entry and the reason if unpacking could do harm."""
    total_bytes = 0
    for info in entries:
        name = info.filename.replace("\\", "/")
        printable = ascii(info.filename)
        if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
            raise ValueError(f"{archive} is refused: its entry {printable} would be written outside the folder")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{archive} is refused: its entry {printable} is a link or a device")
        if info.file_size > MAX_ENTRY_BYTES:
            raise ValueError(f"{archive} is refused: its entry {printable} has {info.file_size} bytes")
        total_bytes += info.file_size
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"{archive} is refused: it has {len(entries)} entries, more than {MAX_ENTRIES}")
    if total_bytes > MAX_TOTAL_BYTES:
        raise ValueError(f"{archive} is refused: it would unpack to {total_bytes / 1e9:.0f} GB")
    if total_bytes > SMALL_BYTES and total_bytes > MAX_RATIO * archive.stat().st_size:
        raise ValueError(
            f"{archive} is refused: it would unpack to {total_bytes / archive.stat().st_size:.0f} times its size"
        )


def _plan(entries: list[zipfile.ZipInfo], out: Path, report: ArchiveReport) -> list[tuple[zipfile.ZipInfo, Path]]:
    """The entries to unpack, each with its target; a file with the right size and checksum exists already."""
    todo, targets = [], set()
    for info in entries:
        match = _course_path(info)
        if match is None:
            report.not_in_layout += 1
            continue
        target = out.joinpath(*match.groups())
        if target in targets:
            report.damaged[info.filename] = f"a second entry for {'/'.join(match.groups())}; the first was used"
        elif _is_unpacked(target, info):
            report.already_present += 1
        else:
            todo.append((info, target))
        targets.add(target)
    return todo


def _course_path(info: zipfile.ZipInfo) -> re.Match | None:
    """Split, video and file name, if the entry belongs to the course layout; it may lie in any folder."""
    return _COURSE_FILE.fullmatch(info.filename.replace("\\", "/"))


def _is_unpacked(target: Path, info: zipfile.ZipInfo) -> bool:
    """Whether the target equals the entry. All masks have the same size, so the checksum decides."""
    return target.is_file() and target.stat().st_size == info.file_size and zlib.crc32(target.read_bytes()) == info.CRC


def _unpack(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, report: ArchiveReport) -> None:
    if info.compress_type not in METHODS:
        report.damaged[info.filename] = f"compressed by method {info.compress_type}; only deflated entries are read"
        return
    try:
        with opened.open(info) as entry:  # `read` with a size unpacks no more, whatever the entry holds
            content = entry.read(info.file_size + 1)  # tests the checksum; file_size is at most MAX_ENTRY_BYTES
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OSError) as error:
        # RuntimeError: encrypted
        report.damaged[info.filename] = str(error) or type(error).__name__
        return
    if len(content) != info.file_size:
        report.damaged[info.filename] = f"{len(content)} bytes instead of {info.file_size}"
        return
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    report.unpacked += 1
