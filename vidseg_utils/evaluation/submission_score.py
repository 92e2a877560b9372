"""Read a submission, find out which videos its masks belong to, and score it against the truth of generated data."""

import logging
import pickle
import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.data import HIDDEN_TRUTH, dataset_identity, has_grown
from vidseg_utils.data.layout import MASK_FILE
from vidseg_utils.data.mask_file import read_mask_file
from vidseg_utils.evaluation.submission import check_submission, masks_checksum, notes_path
from vidseg_utils.metrics import MaskScore, confusion_matrix, jaccard_from_confusion, reference_masks
from vidseg_utils.paths import read_json
from vidseg_utils.task import CLIP_FRAMES, HEIGHT, WIDTH

logger = logging.getLogger(__name__)


def read_submission(path: Path | str, *, videos: int) -> Tensor:
    """The tensor in a `.pt` file, checked. Raises FileNotFoundError, or ValueError naming the file and the fault."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no submission {path}; write one with `vidseg predict SYSTEM --out {path}`")
    most_bytes = (1 << 20) + 8 * videos * HEIGHT * WIDTH  # of a tensor with eight bytes a pixel
    if _unpacked_bytes(path) > most_bytes:
        raise ValueError(f"{path} is too large for {videos} masks of {HEIGHT}x{WIDTH}; it holds something else")
    try:
        masks = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
        raise ValueError(f"{path} is not a tensor saved by torch.save; write one with `vidseg predict`") from None
    if not isinstance(masks, Tensor):
        raise ValueError(f"{path} holds a {type(masks).__name__}, not a tensor")
    try:
        check_submission(masks, videos=videos)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return masks


def _unpacked_bytes(path: Path) -> int:
    """Size of the file or, if its entries are compressed, of its content."""
    try:
        with zipfile.ZipFile(path) as archive:
            return max(path.stat().st_size, sum(info.file_size for info in archive.infolist()))
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return path.stat().st_size


def _submitted_numbers(path: Path, masks: Tensor, root: Path) -> list[int] | None:
    """Video number of each mask, from the notes beside the submission; None without notes.

    Raises ValueError if the notes belong to other masks, or the masks to other data than those at `root`.
    """
    if not notes_path(path).is_file():
        logger.warning(f"{path} has no {notes_path(path).name}: its video numbers and its data cannot be checked")
        return None
    notes = read_json(notes_path(path))
    try:
        numbers, checksum = [int(n) for n in notes["numbers"]], notes["sha256"]
        data = {key: str(notes["data"][key]) for key in ("id", "text")}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{notes_path(path)} is damaged; predict again") from None
    if checksum != masks_checksum(masks) or len(numbers) != len(masks):
        raise ValueError(f"{notes_path(path)} belongs to other masks than {path.name}; predict again")
    own = dataset_identity(root)
    if data["id"] != own["id"] and not has_grown(data, own):
        raise ValueError(
            f"{path} was made for other data ({data['text']}) than {root} ({own['text']}); give the root of those data"
        )
    return numbers


def score_submission(path: Path | str, root: Path | str) -> dict[str, float]:
    """Judge a submission against the truth of the hidden videos, which generated data keep in ROOT/hidden_truth.

    Returns the metrics of `MaskScore`, `copy_last_jaccard`, `oracle_jaccard` and `videos`. Masks are judged by the
    video numbers in FILE.pt.json; videos that the submission lacks are left out and counted in one logged line.
    Raises ValueError for a set without that truth, a submission for other data, and what `read_submission` raises.
    """
    truth = Path(root) / HIDDEN_TRUTH
    folders = {
        int(folder.name[6:]): folder for folder in truth.glob("video_*") if re.fullmatch(r"\d+", folder.name[6:])
    }
    if not folders:
        raise ValueError(f"{root} keeps no truth of its hidden videos (there is no {truth}); only generated data do")
    path, root = Path(path), Path(root)
    notes = read_json(notes_path(path)) if notes_path(path).is_file() else {}
    if not isinstance(notes.get("numbers", []), list):
        raise ValueError(f"{notes_path(path)} is damaged; predict again")
    masks = read_submission(path, videos=len(notes.get("numbers", folders)))
    numbers = _submitted_numbers(path, masks, root) or sorted(folders)
    if unknown := sorted(set(numbers) - set(folders)):
        raise ValueError(f"{path} has video {unknown[0]}, which {truth} does not have; give the root of its data")
    if missing := sorted(set(folders) - set(numbers)):
        logger.warning(f"{path} lacks {len(missing)} of {len(folders)} videos, such as video_{missing[0]}")
    score = MaskScore()
    copy_last, oracle = torch.zeros(2, N_CLASSES, N_CLASSES, dtype=torch.int64)  # confusion matrices
    for mask, number in zip(masks, numbers, strict=True):
        target = torch.from_numpy(read_mask_file(folders[number] / MASK_FILE, shape=(CLIP_FRAMES, HEIGHT, WIDTH)))[None]
        score.update(mask[None], target)
        for confusion, reference in zip((copy_last, oracle), reference_masks(target), strict=True):
            confusion += confusion_matrix(reference, target[:, -1])
    if not score.confusion.any():
        raise ValueError(
            f"{truth}: the masks have no label in frame {CLIP_FRAMES - 1} of any of the {len(masks)} videos"
        )
    return score.result() | {
        "copy_last_jaccard": jaccard_from_confusion(copy_last),
        "oracle_jaccard": jaccard_from_confusion(oracle),
        "videos": len(masks),
    }
