"""How videos look: masks and frames of a trajectory, ray cast through CLEVRER's camera."""

from vidseg_utils.renderer.appearance import LOOK
from vidseg_utils.renderer.frames import add_noise, render_video
from vidseg_utils.renderer.masks import cast_masks, render_masks

# Their import loads the compiled kernels, which else happens when the first picture is drawn.
KERNEL_MODULES = ("vidseg_utils.renderer.kernels.frames", "vidseg_utils.renderer.kernels.masks")

__all__ = ["KERNEL_MODULES", "LOOK", "add_noise", "cast_masks", "render_masks", "render_video"]
