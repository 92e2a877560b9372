"""The fitted constants of object dynamics as a model, so that a run folder keeps them like any other weights."""

import torch
from torch import Tensor, nn


class ObjectDynamicsModel(nn.Module):
    """The constants of planar rigid-body physics; what they mean is `systems.object_dynamics.PlanarConstants`.

    n_constants: how many there are.
    """

    def __init__(self, n_constants: int = 18):
        super().__init__()
        if n_constants < 1:
            raise ValueError(f"n_constants is {n_constants}; it must be 1 or more")
        self.constants = nn.Parameter(torch.zeros(n_constants, dtype=torch.float64), requires_grad=False)

    def forward(self) -> Tensor:
        """Returns: (n_constants,) float64, in world units and video frames."""
        return self.constants
