"""The predictor of the JEPA: each cell of the last given frame says where its content will be.

The content is spread over the future frame as a normal distribution, as in softmax splatting ("Softmax Splatting for
Video Frame Interpolation", Niklaus, Liu, CVPR 2020) but without its softmax: where the future is not certain, the
squared error is smallest for the mean of the possible embeddings, and that is what a wide distribution gives. How fast
content moves is read from a cost volume, as in PWC-Net (Sun et al., CVPR 2018).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vidseg_utils.device import numbers_on
from vidseg_utils.models.layers import pick_frames, zero_init
from vidseg_utils.models.simvp import SpatialConv
from vidseg_utils.task import FUTURE_FRAMES

CONTEXT_FRAMES = 4  # given frames that the predictor reads
NEAR, FAR = 2, 4  # cells, how far the cost volumes of the frame before and of the first given frame look
SHIFT_SCALE = 0.2  # cells a frame, of an output of 1; larger ones let the first steps of a training throw content away
MIN_SPREAD = 0.5  # cells; a normal distribution sampled at whole cells then still sums to 1 within 2 %
SPREAD_A_FRAME = 0.12  # cells that the spread grows by in a frame before training; training can change it e-fold


class Transport(NamedTuple):
    """Where the content of each cell of the last given frame goes."""

    shift: Float[Tensor, "B F 2 h w"]  # to the right and down, in cells
    spread: Float[Tensor, "B F h w"]  # standard deviation of the place, in cells
    share: Float[Tensor, "B h w"]  # of the cell's content that goes, in [0, 1]


class MultiScale(nn.Module):
    """Convolutions at three sizes with skips, so that a cell sees objects that it may collide with."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(in_channels, channels, kernel_size=1), *_two(channels, stride=1))
        self.middle = nn.Sequential(*_two(channels, stride=2))
        self.coarse = nn.Sequential(*_two(channels, stride=2))
        self.join_middle = SpatialConv(2 * channels, channels, stride=1)
        self.join_fine = SpatialConv(2 * channels, channels, stride=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """Maps of the same height and width."""
        fine = self.fine(x)
        middle = self.middle(fine)
        middle = self.join_middle(_beside(middle, self.coarse(middle)))
        return self.join_fine(_beside(fine, middle))


def _two(channels: int, *, stride: int) -> list[nn.Module]:
    return [SpatialConv(channels, channels, stride=stride), SpatialConv(channels, channels, stride=1)]


def _beside(fine: Tensor, coarse: Tensor) -> Tensor:
    return torch.cat([fine, F.interpolate(coarse, size=fine.shape[2:], mode="bilinear")], dim=1)


class TransportPredictor(nn.Module):
    """Embeddings of later frames, each directly from those of the CONTEXT_FRAMES given frames.

    The content of a cell is what its embedding differs by from the mean of its frame. A share of it leaves the cell and
    arrives where `transport` says; another readout is added. All readouts start at 0: content then stays where it is,
    blurred more the further ahead.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.read = MultiScale(2 * channels + (2 * NEAR + 1) ** 2 + (2 * FAR + 1) ** 2, hidden)
        self.motion = nn.Conv2d(hidden, 3 + 3 * FUTURE_FRAMES, kernel_size=1)
        self.added = nn.Conv2d(hidden, FUTURE_FRAMES * channels, kernel_size=1)
        zero_init(self.motion)
        zero_init(self.added)

    def forward(self, embeddings: Float[Tensor, "B K D h w"], horizons: Sequence[int]) -> Float[Tensor, "B F D h w"]:
        """The embeddings of the frames `horizons` after the last given one, each between 1 and FUTURE_FRAMES."""
        last = embeddings[:, -1].float()
        hidden = self.hidden(embeddings)
        transport = self.transport(hidden, horizons)
        moved = transport.share[:, None] * (last - last.mean(dim=(2, 3), keepdim=True))
        added = pick_frames(self.added(hidden).unflatten(1, (FUTURE_FRAMES, -1)), [n - 1 for n in horizons]).float()
        return (last - moved)[:, None] + splat(moved, transport) + added

    def hidden(self, embeddings: Float[Tensor, "B K D h w"]) -> Float[Tensor, "B C h w"]:
        """What the predictor knows of each cell: its embedding, how it changed, and where it came from."""
        last, before = embeddings[:, -1], embeddings[:, -2]
        near = cost_volume(last, before, radius=NEAR)
        far = cost_volume(last, embeddings[:, 0], radius=FAR)
        return self.read(torch.cat([last, last - before, near, far], dim=1))

    def transport(self, hidden: Float[Tensor, "B C h w"], horizons: Sequence[int]) -> Transport:
        """Where content is after `horizons` frames: a velocity that all horizons share, and what each adds to it."""
        motion = self.motion(hidden).float()
        own = pick_frames(motion[:, 3:].unflatten(1, (FUTURE_FRAMES, 3)), [n - 1 for n in horizons])
        steps = numbers_on(motion.device, horizons, motion.dtype)[:, None, None]
        shift = SHIFT_SCALE * steps[:, None] * (motion[:, None, :2] + own[:, :, :2])
        spread = MIN_SPREAD + SPREAD_A_FRAME * steps * own[:, :, 2].tanh().exp()
        return Transport(shift, spread, torch.sigmoid(motion[:, 2] + 1))


@torch.no_grad()
def cost_volume(
    maps: Float[Tensor, "B D h w"], others: Float[Tensor, "B D h w"], *, radius: int
) -> Float[Tensor, "B O h w"]:
    """How well each cell agrees with the (2 * radius + 1)^2 cells around it in other maps: near 1 where the content is
    the same and strong, 0 where there is none. No gradient.
    """
    (maps, others), size = (_normed(x.float()) for x in (maps, others)), 2 * radius + 1
    height, width = maps.shape[2:]
    others = F.pad(others, (radius,) * 4)
    n_rows, n_columns = others.shape[2:]
    products = torch.bmm(maps.flatten(2).mT, others.flatten(2)).float()  # of all pairs of cells
    per_cell = n_rows * n_columns
    around = products.as_strided(  # a view of the pairs whose second cell is near the first one
        (len(maps), height, width, size, size),
        (height * width * per_cell, width * per_cell + n_columns, per_cell + 1, n_columns, 1),
    )
    return around.flatten(3).movedim(3, 1)


def _normed(maps: Tensor) -> Tensor:
    """Content of about unit length where it is strong; weak content, such as that of the ground, stays short."""
    content = maps - maps.mean(dim=(2, 3), keepdim=True)
    return content / (content.norm(dim=1, keepdim=True) + 0.5 * math.sqrt(maps.shape[1]))


def splat(maps: Float[Tensor, "B D h w"], transport: Transport) -> Float[Tensor, "B F D h w"]:
    """The maps after each cell's value has been spread around where it goes; what leaves the frame is lost."""
    height, width = maps.shape[2:]
    variance = transport.spread.flatten(2)[..., None].square()  # (B, F, h*w, 1)
    weights = []
    for axis, length in ((1, height), (0, width)):
        positions = torch.arange(length, device=maps.device, dtype=maps.dtype)
        start = positions[:, None].expand(height, width) if axis else positions.expand(height, width)
        end = (start + transport.shift[:, :, axis]).flatten(2)[..., None]  # (B, F, h*w, 1)
        weights.append((-0.5 * (positions - end).square() / variance).exp() / (2 * math.pi * variance).sqrt())
    in_rows, in_columns = weights
    kernels = (in_rows[..., :, None] * in_columns[..., None, :]).flatten(3)  # (B, F, from, to)
    return (maps.flatten(2)[:, None] @ kernels).float().unflatten(3, (height, width))
