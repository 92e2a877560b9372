"""The fitted constants of object dynamics as a model, so that a run folder keeps them like any other weights."""

import torch
from torch import Tensor, nn

from vidseg_utils.checks import check_positive


class ObjectDynamicsModel(nn.Module):
    """The constants of planar rigid-body physics; what they mean is `systems.object_dynamics.PlanarConstants`.

    n_constants: how many there are.
    """

    def __init__(self, n_constants: int = 18):
        super().__init__()
        check_positive(n_constants=n_constants)
        self.constants = nn.Parameter(torch.zeros(n_constants, dtype=torch.float64), requires_grad=False)

    def forward(self) -> Tensor:
        """Returns: (n_constants,) float64, in world units and video frames."""
        return self.constants
