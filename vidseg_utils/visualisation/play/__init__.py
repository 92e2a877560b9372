"""A scene to play with: laid out on the ground plan, simulated, filmed, and forecast by a system."""

from vidseg_utils.visualisation.play.scene_forecast import SceneForecast, forecast_scene
from vidseg_utils.visualisation.play.widget import Playground, play_with

__all__ = ["Playground", "SceneForecast", "forecast_scene", "play_with"]
