"""The system of the JEPA: embeddings of four past frames, those of frame 21, then a mask."""

from typing import Self

from torch import Tensor, nn

from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.jepa.recipe import JEPADecoderRecipe, JEPARecipe
from vidseg_utils.systems.workspace import Workspace


class JEPASystem(Forecaster):
    """Its masks do not beat copying at profile `cpu`. A JEPA predicts embeddings, and a decoder reads masks off them.

    Where objects move, a linear probe of the predicted embeddings is nearer to their place than copying; the decoder
    draws only what is fairly certain.
    """

    name = "jepa"
    run_names = ("jepa_embeddings", "jepa_decoder")
    gives_probabilities = True

    def __init__(self, forecaster: nn.Module):
        super().__init__()
        self.forecaster = forecaster

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train encoder and predictor without labels, then the decoder on labelled videos."""
        JEPARecipe(workspace).train()
        JEPADecoderRecipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> Self:
        """Load the decoder's run, which holds the JEPA too."""
        return cls(workspace.load_network(cls.run_names[-1]))

    def forecast_frames(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, H, W)."""
        return self.forecaster(frames)[:, 0].argmax(dim=1)

    def class_probabilities(self, frames: Tensor) -> Tensor:
        """frames: (B, 11, 3, H, W) -> (B, 49, H, W)."""
        return self.forecaster(frames)[:, 0].softmax(dim=1)
