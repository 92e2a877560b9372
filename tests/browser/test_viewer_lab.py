"""Proves in a real browser and a real JupyterLab that the viewer lives while a kernel runs, and leaves a picture."""

import json
import os
from urllib.request import Request, urlopen

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook

from benchmarks.viewer_speed import SECONDS, TOKEN, jupyterlab, wait_for_kernel
from vidseg_utils.running.execute import execute_copy

CLIP = """
import numpy as np
from vidseg_utils.visualisation import view
frames = np.full((6, 3, 40, 60), 120, dtype=np.uint8)
masks = np.zeros((6, 40, 60), dtype=np.uint8)
for t in range(6):
    masks[t, 10:25, 5 + 6 * t : 20 + 6 * t] = 7
view(frames, masks, title="a square")
"""

PLAY = """
from vidseg_utils.systems import Workspace, build_system
from vidseg_utils.visualisation import play_with
play_with(build_system("object_dynamics", workspace=Workspace.for_profile(shipped=True)))
"""

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `live.ipynb`, never run, and `saved.ipynb`, executed by our runner."""
    folder = tmp_path_factory.mktemp("lab")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=[new_code_cell(CLIP.strip())], metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "live.ipynb")
    play = new_notebook(cells=[new_code_cell(PLAY.strip())], metadata={"kernelspec": kernel})
    nbformat.write(play, folder / "play.ipynb")
    execute_copy(folder / "live.ipynb", folder / "saved.ipynb", parameters={}, progress=False)
    return folder


@pytest.fixture(scope="module")
def lab(folder):
    """Address of a JupyterLab over the folder."""
    with jupyterlab(folder) as address:
        yield address


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(SECONDS * 1000)
    yield page
    page.close()


def open_notebook(page, lab, name):
    page.goto(f"{lab}lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")


def run_first_cell(page):
    """Run the first cell as soon as the kernel answers; before that, JupyterLab would ask for another kernel."""
    wait_for_kernel(page)
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")


def save_by_key(page, inside):
    """Press Ctrl+S while the focus is in a widget, and wait until the notebook is saved."""
    page.evaluate("""() => {
        window.executed = [];
        window.jupyterapp.commands.commandExecuted.connect((_, { id }) => window.executed.push(id));
    }""")
    inside.focus()
    page.keyboard.press("ControlOrMeta+s")
    page.wait_for_function("() => window.executed.includes('docmanager:save')")  # an autosave is no command
    page.wait_for_function("() => !document.querySelector('.lm-DockPanel .jp-mod-dirty')")


def visible_pictures(page):
    return [picture for picture in page.locator(".jp-OutputArea img").all() if picture.is_visible()]


def test_a_notebook_executed_by_our_runner_holds_the_picture_and_no_widget(page, lab):
    open_notebook(page, lab, "saved")
    page.wait_for_selector(".jp-OutputArea img")
    assert len(visible_pictures(page)) == 1
    assert page.locator(".vidseg").count() == 0


def stop_kernels(lab):
    sessions = json.load(urlopen(f"{lab}api/sessions?token={TOKEN}"))
    for session in sessions:
        urlopen(Request(f"{lab}api/sessions/{session['id']}?token={TOKEN}", method="DELETE"))


def test_the_viewer_lives_takes_keys_and_leaves_a_picture_in_the_saved_notebook(page, lab, folder):
    open_notebook(page, lab, "live")
    run_first_cell(page)
    canvas = page.locator(".vidseg canvas")
    canvas.wait_for()
    page.wait_for_function("() => !document.querySelector('.jp-OutputArea img')?.checkVisibility()")
    page.locator(".vidseg").focus()
    slider = page.get_by_role("slider", name="frame", exact=True)
    for key in ("ArrowRight", "c", "d", "d"):  # for JupyterLab: nothing, copy the cell, delete the cell
        page.keyboard.press(key)
    assert slider.get_attribute("aria-valuetext") == "frame 1, given" and canvas.is_visible()
    if screenshots := os.environ.get("VIDSEG_SCREENSHOTS"):
        page.screenshot(path=f"{screenshots}/viewer-lab.png")

    save_by_key(page, page.locator(".vidseg"))
    assert canvas.is_visible()
    outputs = nbformat.read(folder / "live.ipynb", as_version=4).cells[0].outputs
    assert [set(output.data) for output in outputs] == [{"text/plain", "image/png"}, {"text/plain"}]
    html, _ = HTMLExporter().from_filename(str(folder / "live.ipynb"))
    assert outputs[0].data["image/png"][:100] in html and "model_id" not in html

    page.goto("about:blank")
    stop_kernels(lab)
    open_notebook(page, lab, "live")
    page.wait_for_selector(".jp-OutputArea img")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    assert len(visible_pictures(page)) == 1
    assert "Error" not in page.locator(".jp-OutputArea").first.inner_text()


def test_a_scene_is_laid_out_and_forecast_by_the_shipped_weights(page, lab):
    open_notebook(page, lab, "play")
    run_first_cell(page)
    page.locator(".vidseg-scene canvas").nth(1).wait_for()
    page.locator(".vidseg-object").first.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_text("in the simulation; press forecast").wait_for()
    page.get_by_role("button", name="forecast", exact=True).click()
    page.wait_for_function("() => document.querySelector('.vidseg-result').dataset.stale === 'false'")
    assert page.locator(".vidseg-error").is_hidden() and not visible_pictures(page)
    save_by_key(page, page.locator(".vidseg-object").first)
    if folder := os.environ.get("VIDSEG_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/play-lab.png")
