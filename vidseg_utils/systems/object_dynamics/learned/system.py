"""Object dynamics with a learned law of motion, alone or beside the fitted physics."""

from dataclasses import fields
from typing import Any

import numpy as np
from torch import nn

from vidseg_utils.checks import check_choice
from vidseg_utils.systems.object_dynamics.filter import FilterSettings
from vidseg_utils.systems.object_dynamics.learned.recipe import InteractionRecipe
from vidseg_utils.systems.object_dynamics.learned.rollout import advance_with_network
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds
from vidseg_utils.systems.object_dynamics.system import ObjectDynamics
from vidseg_utils.systems.object_dynamics.training import check_annotations, load_constants, train_physics
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import FRAME_STEP
from vidseg_utils.training.run_folder import is_finished
from vidseg_utils.training.weights import load_model

DYNAMICS = ("learned", "both")


class LearnedObjectDynamics(ObjectDynamics):
    """As object dynamics, but from the last past frame on the interaction network moves the possible worlds.

    dynamics: "learned": the network moves all worlds; "both": the fitted physics moves every other one, so that the
    forecast is uncertain where the two disagree
    """

    name = "object_dynamics_learned"
    run_names = ("unet", "rigid_body_physics", "interaction_network")

    def __init__(
        self,
        constants: PhysicsConstants,
        network: nn.Module,
        *,
        dynamics: str = "both",
        segmenter: nn.Module | None = None,
        settings: FilterSettings | None = None,
        seed: int = 0,
    ):
        check_choice("dynamics", dynamics, DYNAMICS)
        super().__init__(constants, segmenter=segmenter, settings=settings, seed=seed)
        self.network = network.eval()
        self.dynamics = dynamics

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, fit the physics and train the network, both on the annotations of the training videos.

        Raises ValueError, with the cure, where there are none.
        """
        if not is_finished(workspace.run_folder("interaction_network")):
            check_annotations(workspace)  # before anything else is trained
        SegmenterRecipe(workspace).train()
        train_physics(workspace)
        InteractionRecipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> "LearnedObjectDynamics":
        """Load all three."""
        return cls(
            load_constants(workspace),
            load_model(workspace.run_folder("interaction_network")),
            segmenter=workspace.load_network("unet"),
            seed=workspace.profile.training_seed,
        )

    def identity(self) -> dict[str, Any]:
        """Also which worlds the network moves."""
        return {**super().identity(), "dynamics": self.dynamics}

    def advance_worlds(self, worlds: Worlds, tracks: Tracks, *, ahead: int) -> None:
        """Move the possible worlds on from the last past frame by `ahead` frames of a clip, in place."""
        class_ids = np.repeat(tracks.class_id, self.settings.members, axis=0)
        if self.dynamics == "learned":
            advance_with_network(worlds, ahead * FRAME_STEP, self.network, class_ids)
            return
        by_network = np.arange(len(worlds.active)) % self.settings.members % 2 == 1
        names = [f.name for f in fields(Worlds)]
        learned, fitted = (
            Worlds(**{name: getattr(worlds, name)[half] for name in names}) for half in (by_network, ~by_network)
        )
        advance_with_network(learned, ahead * FRAME_STEP, self.network, class_ids[by_network])
        super().advance_worlds(fitted, tracks, ahead=ahead)
        for name in names:
            getattr(worlds, name)[by_network] = getattr(learned, name)
            getattr(worlds, name)[~by_network] = getattr(fitted, name)
