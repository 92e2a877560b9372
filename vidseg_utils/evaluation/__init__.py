"""Evaluate systems on a split, write and score submissions, compare answers, and rank all runs."""

from vidseg_utils.evaluation.calibration import Calibration, calibrate
from vidseg_utils.evaluation.comparison import error_rate_per_pixel, object_agreement, recall_by_collisions
from vidseg_utils.evaluation.evaluate import (
    Evaluation,
    check_evaluation_folder,
    describe_evaluation,
    evaluate_system,
)
from vidseg_utils.evaluation.leaderboard import (
    BEST_PUBLISHED_JACCARD,
    PUBLISHED_RECURRENT,
    leaderboard_table,
    leaderboard_tables,
    read_leaderboard,
    read_runs,
    recurrent_table,
)
from vidseg_utils.evaluation.saved_forecasts import SavedForecasts, read_forecasts
from vidseg_utils.evaluation.shared_work import ForecastWorkers, TrainedSystem, forecast_workers
from vidseg_utils.evaluation.submission import (
    missing_videos,
    predict_split,
    save_submission,
    write_submission,
)
from vidseg_utils.evaluation.submission_score import score_submission

__all__ = [
    "BEST_PUBLISHED_JACCARD",
    "PUBLISHED_RECURRENT",
    "Calibration",
    "Evaluation",
    "ForecastWorkers",
    "SavedForecasts",
    "TrainedSystem",
    "calibrate",
    "check_evaluation_folder",
    "describe_evaluation",
    "error_rate_per_pixel",
    "evaluate_system",
    "forecast_workers",
    "leaderboard_table",
    "leaderboard_tables",
    "missing_videos",
    "object_agreement",
    "predict_split",
    "read_forecasts",
    "read_leaderboard",
    "read_runs",
    "recall_by_collisions",
    "recurrent_table",
    "save_submission",
    "score_submission",
    "write_submission",
]
