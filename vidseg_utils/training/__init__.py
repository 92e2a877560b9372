"""Training: the loop, the losses, and run folders, which stay valid if the process is killed.

`fit` trains a model into a run folder; `load_model` and `read_history` read that folder.
"""

from vidseg_utils.run_folders import read_history
from vidseg_utils.training.epoch import evaluate, train_one_epoch
from vidseg_utils.training.fit_config import FitConfig, truth_probability
from vidseg_utils.training.loop import fit
from vidseg_utils.training.losses import LOSSES, build_loss, still_pixels, temporal_consistency
from vidseg_utils.training.machine import describe_machine
from vidseg_utils.training.processes import is_first_process
from vidseg_utils.training.progress import draw_curves_with
from vidseg_utils.training.retraining import training_anew
from vidseg_utils.training.run_folder import is_evaluation, is_finished, is_interrupted, is_trained
from vidseg_utils.training.shipped import SHIPPED_EXAMPLE, SHIPPED_PROFILE, SHIPPED_RUNS, is_shipped, shipped_run
from vidseg_utils.training.weights import load_model, save_model, weights_hash

__all__ = [  # noqa: RUF022 - grouped by use
    # the loop
    "FitConfig",
    "draw_curves_with",
    "evaluate",
    "fit",
    "is_first_process",
    "train_one_epoch",
    "truth_probability",
    # losses
    "LOSSES",
    "build_loss",
    "still_pixels",
    "temporal_consistency",
    # run folders
    "describe_machine",
    "is_evaluation",
    "is_finished",
    "is_interrupted",
    "is_trained",
    "load_model",
    "read_history",
    "save_model",
    "training_anew",
    "weights_hash",
    # the run folders that come with the package
    "SHIPPED_EXAMPLE",
    "SHIPPED_PROFILE",
    "SHIPPED_RUNS",
    "is_shipped",
    "shipped_run",
]
