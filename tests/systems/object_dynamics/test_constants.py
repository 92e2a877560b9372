"""Proves that the fitted constants come back from their JSON file exactly, and that a damaged file is refused."""

import json
from dataclasses import asdict

import pytest

from vidseg_utils.systems import build_system
from vidseg_utils.systems.object_dynamics import ObjectDynamics, training
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.training.run_folder import CONSTANTS

CONTENT = asdict(PhysicsConstants(rolling_friction=1 / 3, restitution_cube_sphere=0.1 + 0.2))


def test_constants_come_back_bit_for_bit_and_by_name(tmp_path):
    constants = PhysicsConstants(**CONTENT)
    constants.to_json(tmp_path / CONSTANTS)
    assert PhysicsConstants.from_json(tmp_path / CONSTANTS) == constants
    assert json.loads((tmp_path / CONSTANTS).read_text())["rolling_friction"] == 1 / 3
    assert [path.name for path in tmp_path.iterdir()] == [CONSTANTS]  # no temporary file is left


def test_restitution_is_looked_up_by_both_shapes():
    table = PhysicsConstants(restitution_cube_sphere=0.1, restitution_cylinder_cylinder=0.2).restitution
    assert table[0, 1] == table[1, 0] == 0.1 and table[2, 2] == 0.2
    assert table[0, 0] == PhysicsConstants().restitution_cube_cube


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (CONTENT | {"glue": 1.0}, "glue is unknown"),
        ({name: value for name, value in CONTENT.items() if name != "radius"}, "radius is missing"),
        (CONTENT | {"radius": float("nan")}, "radius is nan, no finite number"),
        (CONTENT | {"radius": float("inf")}, "radius is inf, no finite number"),
        (CONTENT | {"radius": "0.2"}, "radius is '0.2', no finite number"),
        (CONTENT | {"radius": None}, "radius is None, no finite number"),
        (CONTENT | {"radius": True}, "radius is True, no finite number"),
        (CONTENT | {"radius": 10**400}, "radius is 1000+, no finite number"),
        ([1.0], "holds a JSON list, not an object"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name_and_the_cure(tmp_path, content, fault):
    path = tmp_path / CONSTANTS
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"constants\.json .*{fault}; delete it and train again$"):
        PhysicsConstants.from_json(path)


def test_a_missing_or_cut_file_is_refused_with_its_name_and_the_cure(tmp_path):
    path = tmp_path / CONSTANTS
    with pytest.raises(ValueError, match=r"constants\.json is missing: .*; train it first$"):
        PhysicsConstants.from_json(path)
    path.write_text(json.dumps(CONTENT)[:-3])
    with pytest.raises(ValueError, match=r"constants\.json is not valid JSON: .*; delete it and train again$"):
        PhysicsConstants.from_json(path)


def test_a_finished_run_is_read_and_not_fitted_again(workspace, monkeypatch):
    here, constants = workspace(), PhysicsConstants(**CONTENT)
    monkeypatch.setattr(training, "fit_to_videos", lambda *_, **__: (constants, "masks", 2))
    assert training.train_physics(here, progress=False) == constants
    config = json.loads((here.run_folder("rigid_body_physics") / "config.json").read_text())
    assert config["finished"] and (config["fitted_to"], config["fitted_videos"]) == ("masks", 2)
    monkeypatch.delattr(training, "fit_to_videos")
    assert training.train_physics(here, progress=False) == constants


def test_a_system_without_its_constants_is_not_trained(workspace):
    here = workspace()
    here.run_folder("unet").mkdir(parents=True)
    (here.run_folder("unet") / "weights.safetensors").touch()
    (here.run_folder("unet") / "config.json").write_text('{"finished": true}')
    with pytest.raises(ValueError, match=r"needs the run .*rigid_body_physics-smoke, which is not trained yet"):
        build_system("object_dynamics", workspace=here)


def test_fitted_constants_count_as_parameters():
    assert ObjectDynamics(PhysicsConstants()).count_parameters() == 25
