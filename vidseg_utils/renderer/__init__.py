"""How videos come to look: masks and frames, ray cast through CLEVRER's camera."""

from vidseg_utils.renderer.batch import render_masks, render_video

__all__ = ["render_masks", "render_video"]
