"""Object dynamics with a learned law of motion, alone or beside the fitted physics."""

from dataclasses import fields

import numpy as np
from torch import nn

from vidseg_utils.checks import check_choice
from vidseg_utils.models.interaction_network import InteractionNetwork
from vidseg_utils.systems.object_dynamics.filter import FilterSettings
from vidseg_utils.systems.object_dynamics.learned.recipe import InteractionRecipe
from vidseg_utils.systems.object_dynamics.learned.rollout import advance_with_network
from vidseg_utils.systems.object_dynamics.perception.tracks import Tracks
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.object_dynamics.physics.rigid_body import Worlds
from vidseg_utils.systems.object_dynamics.system import ObjectDynamics, load_constants, train_physics
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.task import FRAME_STEP, FUTURE_FRAMES
from vidseg_utils.training.weights import load_model

DYNAMICS = ("learned", "both")


class LearnedObjectDynamics(ObjectDynamics):
    """As object dynamics, but from the last past frame on the interaction network moves the possible worlds.

    dynamics: "learned" moves them all; with "both" every other one is left to the fitted physics, so that where the two
    disagree the answer knows that it is uncertain.
    """

    name = "object_dynamics_learned"
    run_names = ("unet", "rigid_body_physics", "interaction_network")

    def __init__(
        self,
        constants: PhysicsConstants,
        network: InteractionNetwork,
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
        """Train U-Net, fit the physics and train the network, both on the annotations of the training videos."""
        SegmenterRecipe(workspace).train()
        train_physics(workspace)
        InteractionRecipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> "LearnedObjectDynamics":
        """Load all three."""
        return cls(
            load_constants(workspace),
            load_model(workspace.run_folder("interaction_network")),
            segmenter=load_model(workspace.run_folder("unet"), device=workspace.device),
            seed=workspace.profile.seed,
        )

    def advance_to_last_frame(self, worlds: Worlds, tracks: Tracks) -> None:
        """Let the possible worlds run on to the frame of the answer."""
        class_ids = np.repeat(tracks.class_id, self.settings.members, axis=0)
        if self.dynamics == "learned":
            advance_with_network(worlds, FUTURE_FRAMES * FRAME_STEP, self.network, class_ids)
            return
        learned = np.arange(len(worlds.active)) % self.settings.members % 2 == 1
        parts = [Worlds(**{f.name: getattr(worlds, f.name)[of] for f in fields(Worlds)}) for of in (learned, ~learned)]
        advance_with_network(parts[0], FUTURE_FRAMES * FRAME_STEP, self.network, class_ids[learned])
        super().advance_to_last_frame(parts[1], tracks)
        for part, of in zip(parts, (learned, ~learned), strict=True):
            for f in fields(Worlds):
                getattr(worlds, f.name)[of] = getattr(part, f.name)
