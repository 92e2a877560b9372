"""Proves that shipped weights load without training, score as noted, and are neither written to nor handed in."""

import json
import shlex
from pathlib import Path

import pytest
import torch

from tests.helpers import fill_cache, moving_square
from vidseg_utils.data import generate
from vidseg_utils.evaluation import evaluate_system, leaderboard_table, read_leaderboard, write_submission
from vidseg_utils.paths import read_json
from vidseg_utils.running import record, setup
from vidseg_utils.systems import SYSTEMS, SegmenterRecipe, Workspace, build_system
from vidseg_utils.systems.object_dynamics import train_physics
from vidseg_utils.training import SHIPPED_RUNS, is_shipped, shipped, weights_hash
from vidseg_utils.weights import make

pytestmark = pytest.mark.slow
FULL_FRAMES = {"height": 160, "width": 240, "unet.base_channels": 2, "mask.configuration": "1_1_4_8_1"}
SHIPPED_FOLDERS = sorted(path.parent.name for path in shipped.SHIPPED_DIR.glob("*/config.json"))
NEEDS_WEIGHTS = pytest.mark.skipif(not SHIPPED_FOLDERS, reason=f"{shipped.SHIPPED_DIR} holds no weights yet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace of profile smoke with full frames, in which the three shipped runs are trained."""
    home = tmp_path_factory.mktemp("trained")
    generate(home / "data", train=2, val=1, unlabeled=1, hidden=1, seed=0, processes=1, progress=False)
    workspace = Workspace.for_profile("smoke", sizes=FULL_FRAMES, root=home / "data", runs=home / "runs", device="cpu")
    for name in ("mask_simvp", "object_dynamics"):
        SYSTEMS[name].train(workspace)
    return workspace


@pytest.fixture
def package(trained, tmp_path, monkeypatch, home):
    """The package, as if `trained` came with it."""
    folder = tmp_path / "weights"
    monkeypatch.setattr(shipped, "SHIPPED_DIR", folder)
    for name in SHIPPED_RUNS:
        make.ship(trained.run_folder(name), shipped.shipped_run(name))
    return folder


@pytest.fixture
def other_workspace(package, tmp_path):
    """A workspace that loads shipped weights, with other data and no runs."""
    root = tmp_path / "other"
    fill_cache(root, "train", [moving_square(0)])
    fill_cache(root, "val", [moving_square(1)])
    fill_cache(root, "hidden", [(2, moving_square(2)[1][:11], None)])
    return Workspace.for_profile("gpu", root=root, runs=tmp_path / "runs", device="cpu", shipped=True)


def test_shipped_weights_are_halved_and_close_to_the_trained_ones(trained, package):
    ours, theirs = trained.load_network("unet"), make.load_file(shipped.shipped_run("unet") / "weights.safetensors")
    assert {t.dtype for t in theirs.values() if t.ndim > 1} == {torch.float16}
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(theirs[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-4)
    before, after = (
        read_json(run / "config.json") for run in (trained.run_folder("unet"), shipped.shipped_run("unet"))
    )
    assert before.pop("sha256") != after.pop("sha256")
    assert before == after


@pytest.mark.parametrize("name", make.SYSTEMS)
def test_a_shipped_system_works_at_once_on_any_data(other_workspace, name, tmp_path):
    SYSTEMS[name].train(other_workspace)  # nothing to do
    system = build_system(name, workspace=other_workspace)
    evaluation = evaluate_system(system, other_workspace.split("val"), progress=False)
    evaluation.save(
        other_workspace.run_folder(name), system=name, workspace=other_workspace, split="val", true_masks=False
    )
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [f"{name}-gpu"]
    assert f"| {name} (shipped) | frames |" in leaderboard_table(read_leaderboard(other_workspace.runs))


def test_what_is_not_shipped_is_still_asked_for(other_workspace):
    with pytest.raises(ValueError, match="simvp-gpu, which is not trained yet"):
        build_system("simvp_unet", workspace=other_workspace)


def test_a_recipe_and_the_physics_load_what_is_shipped_and_write_nothing(other_workspace, package):
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    network, history = SegmenterRecipe(other_workspace).train()
    assert len(history) == 1
    assert weights_hash(network) == weights_hash(other_workspace.load_network("unet"))
    train_physics(other_workspace)
    record(other_workspace.run_folder("unet"), {"jaccard": 0.5})
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before
    assert not other_workspace.runs.exists()


def test_a_submission_by_shipped_weights_says_that_the_course_forbids_it(other_workspace, tmp_path, caplog):
    system = build_system("unet_copy_last", workspace=other_workspace)
    write_submission(tmp_path / "masks.pt", system, other_workspace.split("hidden"), progress=False)
    assert "the course forbids pretrained weights in a submission" in caplog.text


def test_setup_chooses_the_profile_of_the_shipped_weights(package, capsys, monkeypatch):
    session = setup(notebook="02_unet_segmentation", weights="shipped")
    assert session.profile.name == "cpu_full" and is_shipped(session.workspace.run_folder("unet"))
    assert "160x240 pixels, shipped weights" in capsys.readouterr().out
    assert not is_shipped(setup(notebook="02_unet_segmentation").workspace.run_folder("unet"))
    with pytest.raises(ValueError, match=r"unknown weights 'ours'; choose from \['shipped', 'train'\]"):
        setup(notebook="02_unet_segmentation", weights="ours")
    monkeypatch.setenv("VIDSEG_PROFILE", "smoke")
    with pytest.raises(ValueError, match=r"frames of 160x240 pixels, and profile smoke has 40x60; choose .* cpu_full"):
        setup(notebook="02_unet_segmentation", weights="shipped")


def test_the_command_makes_weights_and_notes_how(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "SHIPPED_DIR", tmp_path / "weights")
    commands = []
    monkeypatch.setattr(make.subprocess, "run", lambda arguments, check: commands.append(arguments[3:]))
    monkeypatch.setattr(make, "CHECK_VIDEOS", 1)
    monkeypatch.setattr(make, "SYSTEMS", ("unet_copy_last",))
    monkeypatch.setattr(make, "runs_dir", lambda: tmp_path / "runs")
    for name in SHIPPED_RUNS:
        (tmp_path / "runs" / f"{name}-cpu_full").parent.mkdir(exist_ok=True)
        (tmp_path / "runs" / f"{name}-cpu_full").symlink_to(trained.run_folder(name))
    make.main()
    made = json.loads((tmp_path / "weights" / "made.json").read_text())
    assert [step["command"] for step in made["steps"]] == list(make.COMMANDS)
    assert commands == [shlex.split(command)[1:] for command in make.COMMANDS]
    assert set(made["scores"]) == set(make.SYSTEMS)
    assert "torch" in made["machine"]


@NEEDS_WEIGHTS
def test_the_package_holds_what_it_says_and_is_small():
    assert [f"{name}-{shipped.SHIPPED_PROFILE}" for name in sorted(SHIPPED_RUNS)] == SHIPPED_FOLDERS
    assert make.shipped_bytes() <= make.MAX_BYTES
    patterns = ("weights/*", "weights/*/*")  # as in pyproject.toml
    package = Path(shipped.SHIPPED_DIR).parent
    listed = {path for pattern in patterns for path in package.glob(pattern)}
    assert {path for path in shipped.SHIPPED_DIR.rglob("*") if path.is_file()} <= listed


@NEEDS_WEIGHTS
def test_the_shipped_systems_score_as_noted(tmp_path):
    noted = read_json(make.made_file())["scores"]
    assert make.score_shipped(tmp_path) == pytest.approx(noted, abs=0.02)
