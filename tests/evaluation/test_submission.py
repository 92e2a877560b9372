"""Submissions are forecast in batches, resumed after an interruption, checked before writing, and scored."""

import numpy as np
import pytest
import torch

from tests.helpers import fill_cache
from vidseg_utils.data import open_split
from vidseg_utils.evaluation import batches, submission
from vidseg_utils.evaluation.batches import clips_that_fit
from vidseg_utils.evaluation.submission import (
    predict_split,
    save_submission,
    write_submission,
)
from vidseg_utils.evaluation.submission_score import score_submission
from vidseg_utils.metrics import jaccard
from vidseg_utils.systems.base import Forecaster

VIDEOS = 5


class Stamped(Forecaster):
    """Answers with the class id that the brightness of frame 10 encodes; stops after `calls` calls if told."""

    name = "stamped"

    def __init__(self, calls=99, most=99):
        super().__init__(segmenter=torch.nn.Linear(1, 1))
        torch.nn.init.ones_(self.segmenter.weight)
        torch.nn.init.ones_(self.segmenter.bias)
        self.calls, self.most, self.sizes = calls, most, []

    @classmethod
    def train(cls, workspace):
        raise AssertionError("not called")

    @classmethod
    def load(cls, workspace):
        raise AssertionError("not called")

    def forecast_frames(self, frames):
        if len(self.sizes) == self.calls:
            raise KeyboardInterrupt
        if len(frames) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(frames))
        answer = (frames[:, -1].mean(dim=(1, 2, 3)) * 255).round().long()
        return answer[:, None, None].expand(-1, *frames.shape[-2:])


@pytest.fixture
def root(tmp_path):
    """Hidden videos as bright as their index, and their truth: a band of that class id that moves down."""
    frames = [np.full((11, 3, 160, 240), index, dtype=np.uint8) for index in range(VIDEOS)]
    fill_cache(tmp_path, "hidden", [(8 + index, f, None) for index, f in enumerate(frames)])
    for index in range(VIDEOS):
        masks = np.zeros((22, 160, 240), dtype=np.uint8)
        for t in range(22):
            masks[t, 5 * t : 5 * t + 40] = index
        folder = tmp_path / "hidden_truth" / f"video_{8 + index}"  # 10 sorts before 8 by name, not by number
        folder.mkdir(parents=True)
        np.save(folder / "mask.npy", masks)
    return tmp_path


def small(root):
    return open_split(root, "hidden", height=40, width=60, progress=False)


def test_predictions_stay_in_number_order_and_grow_to_the_size_of_the_course(root):
    answer = predict_split(Stamped(), small(root), batch_size=2, progress=False)
    assert answer.shape == (VIDEOS, 160, 240)
    assert answer.dtype == torch.uint8
    assert answer[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_an_interrupted_prediction_resumes_and_ends_with_the_same_file(root, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(submission, "clips_that_fit", lambda *_: 2)
    write_submission(tmp_path / "whole.pt", Stamped(), small(root), progress=False)
    with pytest.raises(KeyboardInterrupt):
        write_submission(tmp_path / "masks.pt", Stamped(calls=stop), small(root), progress=False)
    assert not (tmp_path / "masks.pt").exists()
    monkeypatch.setattr(submission, "clips_that_fit", lambda *_: 4)  # a resumed prediction keeps its batch size
    rest = Stamped()
    write_submission(tmp_path / "masks.pt", rest, small(root), progress=False)
    assert sum(rest.sizes) == VIDEOS - 2 * stop
    assert not list(tmp_path.glob("*.partial*"))
    torch.testing.assert_close(*(torch.load(tmp_path / name) for name in ("masks.pt", "whole.pt")))


def test_masks_of_another_system_are_not_resumed(root, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict_split(Stamped(calls=1), small(root), batch_size=2, partial=tmp_path / "partial", progress=False)
    other = Stamped()
    torch.nn.init.zeros_(other.segmenter.weight)
    predict_split(other, small(root), batch_size=2, partial=tmp_path / "partial", progress=False)
    assert sum(other.sizes) == VIDEOS


def test_batches_that_do_not_fit_are_halved(root):
    system = Stamped(most=1)
    answer = predict_split(system, small(root), batch_size=4, progress=False)
    assert system.sizes == [1] * VIDEOS
    assert answer[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(torch.OutOfMemoryError):
        predict_split(Stamped(most=0), small(root), progress=False)


def test_batches_are_larger_for_smaller_frames(root, monkeypatch):
    monkeypatch.setattr(batches.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 2**20)  # 4 GiB
    large, tiny = open_split(root, "hidden"), small(root)
    assert 1 <= clips_that_fit(large, torch.device("cpu")) < clips_that_fit(tiny, torch.device("cpu")) <= 32


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(2, 160, 240, dtype=torch.uint8), r"shape \(3, 160, 240\)"),
        (torch.zeros(3, 80, 120, dtype=torch.uint8), r"shape \(3, 160, 240\)"),
        (torch.zeros(3, 160, 240), "torch.float32"),
        (torch.full((3, 160, 240), 49, dtype=torch.uint8), "holds 49"),
    ],
)
def test_a_wrong_submission_is_refused_and_not_written(tmp_path, masks, message):
    with pytest.raises(ValueError, match=message):
        save_submission(tmp_path / "masks.pt", masks, videos=3)
    assert list(tmp_path.iterdir()) == []


def test_a_submission_is_read_back_unchanged(tmp_path):
    masks = torch.randint(0, 49, (3, 160, 240), dtype=torch.uint8)
    save_submission(tmp_path / "masks.pt", masks, videos=3)
    torch.testing.assert_close(torch.load(tmp_path / "masks.pt", weights_only=True), masks)


def test_a_submission_is_scored_in_number_order(root, tmp_path):
    truth = torch.stack([torch.tensor(np.load(root / f"hidden_truth/video_{8 + n}/mask.npy")) for n in range(VIDEOS)])
    for name, masks in {"right": truth[:, -1], "copied": truth[:, 10], "turned": truth[:, -1].flip(0)}.items():
        save_submission(tmp_path / f"{name}.pt", masks, videos=VIDEOS)
    scores = {name: score_submission(tmp_path / f"{name}.pt", root) for name in ("right", "copied", "turned")}
    assert scores["right"]["jaccard"] == scores["right"]["oracle_jaccard"] == 1
    assert scores["copied"]["jaccard"] == scores["right"]["copy_last_jaccard"]
    assert scores["copied"]["jaccard"] == pytest.approx(jaccard(truth[:, 10], truth[:, -1]))
    assert scores["turned"]["jaccard"] < 0.5
    assert scores["right"]["videos"] == VIDEOS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"masks", "is not a tensor saved by torch.save"),
        ([1, 2], "holds a list, not a tensor"),
        (torch.zeros(4, 160, 240, dtype=torch.uint8), r"shape \(5, 160, 240\); got torch.uint8 \(4, 160, 240\)"),
        (torch.full((5, 160, 240), 200, dtype=torch.uint8), "holds 200"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(root, tmp_path, content, message):
    path = tmp_path / "wrong.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=message) as error:
        score_submission(path, root)
    assert "wrong.pt" in str(error.value)


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no submission .*none\.pt"):
        score_submission(tmp_path / "none.pt", root)
    with pytest.raises(ValueError, match="keeps no truth of its hidden videos"):
        score_submission(tmp_path / "none.pt", tmp_path / "elsewhere")
