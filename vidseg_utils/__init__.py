"""vidseg: forecast what a video will look like as a segmentation mask."""

__version__ = "0.1.0"
