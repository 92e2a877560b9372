"""Object dynamics with a learned law of motion, alone or beside the fitted physics: two systems."""

from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool
from torch import nn

from vidseg_utils.checks import check_choice
from vidseg_utils.models.object_tokens import NOISE
from vidseg_utils.systems.object_dynamics.filter import FilterSettings
from vidseg_utils.systems.object_dynamics.initial_state import EnsembleNoise
from vidseg_utils.systems.object_dynamics.learned.recipe import InteractionRecipe, TrajectoryRecipe
from vidseg_utils.systems.object_dynamics.learned.rollout import advance_with_network
from vidseg_utils.systems.object_dynamics.learned.tokens import TokenRecipe, advance_with_tokens
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
    recipe: ClassVar[type[TrajectoryRecipe]] = InteractionRecipe
    usual_dynamics: ClassVar[str] = "both"

    def __init__(
        self,
        constants: PhysicsConstants,
        network: nn.Module,
        *,
        dynamics: str | None = None,
        segmenter: nn.Module | None = None,
        settings: FilterSettings | None = None,
        seed: int = 0,
    ):
        dynamics = dynamics or self.usual_dynamics
        check_choice("dynamics", dynamics, DYNAMICS)
        super().__init__(constants, segmenter=segmenter, settings=settings, seed=seed)
        self.network = network.eval()
        self.dynamics = dynamics

    @classmethod
    def train(cls, workspace: Workspace) -> None:
        """Train U-Net, fit the physics and train the network, both on the annotations of the training videos.

        Raises ValueError, with the cure, where there are none.
        """
        if not is_finished(workspace.run_folder(cls.run_names[-1])):
            check_annotations(workspace)  # before anything else is trained
        SegmenterRecipe(workspace).train()
        train_physics(workspace)
        cls.recipe(workspace).train()

    @classmethod
    def load(cls, workspace: Workspace) -> "LearnedObjectDynamics":
        """Load all three."""
        return cls(
            load_constants(workspace),
            load_model(workspace.run_folder(cls.run_names[-1])),
            segmenter=workspace.load_network("unet"),
            seed=workspace.profile.training_seed,
        )

    def identity(self) -> dict[str, Any]:
        """Also which worlds the network moves."""
        return {**super().identity(), "dynamics": self.dynamics}

    def advance_worlds(self, worlds: Worlds, tracks: Tracks, *, ahead: int) -> None:
        """Move the possible worlds on from the last past frame by `ahead` frames of a clip, in place."""
        by_network = np.ones(len(worlds.active), dtype=bool)
        if self.dynamics == "learned":
            self.advance_with_network(worlds, tracks, by_network, frames=ahead * FRAME_STEP)
            return
        by_network[:] = np.arange(len(by_network)) % self.settings.members % 2 == 1
        names = [f.name for f in fields(Worlds)]
        learned, fitted = (
            Worlds(**{name: getattr(worlds, name)[half] for name in names}) for half in (by_network, ~by_network)
        )
        self.advance_with_network(learned, tracks, by_network, frames=ahead * FRAME_STEP)
        super().advance_worlds(fitted, tracks, ahead=ahead)
        for name in names:
            getattr(worlds, name)[by_network] = getattr(learned, name)
            getattr(worlds, name)[~by_network] = getattr(fitted, name)

    def advance_with_network(
        self, worlds: Worlds, tracks: Tracks, members: Bool[np.ndarray, " M"], *, frames: int
    ) -> None:
        """Move worlds on by video frames, in place. members: which of all possible worlds of all clips they are."""
        class_ids = np.repeat(tracks.class_id, self.settings.members, axis=0)
        advance_with_network(worlds, frames, self.network, class_ids[members])


class TokenObjectDynamics(LearnedObjectDynamics):
    """As object dynamics, but from the last past frame on a transformer over objects moves the possible worlds.

    Each world has its own random numbers, so the futures differ even where the states of frame 10 do not.
    """

    name = "object_dynamics_tokens"
    run_names = ("unet", "rigid_body_physics", "object_tokens")
    recipe = TokenRecipe
    usual_dynamics = "learned"

    def advance_with_network(
        self, worlds: Worlds, tracks: Tracks, members: Bool[np.ndarray, " M"], *, frames: int
    ) -> None:
        """Move worlds on by video frames, in place. The same clip has the same random numbers in any batch."""
        class_ids = np.repeat(tracks.class_id, self.settings.members, axis=0)
        numbers = EnsembleNoise(self.settings.members, self.seed)

        def noise(step: int) -> np.ndarray:
            return numbers.normal(step, "tokens", tracks.class_id, NOISE).reshape(*class_ids.shape, NOISE)[members]

        advance_with_tokens(worlds, frames, self.network, class_ids[members], noise=noise)
