"""Recurrent U-Net: segments a video frame by frame and remembers, with a recurrent cell at the end of every level.

The state is explicit: a video can be given whole, in pieces, or live one frame at a time, with the same result.
"""

from functools import partial

import torch
from einops import rearrange
from torch import nn

from vidseg_utils.checks import check_choice, check_positive
from vidseg_utils.classes import N_CLASSES
from vidseg_utils.models.layers import check_images, pad_to_multiple
from vidseg_utils.models.recurrent_blocks import (
    ConvNeXtDown,
    ConvNeXtFirst,
    ConvNeXtUp,
    Down,
    GRUCell,
    ResNetBlock,
    ResNetFirst,
    RNNCell,
    Up,
    VanillaBlock,
)
from vidseg_utils.models.unet import FactoredHead

State = tuple[torch.Tensor, ...]  # one map (B, c, h, w) a level; empty without cells

BLOCKS = {  # name: (first, down, up)
    "vanilla": (VanillaBlock, partial(Down, block=VanillaBlock), partial(Up, block=VanillaBlock)),
    "resnet": (ResNetFirst, partial(Down, block=ResNetBlock), partial(Up, block=ResNetBlock)),
    "convnext": (ConvNeXtFirst, ConvNeXtDown, ConvNeXtUp),
}
CELLS = {"none": None, "rnn": RNNCell, "gru": GRUCell}
SIZES = {"small_shallow": (16, 32, 64), "small_deep": (16, 32, 64, 128), "original": (64, 128, 256)}  # channels
SMALLEST_MAP = 4  # pixels a side at the deepest level: a 7x7 convolution reflects 3 of them


class RecurrentUNet(nn.Module):
    """Segments every frame of a video, knowing those before: (B, T, C, H, W) -> (B, T, K, H, W), and the new state.

    block: "vanilla", "resnet" or "convnext"; size: "small_shallow", "small_deep" or "original"
    cell: "none" (frame by frame without memory), "rnn" or "gru"
    A level's output is its cell's state: it goes on to the next level and, as the skip, to the decoder.
    head: "flat" scores each class by itself, as published; "factored" adds up shape, material and colour.
    With 20 classes from 125,732 parameters (vanilla, small_shallow, none) to 6,695,380 (resnet, original, gru).
    Any height and width: frames are padded and logits cropped back.
    """

    def __init__(
        self,
        block: str = "vanilla",
        size: str = "small_shallow",
        cell: str = "none",
        in_channels: int = 3,
        n_classes: int = 20,
        head: str = "flat",
    ) -> None:
        super().__init__()
        check_choice("block", block, BLOCKS)
        check_choice("size", size, SIZES)
        check_choice("cell", cell, CELLS)
        check_choice("head", head, ("flat", "factored"))
        if head == "factored" and n_classes != N_CLASSES:
            raise ValueError(f"head 'factored' knows the {N_CLASSES} classes of this world; got n_classes {n_classes}")
        check_positive(in_channels=in_channels, n_classes=n_classes)
        self.in_channels = in_channels
        self.channels = SIZES[size]
        self.multiple = 2 ** (len(self.channels) - 1)
        first, down, up = BLOCKS[block]
        self.encoder = nn.ModuleList([first(in_channels, self.channels[0]), *map(down, self.channels[:-1])])
        self.cells = nn.ModuleList(map(CELLS[cell], self.channels) if CELLS[cell] else [])
        self.decoder = nn.ModuleList(map(up, reversed(self.channels[:-1])))
        width = self.channels[0]
        self.head = FactoredHead(width) if head == "factored" else nn.Conv2d(width, n_classes, kernel_size=3, padding=1)

    def start_from(self, frame_wise: "RecurrentUNet") -> None:
        """Take over the weights of a trained model without cells; this model's own cells begin by passing maps through.

        Raises ValueError if it has cells, or another block, size or head.
        """
        weights, own = frame_wise.state_dict(), self.state_dict()
        shared = {name for name in own if not name.startswith("cells.")}
        if weights.keys() != shared or any(weights[name].shape != own[name].shape for name in shared):
            raise ValueError("start from a model without cells that has the same block, size, head and classes")
        self.load_state_dict(weights, strict=False)
        with torch.no_grad():
            for cell in self.cells:
                cell.pass_through()

    def forward(self, frames: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """Segment.

        frames: (B, T, C, H, W) float in [0, 1], the next T frames of B videos
        state: what the call for the frames before gave; None at the start (zeros)
        returns: (B, T, K, H, W) logits, and the state after the last frame
        Raises ValueError for other axes or channels, and for a state of another batch, size or model.
        """
        check_images(frames, channels=self.in_channels, video=True)
        n_frames, (height, width) = frames.shape[1], frames.shape[-2:]
        x = rearrange(frames, "b t c h w -> (t b) c h w")
        x = pad_to_multiple(x, multiple=self.multiple, at_least=SMALLEST_MAP * self.multiple)
        old = self._checked(state, x, n_videos=len(frames))
        skips, new = [], []
        for level, layers in enumerate(self.encoder):
            x = layers(x)  # (T*B, c, h, w)
            if self.cells:
                x, last = self.cells[level](x, old[level])
                new.append(last)
            skips.append(x)
        skips.pop()  # the deepest state is where the decoder starts
        for layers in self.decoder:
            x = layers(x, skips.pop())
        logits = self.head(x)[..., :height, :width]
        return rearrange(logits, "(t b) k h w -> b t k h w", t=n_frames), tuple(new)

    def _checked(self, state: State | None, x: torch.Tensor, *, n_videos: int) -> State:
        """The state, or zeros; for padded frames x of `n_videos` videos."""
        height, width = x.shape[-2:]
        shapes = [(n_videos, c, height >> level, width >> level) for level, c in enumerate(self.channels)]
        shapes = shapes if self.cells else []
        if state is None:
            return tuple(x.new_zeros(shape) for shape in shapes)
        if [tuple(part.shape) for part in state] != shapes:
            raise ValueError(
                f"this state belongs to other videos or another model: expected maps {shapes}, "
                f"got {[tuple(part.shape) for part in state]}; start anew with state=None"
            )
        return tuple(state)
