"""The systems by name. A new system is a file with its `Forecaster` class, and one line here."""

from vidseg_utils.systems.base import Forecaster
from vidseg_utils.systems.convlstm_unet import ConvLSTMUnet
from vidseg_utils.systems.copy_last import CopyLast, UnetCopyLast
from vidseg_utils.systems.image_dynamics.system import ImageDynamics
from vidseg_utils.systems.jepa.system import JEPASystem
from vidseg_utils.systems.mask_simvp.system import (
    UnetMaskSimVP,
    UnetMaskSimVPCrossEntropy,
    UnetMaskSimVPMSE,
    UnetMaskSimVPRollout,
)
from vidseg_utils.systems.object_dynamics import LearnedObjectDynamics, ObjectDynamics, TokenObjectDynamics
from vidseg_utils.systems.recurrent_unet.system import RecurrentCopyLast, RecurrentObjectDynamics
from vidseg_utils.systems.semi_supervised.system import SemiSupervisedSimVP
from vidseg_utils.systems.simvp_unet import SimVPRolloutUnet, SimVPUnet
from vidseg_utils.systems.workspace import Workspace
from vidseg_utils.training.run_folder import is_finished, is_interrupted

SYSTEMS: dict[str, type[Forecaster]] = {
    system.name: system
    for system in (
        CopyLast,
        UnetCopyLast,
        SimVPUnet,
        SimVPRolloutUnet,
        UnetMaskSimVP,
        UnetMaskSimVPCrossEntropy,
        UnetMaskSimVPMSE,
        UnetMaskSimVPRollout,
        ImageDynamics,
        ConvLSTMUnet,
        SemiSupervisedSimVP,
        JEPASystem,
        ObjectDynamics,
        LearnedObjectDynamics,
        TokenObjectDynamics,
        RecurrentCopyLast,
        RecurrentObjectDynamics,
    )
}


def system_class(name: str) -> type[Forecaster]:
    """The class of a system. Raises ValueError with the choices for an unknown name."""
    if name not in SYSTEMS:
        raise ValueError(f"unknown system {name!r}; choose from {sorted(SYSTEMS)}")
    return SYSTEMS[name]


def build_system(name: str, *, workspace: Workspace | None = None, profile: str = "auto") -> Forecaster:
    """Load a trained system from its finished runs.

    workspace: the workspace with its runs; by default that of `profile`
    Raises ValueError for an unknown name, or for a run that is missing, with the cure.
    """
    cls = system_class(name)
    workspace = workspace or Workspace.for_profile(profile)
    for run_name in cls.run_names:
        run = workspace.run_folder(run_name)
        if not is_finished(run):
            state = "is not finished" if is_interrupted(run) else "is not trained yet"
            raise ValueError(
                f"{name} needs the run {run}, which {state}; "
                f"train it with `vidseg train {name} --profile {workspace.profile.name}`"
            )
    return cls.load(workspace)
