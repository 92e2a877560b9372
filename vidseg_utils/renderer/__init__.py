"""How videos look: masks and frames of a trajectory, ray cast through CLEVRER's camera."""

from vidseg_utils.renderer.appearance import LOOK
from vidseg_utils.renderer.batch import add_noise, render_video, render_videos
from vidseg_utils.renderer.masks import cast_masks, render_masks

__all__ = ["LOOK", "add_noise", "cast_masks", "render_masks", "render_video", "render_videos"]
