"""Proves in a real browser and a real JupyterLab that moving a slider changes the picture. Needs Chromium."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from vidseg_utils.running.execute import execute_copy

TOKEN = "a-token-of-this-test"
SECONDS = 120  # time limit of each step; a slow machine needs 20 for the first page of JupyterLab

CLIP = """
import numpy as np
from vidseg_utils.visualisation import show_clip_sliders
frames = np.full((6, 3, 40, 60), 120, dtype=np.uint8)
masks = np.zeros((6, 40, 60), dtype=np.uint8)
for t in range(6):
    masks[t, 10:25, 5 + 6 * t : 20 + 6 * t] = 7
show_clip_sliders(frames, masks)
"""

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab over a folder with `live.ipynb`, never run, and `saved.ipynb`, executed by our runner."""
    folder = tmp_path_factory.mktemp("lab")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=[new_code_cell(CLIP.strip())], metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "live.ipynb")
    execute_copy(folder / "live.ipynb", folder / "saved.ipynb", parameters={}, progress=False)
    own = {f"JUPYTER_{name}_DIR": str(folder / ".jupyter" / name) for name in ("CONFIG", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / ".jupyter"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".jupyter")}
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", f"--IdentityProvider.token={TOKEN}"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}", *options]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | own, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        yield _address(folder, server)
    finally:
        server.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # children that it left, all in its own group
        server.wait()


def _address(folder, server):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        for path in (folder / ".jupyter" / "RUNTIME").glob("jpserver-*.json"):
            with contextlib.suppress(json.JSONDecodeError):  # half written
                return json.loads(path.read_text())["url"]
        time.sleep(0.2)
    pytest.fail("JupyterLab did not start:\n" + (folder / "server.log").read_text()[-2000:])


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
    """Press Shift+Enter until the cell runs: JupyterLab ignores the key while its kernel is still connecting."""
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    prompt = page.locator(".jp-CodeCell .jp-InputPrompt").first
    end = time.monotonic() + SECONDS
    while prompt.inner_text().strip() in ("", "[ ]:"):
        assert time.monotonic() < end, "the cell did not start"
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(2000)


def pixels(image):
    """The decoded picture, as the browser shows it."""
    return image.evaluate(
        """async image => {
            await image.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data).join();
        }"""
    )


def wait_for_change(image, before):
    end = time.monotonic() + SECONDS
    while (now := pixels(image)) == before:
        assert time.monotonic() < end, "the picture did not change"
        time.sleep(0.2)
    return now


def test_a_saved_notebook_shows_the_still_picture_and_no_slider(page, lab):
    open_notebook(page, lab, "saved")
    image = page.locator(".jp-OutputArea .jp-RenderedImage img")
    assert len(pixels(image)) > 1000
    assert page.locator(".noUi-handle").count() == 0


def test_moving_a_slider_changes_the_picture_and_moving_it_back_restores_it(page, lab):
    open_notebook(page, lab, "live")
    run_first_cell(page)
    image = page.locator("img.widget-image")
    image.wait_for()
    first = pixels(image)
    frame, opacity = page.locator(".noUi-handle").nth(0), page.locator(".noUi-handle").nth(1)

    frame.focus()
    page.keyboard.press("ArrowRight")
    second = wait_for_change(image, first)
    opacity.focus()
    page.keyboard.press("ArrowRight")
    wait_for_change(image, second)

    opacity.focus()
    page.keyboard.press("ArrowLeft")
    end = time.monotonic() + SECONDS
    while pixels(image) != second and time.monotonic() < end:
        time.sleep(0.2)
    assert pixels(image) == second
    if folder := os.environ.get("VIDSEG_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/slider.png")
