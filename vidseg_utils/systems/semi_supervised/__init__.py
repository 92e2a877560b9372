"""Semi-supervised SimVP, the winning recipe of the 2023 course: six stages of training, and the final system."""

from vidseg_utils.systems.semi_supervised.stages import STAGES, Stages
from vidseg_utils.systems.semi_supervised.system import SemiSupervisedSimVP

__all__ = ["STAGES", "SemiSupervisedSimVP", "Stages"]
