"""Proves that strips show the frames they name, and that a movie file is written atomically."""

import base64
import re

import imageio.v3 as imageio
import matplotlib.pyplot as plt
import numpy as np
import pytest

from vidseg_utils.visualisation.filmstrip import MovieView, clip_to_rgb, plot_filmstrip, write_movie
from vidseg_utils.visualisation.overlays import mask_to_rgb, overlay_mask


@pytest.fixture
def frames():
    return np.arange(22, dtype=np.uint8)[:, None, None, None] * np.full((1, 3, 16, 24), 10, dtype=np.uint8)


@pytest.fixture
def masks():
    masks = np.zeros((22, 16, 24), dtype=np.uint8)
    masks[:, 4:9, 5:12] = 7
    return masks


def test_a_clip_is_drawn_from_frames_from_masks_or_from_both(frames, masks):
    assert (clip_to_rgb(frames)[3] == 30).all()
    assert (clip_to_rgb(None, masks)[3] == mask_to_rgb(masks[3])).all()
    assert (clip_to_rgb(frames, masks)[3] == overlay_mask(frames[3], masks[3])).all()
    with pytest.raises(ValueError, match="nothing to draw"):
        clip_to_rgb()


def test_a_strip_spreads_its_frames_shows_the_last_given_one_and_marks_the_future(frames, masks):
    axes = plot_filmstrip({"frames": clip_to_rgb(frames), "masks": clip_to_rgb(None, masks)}, columns=4)
    assert axes.shape == (2, 4)
    assert [ax.get_title() for ax in axes[0]] == ["frame 0", "frame 10", "frame 14", "frame 21"]
    assert len({ax.title.get_color() for ax in axes[0]}) == 2
    assert [int(ax.images[0].get_array()[0, 0, 0]) for ax in axes[0]] == [0, 100, 140, 210]
    plt.close(axes[0, 0].figure)


def test_frame_numbers_start_at_the_given_first_frame(frames):
    axes = plot_filmstrip({"predicted": clip_to_rgb(frames[11:13])}, first_frame=11)
    assert [ax.get_title() for ax in axes[0]] == ["frame 11", "frame 12"]
    plt.close(axes[0, 0].figure)


def test_rows_of_different_length_are_refused(frames):
    with pytest.raises(ValueError, match=r"must have one length; got {'a': 22, 'b': 3}"):
        plot_filmstrip({"a": clip_to_rgb(frames), "b": clip_to_rgb(frames[:3])})


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_movie_can_be_read_again(frames, masks, tmp_path, suffix):
    path = write_movie(tmp_path / f"clip{suffix}", clip_to_rgb(frames, masks)[:, :15])
    back = imageio.imread(path, index=None, plugin="pyav" if suffix == ".mp4" else "pillow")
    assert back.shape[:1] == (22,) and abs(int(back[21, 0, 0, 0]) - 210) < 12
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_gif_is_shown_as_html_which_every_viewer_of_notebooks_understands(frames, tmp_path):
    movie = MovieView(write_movie(tmp_path / "clip.gif", clip_to_rgb(frames)))
    assert repr(movie) == "the movie clip.gif"
    data = re.fullmatch(r'<img src="data:image/gif;base64,(.*)" alt="clip.gif">', movie._repr_html_())
    assert base64.b64decode(data[1]) == (tmp_path / "clip.gif").read_bytes()


def test_a_movie_that_cannot_be_written_leaves_nothing(frames, tmp_path):
    with pytest.raises(ValueError, match=r"cannot write '.avi'; choose from \['.gif', '.mp4'\]"):
        write_movie(tmp_path / "clip.avi", clip_to_rgb(frames))
    with pytest.raises(ValueError, match=r"expected uint8 \(T, H, W, 3\)"):
        write_movie(tmp_path / "clip.gif", frames)
    assert not list(tmp_path.iterdir())
