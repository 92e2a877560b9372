"""Objects in the image plane, moved on by a learned law: neither a camera nor physics nor shapes are known.

In the past, an object is a box and a centroid in each frame. A network reads them and corrects a straight line. Then,
step by step, a second network changes the object's velocity, and a third one changes it for each object nearby (an
interaction network: Battaglia et al., 2016). All receive random numbers, so a clip has many possible futures. The
energy score trains them: it is best if the futures scatter as the truth does (Gneiting and Raftery, 2007).
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vidseg_utils.checks import check_positive
from vidseg_utils.metrics import score_futures
from vidseg_utils.models.layers import class_attribute_matrix
from vidseg_utils.task import PAST_FRAMES

UNIT = 0.1  # frame heights: about the size of an object
VELOCITY_FRAMES = 5  # an object's velocity is measured over this many of the last frames that show it
CENTROID_WEIGHT = 4.0  # of a centroid's velocity, against 1 for that of a box's side, which is measured in whole pixels
REACH = 2.5  # units: objects whose centroids are further apart do not affect each other
NOISE = 4  # random numbers of a network, for each object and step
START_SCALE = 0.1  # units and units a frame: correction of the straight line where the network's output is 1
GLIDE_SCALE, MEET_SCALE = 0.03, 0.3  # units a frame: change of velocity in a step where the network's output is 1
REST_SPEED = 0.05  # units a frame: slower objects hardly change their velocity by themselves
MAX_RELATIVE = 8.0  # units: past positions are clamped to this distance from the last one
MIN_OUTLINE = 0.05  # units that an object reaches to each side of its centroid, at least
NOT_VISIBLE = -30.0  # logit of an empty slot


class Regions(NamedTuple):
    """The objects of B clips in the image plane, in N slots, for T frames. Lengths are in frame heights."""

    class_id: Int[Tensor, "B N"]  # 0 for an empty slot
    position: Float[Tensor, "B T N 6"]  # left, top, right, bottom, and x and y of the centroid; 0 where not seen
    reliable: Bool[Tensor, "B T N 6"]  # False for a side that is cut off, and for the centroid of a part
    seen: Bool[Tensor, "B T N"]
    width: Float[Tensor, " B"]  # of the picture


class Futures(NamedTuple):
    """K possible futures of B clips for F frames, in the slots of `Regions`."""

    position: Float[Tensor, "B K F N 6"]  # as in `Regions`, of whole objects
    visible: Float[Tensor, "B K F N"]  # logit of being visible


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers. The outputs are 0 before training, so the rollout starts as a straight line."""
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last)


class ImageRollout(nn.Module):
    """From the regions of past frames to possible futures.

    hidden: width of the networks; memory: numbers that an object keeps from its past, beside its class and its motion
    substeps: steps of a frame; in one step an object should move no further than its size
    """

    attributes: Tensor  # (49, 14)

    def __init__(self, n_past: int = PAST_FRAMES, hidden: int = 64, memory: int = 16, substeps: int = 2):
        super().__init__()
        check_positive(n_past=n_past, hidden=hidden, memory=memory, substeps=substeps)
        self.n_past, self.substeps = n_past, substeps
        attributes = class_attribute_matrix()
        self.register_buffer("attributes", attributes, persistent=False)
        fixed = memory + attributes.shape[1]
        state = fixed + 4
        self.start = mlp(13 * n_past + attributes.shape[1] + 5 + NOISE, 2 * hidden, 4 + memory)
        *_, last_weight, _ = self.start.parameters()
        nn.init.normal_(last_weight[4:], std=0.05)  # so that the memory differs from object to object
        self.glide = mlp(state + NOISE, hidden, 2)
        self.meet = mlp(2 * state + 5 + NOISE, hidden, 2)
        self.outline = mlp(fixed + 8, hidden, 4)
        self.visibility = mlp(state, hidden, 1)

    def forward(self, past: Regions, *, n_frames: int, n_futures: int) -> Futures:
        """Roll out `n_futures` possible futures of `n_frames` frames; the random numbers are torch's global ones."""
        if past.seen.shape[1] != self.n_past:
            raise ValueError(f"expected regions of {self.n_past} past frames, got {past.seen.shape[1]}")
        clip, slot = past.seen.any(dim=1).nonzero(as_tuple=True)  # of M objects
        position, reliable, seen = (x.transpose(1, 2)[clip, slot] for x in (past.position, past.reliable, past.seen))
        centre, velocity, gap = straight_line(position, reliable, seen)
        relative = (position - centre.repeat(1, 3)[:, None]) / UNIT * seen[..., None]
        history = torch.cat(
            [relative.clamp(-MAX_RELATIVE, MAX_RELATIVE), reliable, seen[..., None]], dim=-1
        )  # (M, T, 13)
        kind = self.attributes[past.class_id[clip, slot]]
        features = torch.cat([history.flatten(1), centre, velocity / UNIT, gap / self.n_past, kind], dim=-1)

        n_objects = len(clip)  # all rows from here on are K x M: the objects of future 0, of future 1, …
        features, kind, centre, velocity, gap, outline = (
            values.repeat(n_futures, 1)
            for values in (features, kind, centre, velocity, gap, clearest_outline(position, reliable, seen))
        )
        started = self.start(_with_noise(features))
        velocity = velocity + START_SCALE * UNIT * started[:, 2:4]
        here = centre + START_SCALE * UNIT * started[:, :2] + gap * velocity
        fixed = torch.cat([started[:, 4:], kind], dim=-1)
        same_clip = (clip[:, None] == clip).fill_diagonal_(False)
        shifts = n_objects * torch.arange(n_futures, device=clip.device)[:, None]
        pairs = tuple((shifts + index).flatten() for index in same_clip.nonzero(as_tuple=True))
        positions, visible = [], []
        for _ in range(n_frames):
            for _ in range(self.substeps):
                velocity = velocity + UNIT * self._change(fixed, here, velocity, *pairs)
                here = here + velocity / self.substeps
            reach = self.outline(torch.cat([fixed, here - centre, here, outline / UNIT], dim=-1))
            reach = outline * reach.clamp(-1, 1).exp()  # (K*M, 4)
            positions.append(torch.cat([here - reach[:, :2], here + reach[:, 2:], here], dim=-1))
            visible.append(self.visibility(torch.cat([fixed, here, velocity / UNIT], dim=-1)))
        shape = (len(past.seen), n_futures, n_frames, past.seen.shape[2])
        futures = Futures(centre.new_zeros(*shape, 6), centre.new_full(shape, NOT_VISIBLE))
        futures.position[clip, :, :, slot] = rearrange(torch.stack(positions), "f (k m) c -> m k f c", k=n_futures)
        futures.visible[clip, :, :, slot] = rearrange(torch.stack(visible), "f (k m) 1 -> m k f", k=n_futures)
        return futures

    def _change(self, fixed: Tensor, here: Tensor, velocity: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Change of the velocity (R, 2) of R objects in a step, units a frame. first, second: all pairs of one clip."""
        state = torch.cat([fixed, here, velocity / UNIT], dim=-1)
        speed = (velocity.square().sum(dim=-1, keepdim=True) + 1e-10).sqrt() / UNIT
        change = GLIDE_SCALE * self.glide(_with_noise(state)) * speed / (speed + REST_SPEED)
        with torch.no_grad():
            near = ((here[second] - here[first]).square().sum(dim=-1) < (REACH * UNIT) ** 2).nonzero()[:, 0]
        first, second = first[near], second[near]  # with a mask as the index, each would wait for the GPU
        own, other = state.index_select(0, first), state.index_select(0, second)
        relative = other[:, -4:] - own[:, -4:]
        apart = relative[:, :2] / UNIT
        nearness = (1 - apart.square().sum(dim=-1, keepdim=True) / REACH**2).square()
        meeting = torch.cat([own, other, apart, relative[:, 2:], nearness], dim=-1)
        return change.index_add(0, first, MEET_SCALE * self.meet(_with_noise(meeting)) * nearness)


def _with_noise(values: Tensor) -> Tensor:
    return torch.cat([values, torch.randn(*values.shape[:-1], NOISE, device=values.device)], dim=-1)


def straight_line(
    position: Float[Tensor, "M T 6"], reliable: Bool[Tensor, "M T 6"], seen: Bool[Tensor, "M T"]
) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"], Float[Tensor, "M 1"]]:
    """The centroid where each object was last seen, its velocity a frame, and how many frames ago that was.

    The velocity is the mean of the slopes of least-squares lines through the reliable sides and centroids.
    """
    n_frames = seen.shape[1]
    frames = torch.arange(n_frames, device=seen.device)
    last = (seen * frames).argmax(dim=1)  # (M,)
    time = (frames - last[:, None]).to(position.dtype)  # (M, T), <= 0
    recent = (seen & (time > -VELOCITY_FRAMES) & (time <= 0))[..., None]
    weights = recent * (reliable + 1e-3)  # (M, T, 6); a side that is cut off counts only where nothing else is known
    total = weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
    centred = time[..., None] - (weights * time[..., None]).sum(dim=1, keepdim=True) / total
    spread = (weights * centred.square()).sum(dim=1)  # (M, 6)
    slope = (weights * centred * position).sum(dim=1) / spread.clamp(min=1e-4)
    trust = spread * torch.tensor([1, 1, 1, 1, CENTROID_WEIGHT, CENTROID_WEIGHT], device=spread.device)
    trust, slope = (
        trust.unflatten(-1, (3, 2)),
        slope.unflatten(-1, (3, 2)),
    )  # of left, right and x; of top, bottom and y
    velocity = (trust * slope).sum(dim=-2) / trust.sum(dim=-2).clamp(min=1e-6)
    centre = position[torch.arange(len(last), device=seen.device), last, 4:]
    return centre, velocity, (n_frames - 1 - last)[:, None].to(position.dtype)


def clearest_frames(reliable: Bool[Tensor, "*M T 6"], seen: Bool[Tensor, "*M T"]) -> Int[Tensor, "*M"]:
    """The frame that shows most of each object: the one with the most reliable sides, and of these the last."""
    frames = torch.arange(seen.shape[-1], device=seen.device)
    clarity = reliable[..., :5].sum(dim=-1) * len(frames) + frames
    return clarity.masked_fill(~seen, -1).argmax(dim=-1)


def clearest_outline(
    position: Float[Tensor, "M T 6"], reliable: Bool[Tensor, "M T 6"], seen: Bool[Tensor, "M T"]
) -> Float[Tensor, "M 4"]:
    """How far each object reaches to the left, up, right and down from its centroid in its clearest frame."""
    where = position[torch.arange(len(position), device=seen.device), clearest_frames(reliable, seen)]
    outline = torch.cat([where[:, 4:] - where[:, :2], where[:, 2:4] - where[:, 4:]], dim=-1)
    return outline.clamp(min=MIN_OUTLINE * UNIT)


def energy_score(
    futures: Float[Tensor, "B K F N 6"], truth: Float[Tensor, "B F N 6"], known: Bool[Tensor, "B F N 6"]
) -> Float[Tensor, "B F N"]:
    """`score_futures` of the regions of objects, in units. Coordinates that are not known do not count."""
    known = known[:, None]

    def distance(first: Tensor, second: Tensor) -> Tensor:
        squared = ((first - second) * known).square().sum(dim=-1) / 3  # the six coordinates are three points
        return (squared / UNIT**2 + 0.02**2).sqrt()

    return score_futures(futures, truth, distance)
