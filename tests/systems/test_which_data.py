"""Proves that no run is taken for one of other data: training refuses it, and an evaluation notes both data sets."""

import json
import shutil
from dataclasses import replace

import pytest

from tests.helpers import fill_cache, moving_square
from vidseg_utils.evaluation import evaluate_system, leaderboard_table, read_leaderboard
from vidseg_utils.evaluation.evaluate import check_evaluation_folder, describe_evaluation
from vidseg_utils.paths import read_json
from vidseg_utils.systems import SYSTEMS, build_system
from vidseg_utils.systems.object_dynamics import ObjectDynamics, training
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.systems.unet_segmenter import SegmenterRecipe


@pytest.fixture
def here(workspace, root):
    return workspace()


@pytest.fixture
def there(here, tmp_path_factory):
    """The same runs, but other videos in a root of the same name."""
    other = tmp_path_factory.mktemp("other") / here.root.name
    fill_cache(other, "train", [moving_square(1), moving_square(2)])
    fill_cache(other, "val", [moving_square(0)])
    return replace(here, root=other)


def test_a_finished_run_of_other_data_is_not_taken_for_trained(here, there):
    SYSTEMS["unet_copy_last"].train(here)
    noted = read_json(here.run_folder("unet") / "config.json")["trained_on"]
    assert noted["text"] == "not generated: 2 train, 1 val, 1 unlabeled, 1 hidden"
    with pytest.raises(ValueError, match=rf"unet-smoke was trained on other data .*{noted['id']}.*--runs"):
        SYSTEMS["unet_copy_last"].train(there)
    copy = shutil.copytree(here.root, there.root.parent / "renamed", ignore=shutil.ignore_patterns("runs"))
    SYSTEMS["unet_copy_last"].train(replace(here, root=copy))  # the same data elsewhere


def test_an_interrupted_run_is_neither_resumed_on_other_data_nor_scored(here, there, monkeypatch):
    epochs = []

    def stop(self, epoch):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(SegmenterRecipe, "on_epoch", stop)
    here, there = (w.with_sizes({"unet.epochs": 2}) for w in (here, there))
    with pytest.raises(KeyboardInterrupt):
        SegmenterRecipe(here).train()
    with pytest.raises(ValueError, match="unet-smoke was trained on other data"):
        SegmenterRecipe(there).train()
    with pytest.raises(
        ValueError, match=r"unet-smoke, which is not finished; train it with `vidseg train unet_copy_last"
    ):
        build_system("unet_copy_last", workspace=here)
    with pytest.raises(ValueError, match="unet-smoke is not finished; train it with the same command"):
        here.load_network("unet")
    with pytest.raises(ValueError, match="unet-smoke is not finished; train it with the same command"):
        SegmenterRecipe(here, start_from="unet-smoke").train(here.runs / "later")


def test_fitted_constants_belong_to_their_data_and_are_checked(here, there, monkeypatch):
    run = here.run_folder("rigid_body_physics")
    monkeypatch.setattr(training, "fit_to_videos", lambda *_, **__: (PhysicsConstants(), "masks", 2))
    training.train_physics(here, progress=False)
    with pytest.raises(ValueError, match="physics-smoke was trained on other data"):
        training.train_physics(there, progress=False)
    PhysicsConstants(radius=0.3).to_json(run / "constants.json")
    with pytest.raises(ValueError, match=r"constants\.json is damaged: its checksum"):
        training.train_physics(here, progress=False)


def test_a_network_of_another_frame_size_is_refused(here, workspace):
    SegmenterRecipe(here).train()
    larger = workspace(sizes={"height": 80, "width": 120})
    with pytest.raises(ValueError, match="unet-smoke was trained on frames of 40x60 pixels, not 80x120"):
        build_system("unet_copy_last", workspace=larger)


def test_evaluation_is_free_and_notes_both_data_sets(here, there):
    SYSTEMS["unet_copy_last"].train(here)
    system, folders = build_system("unet_copy_last", workspace=here), []
    for place in (here, there):
        result = evaluate_system(system, place.split("val"), progress=False)
        folders.append(place.evaluation_folder("unet_copy_last"))
        result.save(folders[-1], system="unet_copy_last", workspace=place, split="val", true_masks=False)
    configs = [read_json(folder / "config.json") for folder in folders]
    assert folders[0] != folders[1]
    assert all(here.root.name in folder.name for folder in folders)
    assert configs[0]["scored_on"]["id"] in folders[0].name
    assert configs[0]["scored_on"] != configs[1]["scored_on"]
    assert configs[0]["trained_on"] == configs[1]["trained_on"] == {"unet-smoke": configs[0]["scored_on"]}
    rows = read_leaderboard(here.runs)
    tables = leaderboard_table(rows).split("Scored on data ")
    assert len(tables) == 3
    for config, metrics in zip(configs, [read_json(folder / "metrics.json") for folder in folders], strict=True):
        (table,) = (t for t in tables if t.startswith(config["scored_on"]["id"]))
        assert config["scored_on"]["text"] in table
        assert table.count("baseline") == table.count("upper bound") == table.count("unet_copy_last") == 1
        assert f"truth | {metrics['copy_last_jaccard']:.3f}" in table
    with pytest.raises(ValueError, match=r"holds another evaluation \(scored_on: .*delete it"):
        result.save(folders[0], system="unet_copy_last", workspace=there, split="val", true_masks=False)


def test_an_evaluation_never_writes_into_a_training_or_a_notebooks_run(here):
    SegmenterRecipe(here).train()
    run = here.run_folder("unet")
    before = {path: path.read_bytes() for path in run.iterdir()}
    description = describe_evaluation("copy_last", here, split="val", true_masks=True)
    with pytest.raises(ValueError, match="unet-smoke holds a training, which an evaluation would overwrite; choose"):
        check_evaluation_folder(run, description)
    result = evaluate_system(SYSTEMS["copy_last"].load(here), here.split("val"), true_masks=True, progress=False)
    with pytest.raises(ValueError, match="holds a training"):
        result.save(run, system="copy_last", workspace=here, split="val", true_masks=True)
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    (here.runs / "lesson").mkdir()
    (here.runs / "lesson" / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match="holds the metrics of a notebook"):
        check_evaluation_folder(here.runs / "lesson", description)
    result.save(here.run_folder("copied"), system="copy_last", workspace=here, split="val", true_masks=True)
    with pytest.raises(ValueError, match="copied-smoke holds the evaluation of a system; choose another name"):
        SegmenterRecipe(here).train(here.run_folder("copied"))


@pytest.mark.parametrize("name", ["../../x", "/x", "a/b", ".hidden", "..", ""])
def test_a_run_name_is_one_folder_name(here, name):
    with pytest.raises(ValueError, match="is not a plain folder name"):
        here.run_folder(name)


def test_the_identity_of_a_system_has_its_constants():
    first, same, other = (ObjectDynamics(PhysicsConstants(radius=radius)).identity() for radius in (0.2, 0.2, 0.21))
    assert json.loads(json.dumps(first)) == same
    assert first != other
