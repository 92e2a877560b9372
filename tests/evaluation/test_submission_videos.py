"""A submission knows which videos of which data its masks belong to, also where videos are missing."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tests.helpers import write_split
from vidseg_utils.data import open_split
from vidseg_utils.evaluation.submission import save_submission, write_submission
from vidseg_utils.evaluation.submission_score import score_submission
from vidseg_utils.systems import CopyLast

NUMBERS = (8, 9, 10, 11)


class NumberOfVideo(CopyLast):
    """Forecasts the red value of the first pixel of frame 0, which `truth_of` makes the class id."""

    def forecast_frames(self, frames):
        ids = (frames[:, 0, 1, 0, 0] * 255).round().long()
        return ids[:, None, None].expand(-1, *frames.shape[-2:])


def make_root(root, numbers=NUMBERS):
    """Hidden videos whose whole mask in frame 21 is the video's number, which pixel (0, 0) of the frames tells."""
    write_split(root, "hidden", numbers)
    for number in numbers:
        folder = root / "hidden_truth" / f"video_{number}"
        folder.mkdir(parents=True)
        np.save(folder / "mask.npy", np.full((22, 160, 240), number, dtype=np.uint8))
    return root


def predict(root, path):
    return write_submission(path, NumberOfVideo(), open_split(root, "hidden", progress=False), progress=False)


def test_the_numbers_and_the_data_stand_beside_the_masks(tmp_path):
    root, path = make_root(tmp_path / "set"), tmp_path / "masks.pt"
    masks = predict(root, path)
    notes = json.loads((tmp_path / "masks.pt.json").read_text())
    assert notes["numbers"] == list(NUMBERS)
    assert notes["split"] == "hidden"
    assert notes["missing"] == {}
    assert len(notes["data"]["id"]) == 12
    torch.testing.assert_close(torch.load(path, weights_only=True), masks)  # a plain tensor, as the course asked
    assert score_submission(path, root)["jaccard"] == 1


def test_a_damaged_video_shifts_nothing_and_is_named(tmp_path, caplog):
    root, path = make_root(tmp_path / "set"), tmp_path / "masks.pt"
    (root / "hidden" / "video_9" / "image_3.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        masks = predict(root, path)
    assert masks[:, 0, 0].tolist() == [8, 10, 11]
    assert "lacks 1 of 4 videos of the split 'hidden', which cannot be read: video_9 (image_3.png: empty file" in (
        caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        score = score_submission(path, root)
    assert (score["jaccard"], score["videos"]) == (1, 3)
    assert "lacks 1 of 4 videos, such as video_9" in caplog.text


def test_predict_exits_with_an_error_after_writing_what_there_is(tmp_path, home):
    root = make_root(tmp_path / "set")
    write_split(root, "train", (0, 1))
    write_split(root, "val", (2,))
    (root / "hidden" / "video_9" / "image_3.png").unlink()
    command = [sys.executable, "-m", "vidseg_utils.running.cli"]
    options = ["unet_copy_last", "--profile", "smoke", "--root", root, "--runs", tmp_path / "runs", "--device", "cpu"]
    subprocess.run([*command, "train", *options], check=True, capture_output=True)
    out = tmp_path / "masks.pt"
    done = subprocess.run([*command, "predict", *options, "--out", out], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "masks.pt is incomplete: it lacks 1 of 4 videos" in line
    assert "video_9" in line
    assert torch.load(out, weights_only=True).shape == (3, 160, 240)


def test_a_submission_for_other_data_is_refused(tmp_path):
    path = tmp_path / "masks.pt"
    first, second = make_root(tmp_path / "a"), make_root(tmp_path / "b")
    for video in (second / "hidden").iterdir():
        shutil.copyfile(video / "image_5.png", video / "image_0.png")
    predict(first, path)
    with pytest.raises(ValueError, match=r"masks\.pt was made for other data .* give the root of those data"):
        score_submission(path, second)
    moved = shutil.copytree(first, tmp_path / "copy")
    assert score_submission(path, moved)["jaccard"] == 1


def test_notes_of_another_submission_are_recognised(tmp_path):
    root, path = make_root(tmp_path / "set"), tmp_path / "masks.pt"
    predict(root, path)
    torch.save(torch.zeros(4, 160, 240, dtype=torch.uint8), path)
    with pytest.raises(ValueError, match=r"masks\.pt\.json belongs to other masks than masks\.pt"):
        score_submission(path, root)


def test_a_submission_without_notes_is_scored_with_a_warning(tmp_path, caplog):
    root, path = make_root(tmp_path / "set"), tmp_path / "masks.pt"
    masks = predict(root, path)
    save_submission(path, masks, videos=4)
    assert not (tmp_path / "masks.pt.json").exists()
    with caplog.at_level(logging.WARNING):
        assert score_submission(path, root)["jaccard"] == 1
    assert "masks.pt has no masks.pt.json: its video numbers and its data cannot be checked" in caplog.text


def test_a_file_that_unpacks_to_far_more_than_masks_is_refused(tmp_path):
    root, path = make_root(tmp_path / "set"), tmp_path / "masks.pt"
    torch.save(torch.zeros(40, 160, 240, dtype=torch.int64), path)
    with pytest.raises(ValueError, match="is too large for 4 masks of 160x240"):
        score_submission(path, root)


SLOW = """
import sys, time
from pathlib import Path
from tests.evaluation.test_submission_videos import NumberOfVideo
from vidseg_utils.data import open_split
from vidseg_utils.evaluation import submission
class Slow(NumberOfVideo):
    def forecast_frames(self, frames):
        time.sleep(0.1)
        return super().forecast_frames(frames)
submission.clips_that_fit = lambda *_: 2
hidden = open_split(sys.argv[1], "hidden", progress=False)
submission.write_submission(Path(sys.argv[2]), Slow(), hidden, progress=False)
"""


def test_two_predictions_of_one_file_that_are_killed_resume_to_the_uninterrupted_one(tmp_path):
    root, path = make_root(tmp_path / "set", range(1, 41)), tmp_path / "masks.pt"
    predict(root, tmp_path / "whole.pt")
    arguments = [sys.executable, "-c", SLOW, str(root), str(path)]
    progress = tmp_path / "masks.pt.partial" / "progress.json"
    processes = [subprocess.Popen(arguments) for _ in range(2)]
    try:
        deadline = time.monotonic() + 120
        while not progress.is_file():
            assert all(process.poll() is None for process in processes) and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert not path.exists()
    processes = [subprocess.Popen(arguments) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    torch.testing.assert_close(torch.load(path), torch.load(tmp_path / "whole.pt"))
    assert not list(tmp_path.glob("*.partial*"))
