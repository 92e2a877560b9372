"""A learned law of motion for objects on the ground: a transformer whose tokens are the objects.

A token is an object's class, speed, spin and a few random numbers, so a scene has many possible futures. What two
objects are to each other (how far apart, how they meet, how a cube is turned) is measured along the line between them,
at the moment of the step at which they touch or come closest. It biases their attention and is part of what they tell
each other (relative attention: Shaw et al., 2018). All numbers are relative, so rotating or shifting the scene does the
same to the result. Unlike the interaction network it is told no impulse, no lever and no momentum.
"""

from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vidseg_utils.checks import check_positive
from vidseg_utils.classes import MATERIALS, SHAPES
from vidseg_utils.models.interaction_network import STOPPING_SPEED, USUAL_SPEED, USUAL_SPIN, Objects
from vidseg_utils.world.solids import CUBE, OBJECT_RADIUS

NOISE = 4  # random numbers of a token in each step
REACH = 0.7  # world units: objects whose centres stay further apart in a step do not affect each other
_TOUCHING = 2 * OBJECT_RADIUS + 0.02  # world units between the centres of two objects that touch, on average
_USUAL_GAP = 0.1  # world units
_MAX_INPUT = 6.0  # the inputs of a pair are clamped to +- this
_PAIR_INPUTS = 12
_SLOW = 0.005  # units a frame: added to the speed at which two objects meet
_SPEED_LOSS, _SPIN_LOSS = 5e-4, 2e-3  # units and radians a frame, each frame, where the network's output is 1
_SPIN_CHANGE = 3.0  # radians a unit: spin for the speed of a meeting, where the network's output is 1


@dataclass(frozen=True)
class NearPairs:
    """P ordered pairs of objects of one scene that come near each other within a step: each pair in both orders."""

    scene: Int[Tensor, " P"]
    first: Int[Tensor, " P"]  # slot of the object that is affected
    second: Int[Tensor, " P"]
    inputs: Float[Tensor, "P 12"]
    normal: Float[Tensor, "P 2"]  # direction from the first to the second where they touch or are closest
    nearness: Float[Tensor, " P"]  # in (0, 1]: 0 at a distance of REACH


class AttentionLayer(nn.Module):
    """Attention among the near objects of a scene, each one itself included; then a network for each token."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.bias, self.pair_value = nn.Linear(width, heads), nn.Linear(width, width)
        self.join = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(
        self, tokens: Float[Tensor, "M N D"], relations: Float[Tensor, "P D"], pairs: NearPairs
    ) -> Float[Tensor, "M N D"]:
        """relations: what the objects of each pair are to each other."""
        scenes, slots, _ = tokens.shape
        projected = self.query_key_value(self.before(tokens))
        query, key, value = rearrange(projected, "m n (part h d) -> part m h n d", part=3, h=self.heads)
        index = pairs.scene, pairs.first, pairs.second
        bias = tokens.new_full((scenes, slots, slots, self.heads), -torch.inf)
        bias.diagonal(dim1=1, dim2=2).zero_()
        bias = bias.index_put(index, self.bias(relations) + pairs.nearness.log()[:, None])
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + rearrange(bias, "m i j h -> m h i j")
        weights = scores.softmax(dim=-1)  # (M, H, N, N)
        heard = rearrange(weights @ value, "m h n d -> (m n) (h d)")
        told = rearrange(self.pair_value(relations), "p (h d) -> p h d", h=self.heads)
        told = told * rearrange(weights, "m h i j -> m i j h")[index][..., None]
        heard = heard.index_add(0, pairs.scene * slots + pairs.first, told.flatten(1))
        tokens = tokens + self.join(heard.view_as(tokens))
        return tokens + self.mlp(self.after(tokens))


class ObjectTokens(nn.Module):
    """One step of motion. step_frames: its video frames; width: numbers of a token; heads, layers: of the attention."""

    def __init__(self, step_frames: int = 3, width: int = 64, heads: int = 4, layers: int = 2):
        super().__init__()
        check_positive(step_frames=step_frames, width=width, heads=heads, layers=layers)
        if width % heads:
            raise ValueError(f"width {width} is not divisible by heads {heads}; choose for example {heads * 16}")
        self.step_frames = step_frames
        self.shape = nn.Embedding(len(SHAPES), width)
        self.material = nn.Embedding(len(MATERIALS), width)
        nn.init.zeros_(self.material.weight)  # materials are alike until training finds a difference
        self.motion = nn.Linear(2 + NOISE, width)
        self.relation = nn.Sequential(nn.Linear(_PAIR_INPUTS, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.layers = nn.ModuleList(AttentionLayer(width, heads) for _ in range(layers))
        self.glide = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2), nn.Softplus()
        )
        self.own, self.other = nn.Linear(width, width), nn.Linear(width, width)
        self.meet = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 5))

    def forward(self, objects: Objects, noise: Float[Tensor, "M N 4"]) -> Objects:
        """The same objects a step later; inactive ones do not change. noise: standard normal numbers."""
        speed = (objects.velocity.square().sum(-1) + 1e-14).sqrt()
        turning = objects.spin.abs()
        motion = torch.cat([speed[..., None] / USUAL_SPEED, turning[..., None] / USUAL_SPIN, noise], dim=-1)
        tokens = self.shape(objects.shape) + self.material(objects.material) + self.motion(motion)  # (M, N, D)
        pairs = find_near_pairs(objects, self.step_frames)
        relations = self.relation(pairs.inputs)  # (P, D)
        for layer in self.layers:
            tokens = layer(tokens, relations, pairs)

        half = self.step_frames / 2
        loss = self.glide(tokens) * self.step_frames
        left = functional.relu(1 - _SPEED_LOSS * loss[..., 0] / speed) * (speed > STOPPING_SPEED)
        turn_left = functional.relu(1 - _SPIN_LOSS * loss[..., 1] / turning.clamp_min(1e-7))
        velocity, spin = objects.velocity * left[..., None], objects.spin * turn_left
        position = objects.position + half * (objects.velocity + velocity)
        yaw = objects.yaw + half * (objects.spin + spin)
        push, shift, turn = self._meet(objects, tokens, relations, pairs)
        active = objects.active
        return replace(
            objects,
            position=torch.where(active[..., None], position + half * shift, objects.position),
            velocity=torch.where(active[..., None], velocity + push, objects.velocity),
            yaw=torch.where(active, yaw + half * turn, objects.yaw),
            spin=torch.where(active, spin + turn, objects.spin),
        )

    def _meet(
        self, objects: Objects, tokens: Tensor, relations: Tensor, pairs: NearPairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Changes of velocity (M, N, 2), mean velocity in the step (M, N, 2) and spin (M, N) by the objects nearby."""
        relative = objects.velocity[pairs.scene, pairs.second] - objects.velocity[pairs.scene, pairs.first]
        speed = (relative.square().sum(-1) + 1e-10).sqrt() + _SLOW
        own, other = self.own(tokens)[pairs.scene, pairs.first], self.other(tokens)[pairs.scene, pairs.second]
        effect = self.meet(own + other + relations) * (pairs.nearness * speed)[:, None]  # (P, 5)
        axes = torch.stack([pairs.normal, _turned_left(pairs.normal)], dim=1)  # (P, 2, 2)
        push, shift = torch.einsum("pka,pab->kpb", effect[:, :4].unflatten(-1, (2, 2)), axes)
        change = torch.cat([push, shift, _SPIN_CHANGE * effect[:, 4:]], dim=-1)
        slots = tokens.shape[1]
        total = change.new_zeros(tokens.shape[0] * slots, 5).index_add(0, pairs.scene * slots + pairs.first, change)
        push, shift, turn = total.unflatten(0, (-1, slots)).split([2, 2, 1], dim=-1)
        return push, shift, turn[..., 0]


@torch.no_grad()
def find_near_pairs(objects: Objects, step_frames: int) -> NearPairs:
    """The pairs that come nearer than REACH in the coming step, if all objects go straight on."""
    apart = objects.position[:, None] - objects.position[:, :, None]  # (M, N, N, 2): from the first to the second
    relative = objects.velocity[:, None] - objects.velocity[:, :, None]
    closing, square = (apart * relative).sum(-1), relative.square().sum(-1) + 1e-12
    inside = closing.square() - square * (apart.square().sum(-1) - _TOUCHING**2)  # negative: they miss each other
    time = ((-closing - inside.clamp_min(0).sqrt()) / square).clamp(0, step_frames)  # of touching or of being closest
    near = (apart + time[..., None] * relative).square().sum(-1) < REACH**2
    near = near & objects.active[:, None] & objects.active[:, :, None]
    near = near & ~torch.eye(near.shape[1], dtype=torch.bool, device=near.device)
    scene, first, second = index = near.nonzero(as_tuple=True)

    apart, relative, time = apart[index], relative[index], time[index]
    meeting, end = apart + time[:, None] * relative, apart + step_frames * relative
    distance = meeting.square().sum(-1).sqrt().clamp_min(1e-6)
    normal = meeting / distance[:, None]
    angle = torch.atan2(normal[:, 1], normal[:, 0])
    gaps = torch.stack([distance, apart.square().sum(-1).sqrt(), end.square().sum(-1).sqrt()], dim=-1) - _TOUCHING
    approach, slip = -(relative * normal).sum(-1), (relative * _turned_left(normal)).sum(-1)
    inputs = [gaps / _USUAL_GAP, time[:, None] / step_frames, torch.stack([approach, slip], dim=-1) / USUAL_SPEED]
    for slot in (first, second):
        spin, is_cube = objects.spin[scene, slot], objects.shape[scene, slot] == CUBE
        turned = 4 * (objects.yaw[scene, slot] + time * spin - angle)  # a square looks the same after a quarter turn
        inputs.append(torch.stack([turned.cos() * is_cube, turned.sin() * is_cube, spin / USUAL_SPIN], dim=-1))
    inputs = torch.cat(inputs, dim=-1).clamp(-_MAX_INPUT, _MAX_INPUT)
    return NearPairs(scene, first, second, inputs, normal, 1 - (distance / REACH) ** 2)


def _turned_left(vector: Tensor) -> Tensor:
    return torch.stack([-vector[:, 1], vector[:, 0]], dim=-1)
