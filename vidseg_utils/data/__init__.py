"""Videos: generated, imported or downloaded, checked, cached, and served as frames and clips.

The names below are imported on first use, so a worker process that renders videos need not import torchvision.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidseg_utils.data.cache import SplitCache, has_videos, open_split, writable_folder
    from vidseg_utils.data.check import check_root
    from vidseg_utils.data.datasets import ClipDataset, FrameDataset, Item, MaskDataset, collate, to_float
    from vidseg_utils.data.identity import dataset_identity, has_grown
    from vidseg_utils.data.label_estimate import LabelEstimate, estimate_label_offset, read_sample
    from vidseg_utils.data.labels import check_labels
    from vidseg_utils.data.layout import HIDDEN_TRUTH, list_videos, read_frames, read_masks, write_video
    from vidseg_utils.data.resize import area_scale, nearest_scale
    from vidseg_utils.data.sequences import ClipSequences
    from vidseg_utils.data.sources.cityscapes import N_CITYSCAPES_CLASSES, CityscapesSequences
    from vidseg_utils.data.sources.clevrer import import_clevrer
    from vidseg_utils.data.sources.course_archive import import_archive
    from vidseg_utils.data.sources.generate import generate
    from vidseg_utils.data.sources.single_clip import Clip, load_clip
    from vidseg_utils.data.transforms import IgnoreRim, build_augmentation

__all__ = [
    "HIDDEN_TRUTH",
    "N_CITYSCAPES_CLASSES",
    "CityscapesSequences",
    "Clip",
    "ClipDataset",
    "ClipSequences",
    "FrameDataset",
    "IgnoreRim",
    "Item",
    "LabelEstimate",
    "MaskDataset",
    "SplitCache",
    "area_scale",
    "build_augmentation",
    "check_labels",
    "check_root",
    "collate",
    "dataset_identity",
    "estimate_label_offset",
    "generate",
    "has_grown",
    "has_videos",
    "import_archive",
    "import_clevrer",
    "list_videos",
    "load_clip",
    "nearest_scale",
    "open_split",
    "read_frames",
    "read_masks",
    "read_sample",
    "to_float",
    "writable_folder",
    "write_video",
]

_MODULES = {
    "cache": ("SplitCache", "has_videos", "open_split", "writable_folder"),
    "check": ("check_root",),
    "datasets": ("ClipDataset", "FrameDataset", "Item", "MaskDataset", "collate", "to_float"),
    "identity": ("dataset_identity", "has_grown"),
    "label_estimate": ("LabelEstimate", "estimate_label_offset", "read_sample"),
    "labels": ("check_labels",),
    "layout": ("HIDDEN_TRUTH", "list_videos", "read_frames", "read_masks", "write_video"),
    "resize": ("area_scale", "nearest_scale"),
    "sequences": ("ClipSequences",),
    "sources.cityscapes": ("N_CITYSCAPES_CLASSES", "CityscapesSequences"),
    "sources.clevrer": ("import_clevrer",),
    "sources.course_archive": ("import_archive",),
    "sources.generate": ("generate",),
    "sources.single_clip": ("Clip", "load_clip"),
    "transforms": ("IgnoreRim", "build_augmentation"),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"vidseg_utils.data.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
