"""What the browser shows of a scene, in JSON types: where objects go, what happened and what was forecast."""

from typing import Any

import numpy as np

from vidseg_utils.task import CLIP_FRAMES, CLIP_VIDEO_FRAMES, PAST_FRAMES
from vidseg_utils.visualisation.play.figure import describe_errors
from vidseg_utils.visualisation.play.scene_forecast import SceneForecast, empty_stage
from vidseg_utils.visualisation.viewer.packing import pack_clip
from vidseg_utils.world import Trajectory

PATH_STEP = 2  # video frames between two points of a path


def pack_paths(trajectory: Trajectory) -> dict[str, Any]:
    """paths: {class id: [[x, y], …], one in PATH_STEP video frames}; hits: [[frame of the clip, x, y], …]"""
    last = CLIP_VIDEO_FRAMES[-1]
    paths = trajectory.positions[: last + 1 : PATH_STEP, :, :2].round(3)  # (P, N, 2)
    step = CLIP_VIDEO_FRAMES[1]
    hits = [[c.frame / step, *np.round(c.location[:2], 3).tolist()] for c in trajectory.collisions if c.frame <= last]
    return {
        "paths": {str(id_): paths[:, n].tolist() for n, id_ in enumerate(trajectory.class_ids.tolist())},
        "hits": hits,
    }


def pack_result(played: SceneForecast, name: str) -> dict[str, Any]:
    """What the browser shows of a forecast, in JSON types.

    paths, hits: see `pack_paths`; moments: {class id: [[x, y, yaw], …]} in the 22 frames; clip: see `pack_clip`
    forecast: {class id: {chosen: [[x, y], …], possible: [[[x, y], …], …]}} from frame 10 on; scores; seconds; summary
    """
    clip, outlook = played.trajectory.select_frames(CLIP_VIDEO_FRAMES), played.forecast.outlook
    yaws = np.arctan2(clip.rotations[..., 1, 0], clip.rotations[..., 0, 0])
    moments = np.concatenate([clip.positions[..., :2], yaws[..., None]], axis=-1).round(3)  # (22, N, 3)
    forecast = {}
    if outlook is not None:
        for n, id_ in enumerate(outlook.class_id.tolist()):
            chosen, possible = outlook.positions[:, n].round(3), outlook.possible_positions[:, :, n].round(2)
            forecast[str(id_)] = {"chosen": chosen.tolist(), "possible": possible.tolist()}
    scores = {key: None if np.isnan(score) else round(score, 4) for key, score in played.scores.items()}
    return {
        **pack_paths(played.trajectory),
        "moments": {str(id_): moments[:, n].tolist() for n, id_ in enumerate(clip.class_ids.tolist())},
        "forecast": forecast,
        "clip": _pack(played, name),
        "scores": scores,
        "seconds": played.seconds,
        "summary": describe_errors(played),
    }


def _pack(played: SceneForecast, name: str) -> dict[str, Any]:
    """Two panels: what happens, and the forecast over the empty stage, because its future frames are unknown."""
    frames, truth, forecast = played.clip.frames, played.clip.masks, played.forecast
    stage = np.broadcast_to(empty_stage(), frames[PAST_FRAMES:].shape)
    ahead = [mask for mask in forecast.masks if mask is not None]  # of every frame, or of the last one only
    whole = len(ahead) == CLIP_FRAMES - PAST_FRAMES
    masks = {"truth": truth, "forecast": np.stack([*forecast.past_masks, *ahead] if whole else ahead)}
    return pack_clip(
        {"video": frames, "given": np.concatenate([frames[:PAST_FRAMES], stage])},
        masks,
        panels=[
            {"title": "what happens", "images": "video", "mask": "truth"},
            {"title": f"forecast by {name}", "images": "given", "mask": "forecast"},
        ],
        trajectory=played.trajectory,
    )
