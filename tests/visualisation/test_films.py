"""Proves that a film shows the forecast of the video it names, and that runs without forecasts are refused."""

import shutil

import imageio.v3 as imageio
import numpy as np
import pytest

from tests.helpers import fill_cache, moving_square
from vidseg_utils.evaluation import evaluate_system, read_forecasts
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import CopyLast, Workspace
from vidseg_utils.visualisation import film
from vidseg_utils.visualisation.films import draw_film
from vidseg_utils.visualisation.filmstrip import REST_PICTURES, draw_side_by_side


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with three videos, the last of which stands still, and a run folder of copy-last."""
    home = tmp_path_factory.mktemp("home")
    number, frames, masks = moving_square(2)
    still = (number, frames[:1].repeat(22, axis=0), masks[:1].repeat(22, axis=0))
    fill_cache(home / "data" / "mine", "val", [moving_square(0), moving_square(1), still])
    workspace = Workspace.for_profile(get_profile("smoke"), root=home / "data" / "mine", runs=home / "runs")
    result = evaluate_system(CopyLast(), workspace.split("val"), true_masks=True, progress=False)
    result.save(home / "runs" / "a", system="copy_last", workspace=workspace, split="val", true_masks=True)
    return home


@pytest.fixture
def run(home, tmp_path):
    """A copy of the home's run folder."""
    (tmp_path / "data").symlink_to(home / "data")
    return shutil.copytree(home / "runs" / "a", tmp_path / "runs" / "a")


def test_the_data_of_a_run_are_found_by_their_identity_and_its_videos_by_number(run):
    forecasts = read_forecasts(run)
    assert forecasts.split.root.name == "mine" and forecasts.numbers.tolist() == [0, 1, 2]
    frames, masks, forecast = forecasts.clip(1)
    assert frames.shape == (22, 3, 40, 60) and (forecast == masks[10]).all()
    scores = forecasts.scores()
    assert scores.argmax() == 2 and scores[2] == 1 and scores[0] < 0.7
    with pytest.raises(ValueError, match="run a has no video 7; it has 3 videos, 0 to 2"):
        forecasts.clip(7)


@pytest.mark.slow
def test_a_film_is_written_as_gif_mp4_and_picture(run, tmp_path):
    shown = film(run, video="best", out=tmp_path / "films")
    assert shown.path == tmp_path / "films" / "film-2.gif"
    assert sorted(path.suffix for path in shown.path.parent.iterdir()) == [".gif", ".mp4", ".png"]
    height, width = imageio.imread(shown.path.with_suffix(".png")).shape[:2]
    assert width >= 4 * 480 and height > 320 + 160
    assert len(imageio.imread(shown.path.with_suffix(".mp4"), plugin="pyav")) == 22 + REST_PICTURES


def test_the_forecast_appears_after_the_given_frames_and_the_error_with_the_last(run):
    pictures = draw_film(*read_forecasts(run).clip(0), system="a $system", scale=2)
    panels = [np.array_split(picture[40:340], 4, axis=1) for picture in pictures]
    assert all((panels[0][panel] == panels[10][panel]).all() for panel in (2, 3))
    assert (panels[10][0] == panels[21][0]).all(), "the input ends with frame 10"
    assert (panels[10][2] != panels[11][2]).any() and (panels[10][3] == panels[20][3]).all()
    assert (panels[20][3] != panels[21][3]).any()
    assert all((panels[number][1] != panels[number + 1][1]).any() for number in range(21))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_panels_are_enlarged_by_whole_pixels(scale):
    picture = np.random.default_rng(0).integers(0, 255, (160, 240, 3), dtype=np.uint8)
    (drawn,) = draw_side_by_side([{"a": picture, "b": picture[::2, ::2]}], scale=scale)
    rows = slice(16 * scale, 176 * scale)
    left, right = drawn[rows, 6 * scale : 246 * scale], drawn[rows, 252 * scale : 492 * scale]
    assert (left == picture.repeat(scale, axis=0).repeat(scale, axis=1)).all()
    assert (right == picture[::2, ::2].repeat(2 * scale, axis=0).repeat(2 * scale, axis=1)).all()


def test_a_run_without_forecasts_or_of_other_data_is_refused(run, home, tmp_path):
    with pytest.raises(ValueError, match="holds no evaluated system; make one with `vidseg evaluate"):
        film(tmp_path)
    with pytest.raises(ValueError, match=r"the scale is 5; choose from \[2, 3, 4\]"):
        film(run, scale=5)
    with pytest.raises(ValueError, match="video 'first' is no number"):
        film(run, video="first")
    fill_cache(tmp_path / "other", "val", [moving_square(5)])
    with pytest.raises(ValueError, match="run a was scored on other data"):
        film(run, root=tmp_path / "other")
    (run / "predictions.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"predictions.npz is damaged"):
        film(run)
    config = read_json(run / "config.json")
    write_json(run / "config.json", {**config, "scored_on": {"id": "0", "text": "lost videos"}})
    with pytest.raises(ValueError, match=r"the data of run a \(lost videos\) are not in .*--root"):
        film(run)
