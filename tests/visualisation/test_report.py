"""Proves that the report shows what run folders hold, escapes it, needs nothing from elsewhere, and stays small."""

import json
import re
import shutil
from html import unescape

import pytest

from tests.helpers import fill_cache, moving_square
from vidseg_utils.evaluation import evaluate_system, leaderboard_tables, read_leaderboard
from vidseg_utils.paths import read_json, write_json
from vidseg_utils.profiles import get_profile
from vidseg_utils.systems import CopyLast, Workspace
from vidseg_utils.visualisation.report import page
from vidseg_utils.visualisation.report.run_set import read_run_set

HOSTILE = '</script><script>window.harm = 1</script><img src=x onerror="window.harm = 1">'


def write_training(run, *, epochs: int, score: float = 0.5, parameters: dict | None = None) -> None:
    """The files of a training, of a sweep where there are parameters."""
    data = {"id": "0123456789ab", "text": "some videos"}
    fit = {"epochs": epochs, "monitor": "jaccard", "mode": "max"}
    write_json(run / "config.json", {"task": "segmentation", "profile": "smoke", "fit": fit, "trained_on": data})
    rows = [{"epoch": n + 1, "train_loss": 1 / (n + 1), "jaccard": score, "seconds": 30} for n in range(epochs)]
    (run / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(run / "metrics.json", {"segmentation_jaccard": score})
    if parameters is not None:
        write_json(run / "parameters.json", {"notebook": "02_x", "profile": "smoke", "parameters": parameters})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with an evaluation of copy-last on three videos, a training, and a sweep of two runs."""
    home = tmp_path_factory.mktemp("home")
    fill_cache(home / "data" / "mine", "val", [moving_square(number) for number in range(3)])
    workspace = Workspace.for_profile(get_profile("smoke"), root=home / "data" / "mine", runs=home / "runs")
    result = evaluate_system(CopyLast(), workspace.split("val"), true_masks=True, progress=False)
    result.save(home / "runs" / "a", system="copy_last", workspace=workspace, split="val", true_masks=True)
    write_training(home / "runs" / "unet-smoke", epochs=3)
    for rate, score in ((1, 0.25), (2, 0.75)):
        parameters = {"RATE": rate, "SEED": 0}
        write_training(home / "runs" / f"rates-smoke-RATE={rate}", epochs=2, score=score, parameters=parameters)
    return home


@pytest.fixture(scope="module")
def pages(home, tmp_path_factory):
    """The report of the home, and its page of clips."""
    return page.write_report(tmp_path_factory.mktemp("out") / "report.html", home)


@pytest.fixture
def copy(home, tmp_path):
    """A copy of the home that a test may change."""
    return shutil.copytree(home, tmp_path / "copy")


def text_of(html: str) -> str:
    """What a reader sees."""
    return re.sub(r"\s+", " ", re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL))


def test_the_page_shows_scores_clips_curves_sweeps_settings_machine_and_data(home, pages):
    report, clips = pages
    html, row = report.read_text(), read_leaderboard(home / "runs")[0]
    text = text_of(html)
    (table,) = leaderboard_tables([row])
    for line in table.lines:
        assert re.search(r"\s+".join(re.escape(cell) for cell in line if cell), text), line
    assert "upper bound" in text and "baseline" in text
    for part in ("4 runs", "rates, smoke", "RATE", "unet-smoke", "3 epochs, 1.5 min", "fit.epochs=3", row["machine"]):
        assert part in text, part
    assert row["scored_on"]["text"] in text and "some videos" in text
    assert html.count('class="clip"') == 3 and html.count("export function createViewer") == 1
    assert clips.name == "report-clips.html" and 'href="report-clips.html"' in html
    assert clips.read_text().count('class="clip"') == 3
    assert len(html) < 1_000_000


def test_the_page_asks_for_nothing_from_elsewhere(pages):
    for path in pages:
        html = unescape(path.read_text())
        assert "default-src 'none'" in html and not re.search(r'(src|href)="(https?:)?//', html)
        assert set(re.findall(r'(?:src|href)="([^"#:]*)', html)) <= {"", "data", "report-clips.html", "report.html"}


def test_what_run_folders_say_cannot_become_a_script(copy, tmp_path):
    run = copy / "runs" / "<script>harm$a"
    (copy / "runs" / "a").rename(run)
    config = read_json(run / "config.json")
    write_json(run / "config.json", {**config, "system": HOSTILE, "profile": HOSTILE, "machine": HOSTILE})
    name = "rates-smoke-RATE=1"
    parameters = {"RATE": HOSTILE, "SEED": HOSTILE}
    write_json(
        copy / "runs" / name / "parameters.json", {"notebook": HOSTILE, "profile": "smoke", "parameters": parameters}
    )
    for path in page.write_report(tmp_path / "report.html", copy):
        html = path.read_text()
        assert "<script>window" not in html and "<img src=x" not in html and "<script>harm" not in html
        scripts = re.findall(r"<script[^>]*>", html)
        assert set(scripts) == {'<script type="module">', '<script type="application/json">'}
        assert html.count("</script>") == len(scripts)


def test_two_sets_of_runs_stand_side_by_side(home, copy, tmp_path):
    metrics = copy / "runs" / "a" / "metrics.json"
    write_json(metrics, {**read_json(metrics), "jaccard": 0.9})
    report, _ = page.write_report(tmp_path / "report.html", home, against=copy / "runs")
    text = text_of(report.read_text())
    score = read_leaderboard(home / "runs")[0]["jaccard"]
    assert f"copy_last {score:.3f} 0.900 +{0.9 - score:.3f} true masks smoke" in text
    assert f"A · {home.name}" in text and "B · copy" in text


def test_a_report_needs_neither_data_nor_evaluations(copy, tmp_path):
    shutil.rmtree(copy / "data")
    report, *others = page.write_report(tmp_path / "report.html", copy)
    assert "Not all forecasts could be read" in report.read_text() and not others
    shutil.rmtree(copy / "runs" / "a")
    (report,) = page.write_report(tmp_path / "report.html", copy)
    assert "No system is evaluated yet" in report.read_text()


def test_a_sweep_shows_what_varies_and_its_best_run_first(home):
    (sweep,) = read_run_set(home).sweeps
    assert sweep.varied == ["RATE"] and [sweep.setting(run) for run in sweep.runs] == ["rate 2", "rate 1"]
    assert [run.name for run in read_run_set(home / "runs").trainings] == ["unet-smoke"]


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no run folder in .*nowhere"):
        page.write_report(tmp_path / "report.html", tmp_path / "nowhere")
    assert not (tmp_path / "report.html").exists()


def test_damaged_run_folders_are_rows_that_say_what_is_wrong(copy, tmp_path):
    (copy / "runs" / "unet-smoke" / "history.jsonl").write_text('{"train_loss": 1}\n{"train_loss": 1}\n')
    (copy / "runs" / "rates-smoke-RATE=1" / "parameters.json").write_text('{"notebook": ')
    (copy / "runs" / "rates-smoke-RATE=2" / "metrics.json").write_text("[]")
    (report, _) = page.write_report(tmp_path / "report.html", copy)
    text = text_of(unescape(report.read_text()))
    assert "; 3 damaged" in text and "Damaged run folders" in text and "copy_last" in text
    assert text.count("history.jsonl is damaged: an epoch has no number") == 2  # in a table of its own and in the list
    (copy / "runs" / "a" / "config.json").write_text("{")
    (report,) = page.write_report(tmp_path / "report.html", copy)
    assert "a config.json is not valid JSON" in text_of(report.read_text())


def test_trainings_inside_other_run_folders_and_sweeps_of_notebooks_and_seeds_are_shown(home, tmp_path):
    shutil.copytree(home / "runs" / "unet-smoke", tmp_path / "14_x-smoke" / "gru-0")
    write_json(tmp_path / "14_x-smoke" / "parameters.json", {"notebook": "14_x", "profile": "smoke"})
    for notebook, seed in (("02_x", 0), ("02_x", 1), ("03_x", 0)):
        run = tmp_path / f"both-smoke-notebook={notebook}-seed={seed}"
        write_training(run, epochs=2, parameters={"SEED": seed})
        write_json(run / "parameters.json", read_json(run / "parameters.json") | {"notebook": notebook})
    runs = read_run_set(tmp_path)
    assert [run.name for run in runs.trainings] == ["14_x-smoke/gru-0"]
    (sweep,) = runs.sweeps
    assert sweep.varied == ["notebook", "SEED"] and sweep.notebooks == "02_x, 03_x"
    assert sweep.setting(sweep.runs[1]) == "notebook 02_x, seed 1"
    html = page.write_report(tmp_path / "report.html", tmp_path)[0].read_text()
    assert "14_x-smoke/gru-0" in html and "3 epochs, 1.5 min" in html


def test_a_page_that_would_be_too_large_is_refused(tmp_path, monkeypatch):
    write_training(tmp_path / "runs" / "unet-smoke", epochs=1)
    monkeypatch.setattr(page, "MAX_BYTES", 10_000)
    with pytest.raises(ValueError, match=r"the report takes .* MB, more than"):
        page.write_report(tmp_path / "report.html", tmp_path)
