"""Recurrent U-Net: segments a video frame by frame, with a recurrent cell as memory at the end of every level.

The state is explicit: a video can be given as a whole, in pieces, or live one frame at a time, with the same result.
"""

from collections.abc import Callable
from functools import partial

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidseg_utils.checks import check_choice, check_positive
from vidseg_utils.models.layers import FactoredHead, check_head, check_images, pad_to_multiple
from vidseg_utils.models.recurrent_blocks import (
    ConvNeXtDownLevel,
    ConvNeXtStem,
    ConvNeXtUpLevel,
    DownLevel,
    ResNetBlock,
    ResNetStem,
    UpLevel,
    VanillaBlock,
)
from vidseg_utils.models.recurrent_cells import Cell, GRUCell, RNNCell

RecurrentState = tuple[Float[Tensor, "B _ _ _"], ...]  # one map a level; empty without cells

RECURRENT_BLOCKS: dict[str, tuple[Callable[..., nn.Module], ...]] = {  # name: (stem, down level, up level)
    "vanilla": (VanillaBlock, partial(DownLevel, block=VanillaBlock), partial(UpLevel, block=VanillaBlock)),
    "resnet": (ResNetStem, partial(DownLevel, block=ResNetBlock), partial(UpLevel, block=ResNetBlock)),
    "convnext": (ConvNeXtStem, ConvNeXtDownLevel, ConvNeXtUpLevel),
}
RECURRENT_CELLS: dict[str, Callable[[int], Cell] | None] = {"none": None, "rnn": RNNCell, "gru": GRUCell}
RECURRENT_SIZES = {  # name: channels of each level
    "small_shallow": (16, 32, 64),
    "small_deep": (16, 32, 64, 128),
    "original": (64, 128, 256),
}
MIN_MAP_SIZE = 4  # pixels a side at the deepest level, because a 7x7 convolution reflects 3 of them


class RecurrentUNet(nn.Module):
    """Segments every frame of a video, given that frame and the frames before it.

    block: "vanilla", "resnet" or "convnext"
    size: "small_shallow", "small_deep" or "original"
    cell: "none" (each frame separately, without memory), "rnn" or "gru"; a level's output is its cell's state, which is
        the input of the next level and the skip to the decoder
    head: "flat" has a logit for each class, as published; "factored" adds up logits of shape, material and colour
    With 20 classes from 125,732 parameters (vanilla, small_shallow, none) to 6,695,380 (resnet, original, gru).
    Any height and width: frames are padded and logits cropped.
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
        check_choice("block", block, RECURRENT_BLOCKS)
        check_choice("size", size, RECURRENT_SIZES)
        check_choice("cell", cell, RECURRENT_CELLS)
        check_head(head, n_classes)
        check_positive(in_channels=in_channels, n_classes=n_classes)
        self.in_channels = in_channels
        self.channels = RECURRENT_SIZES[size]
        self.multiple = 2 ** (len(self.channels) - 1)
        stem, down_level, up_level = RECURRENT_BLOCKS[block]
        build_cell = RECURRENT_CELLS[cell]
        self.encoder = nn.ModuleList([stem(in_channels, self.channels[0]), *map(down_level, self.channels[:-1])])
        self.cells = nn.ModuleList(map(build_cell, self.channels) if build_cell else [])
        self.decoder = nn.ModuleList(map(up_level, reversed(self.channels[:-1])))
        c = self.channels[0]
        self.head = FactoredHead(c) if head == "factored" else nn.Conv2d(c, n_classes, kernel_size=3, padding=1)

    def start_from(self, frame_wise: nn.Module) -> None:
        """Copy the weights of a trained model without cells and initialise this model's cells to pass maps through.

        Raises ValueError if that model has cells, or another block, size or head.
        """
        weights, own = frame_wise.state_dict(), self.state_dict()
        shared = {name for name in own if not name.startswith("cells.")}
        if weights.keys() != shared or any(weights[name].shape != own[name].shape for name in shared):
            raise ValueError("start from a model without cells that has the same block, size, head and classes")
        self.load_state_dict(weights, strict=False)
        with torch.no_grad():
            for cell in self.cells:
                assert isinstance(cell, Cell)
                cell.init_pass_through()

    def forward(
        self, frames: Float[Tensor, "B T C H W"], state: RecurrentState | None = None
    ) -> tuple[Float[Tensor, "B T K H W"], RecurrentState]:
        """Logits of every class at every pixel, and the state after the last frame.

        frames: the next T frames of B videos, in [0, 1]
        state: returned by the call for the frames before; None at the start of a video (zeros)
        Raises ValueError for other axes or channels, and for a state of another batch, size or model.
        """
        check_images(frames, channels=self.in_channels, video=True)
        n_frames, (height, width) = frames.shape[1], frames.shape[-2:]
        x = rearrange(frames, "b t c h w -> (t b) c h w").to(next(self.parameters()).dtype)
        x = pad_to_multiple(x, multiple=self.multiple, min_size=MIN_MAP_SIZE * self.multiple)
        old_state, new_state = self._initial_state(state, x, n_videos=len(frames)), []
        skips = []
        for level, layers in enumerate(self.encoder):
            x = layers(x)  # (T*B, c, h, w)
            if self.cells:
                x, level_state = self.cells[level](x, old_state[level])
                new_state.append(level_state)
            skips.append(x)
        skips.pop()  # the deepest map is the decoder's input
        for layers in self.decoder:
            x = layers(x, skips.pop())
        logits = self.head(x)[..., :height, :width]
        return rearrange(logits, "(t b) k h w -> b t k h w", t=n_frames), tuple(new_state)

    def _initial_state(self, state: RecurrentState | None, x: Tensor, *, n_videos: int) -> RecurrentState:
        """The given state after a check of its shapes, or zeros. x: the padded frames of `n_videos` videos."""
        height, width = x.shape[-2:]
        shapes = [(n_videos, c, height >> level, width >> level) for level, c in enumerate(self.channels)]
        shapes = shapes if self.cells else []
        if state is None:
            return tuple(x.new_zeros(shape) for shape in shapes)
        if [tuple(level_state.shape) for level_state in state] != shapes:
            raise ValueError(
                f"this state belongs to other videos or another model: expected maps {shapes}, "
                f"got {[tuple(level_state.shape) for level_state in state]}; start anew with state=None"
            )
        return tuple(state)
