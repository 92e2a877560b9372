"""Measure in a real JupyterLab how fast the viewer and the ground plan answer, and what a viewer stores.

    python benchmarks/viewer_speed.py
    python benchmarks/viewer_speed.py --changes 500 --rounds 20

It opens a notebook with a viewer of four panels of 160x240 and a ground plan with object dynamics, as a user would, and
prints how long it takes from a key to the painted frame (median and 95 %), from a changed scene to its paths and to its
forecast, and by how much the viewer makes the saved notebook grow. Needs JupyterLab, playwright and a Chromium; without
a GPU the browser paints on the processor.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOKEN = "a-token-of-this-computer"
SECONDS = 120  # time limit of each step; a slow machine needs 20 for the first page of JupyterLab
CELLS = (
    """
import numpy as np
from vidseg_utils.simulator import simulate_video
from vidseg_utils.systems import ObjectDynamics
from vidseg_utils.systems.object_dynamics.physics.constants import PhysicsConstants
from vidseg_utils.visualisation import play_with, view
from vidseg_utils.visualisation.play.scene_forecast import film
clip = film(simulate_video(0, 1))
masks = {"truth": clip.masks} | {f"{shift} px": np.roll(clip.masks, shift, axis=2) for shift in (2, 4, 6)}
""",
    "view(clip.frames, masks, side_by_side=True)",
    "play_with(ObjectDynamics(PhysicsConstants()))",
)
# The second animation frame begins after the first has been painted.
WATCH_KEYS = """() => {
    window.delays = [];
    document.addEventListener("keydown", (event) => requestAnimationFrame(() => requestAnimationFrame(() =>
        delays.push(performance.now() - event.timeStamp))), true);
}"""


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """Address of a JupyterLab over the folder, which asks for TOKEN. Raises RuntimeError if it does not start."""
    own = {f"JUPYTER_{name}_DIR": str(folder / ".jupyter" / name) for name in ("CONFIG", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / ".jupyter"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".jupyter")}
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", f"--IdentityProvider.token={TOKEN}"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    options += ["--LabApp.expose_app_in_browser=True"]
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}", *options]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | own, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        yield _address(folder, server)
    finally:
        server.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # children that it left, all in its own group
        server.wait()


def _address(folder: Path, server: subprocess.Popen) -> str:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        for path in (folder / ".jupyter" / "RUNTIME").glob("jpserver-*.json"):
            with suppress(json.JSONDecodeError):  # half written
                return json.loads(path.read_text())["url"]
        time.sleep(0.2)
    raise RuntimeError("JupyterLab did not start:\n" + (folder / "server.log").read_text()[-2000:])


def wait_for_kernel(page: "Page") -> None:
    """Until the kernel of the notebook that is shown answers; before that, JupyterLab would ask for another one."""
    kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
    page.wait_for_function(f"() => {kernel}?.connectionStatus === 'connected'")
    page.wait_for_function(f"async () => Boolean(await {kernel}.info)")


def open_and_run(page: "Page", address: str) -> None:
    """Open the notebook, run all its cells, and wait for both widgets."""
    page.goto(f"{address}lab/tree/widgets.ipynb?token={TOKEN}")
    wait_for_kernel(page)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.locator(".vidseg-scene canvas").nth(1).wait_for()
    page.wait_for_timeout(2000)  # the last outputs are drawn


def key_delays(page: "Page", changes: int) -> list[float]:
    """Milliseconds from a key to the painted frame, one key after another."""
    page.locator(".jp-OutputArea .vidseg").first.focus()
    page.evaluate(WATCH_KEYS)
    for n in range(changes):
        page.keyboard.press("ArrowLeft" if n // 20 % 2 else "ArrowRight")
        page.wait_for_function(f"() => delays.length > {n}")
    return page.evaluate("delays")


def scene_seconds(page: "Page", rounds: int) -> tuple[list[float], list[float]]:
    """Seconds from a moved object to its paths, and from "forecast" to the forecast that is shown."""
    drawn = '[...document.querySelectorAll(".vidseg-ground .vidseg-path")].map((path) => path.getAttribute("d")).join()'
    paths, forecasts = [], []
    for n in range(rounds):
        page.locator(".vidseg-object").first.focus()
        page.evaluate(f"() => {{ window.before = {drawn}; }}")
        key = "ArrowLeft" if n % 2 else "ArrowRight"
        paths.append(_timed(lambda key=key: page.keyboard.press(key), page, f"() => {drawn} !== before"))
        go = page.get_by_role("button", name="forecast", exact=True)
        shown = "() => document.querySelector('.vidseg-result').dataset.stale === 'false'"
        forecasts.append(_timed(go.click, page, shown))
    return paths, forecasts


def _timed(act: Callable[[], object], page: "Page", done: str) -> float:
    started = time.perf_counter()
    act()
    page.wait_for_function(done)
    return time.perf_counter() - started


def stored_bytes(page: "Page", notebook: Path) -> int:
    """Bytes of the viewer's outputs in the notebook that JupyterLab saves."""
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !document.querySelector('.lm-DockPanel .jp-mod-dirty')")
    outputs = nbformat.read(notebook, as_version=4).cells[1].outputs
    return sum(len(str(value)) for output in outputs for value in output.data.values())


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=200, help="keys to press; default 200")
    parser.add_argument("--rounds", type=int, default=10, help="scenes to forecast; default 10")
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("Chromium is not installed")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        notebook = Path(name) / "widgets.ipynb"
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        cells = [new_code_cell(cell.strip()) for cell in CELLS]
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), notebook)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(SECONDS * 1000)
        with jupyterlab(Path(name)) as address:
            open_and_run(page, address)
            delays = key_delays(page, options.changes)
            paths, forecasts = scene_seconds(page, options.rounds)
            stored = stored_bytes(page, notebook)
        browser.close()
    print(f"key to painted frame: median {median(delays):.0f} ms, 95 % {quantiles(delays, n=20)[-1]:.0f} ms")
    print(f"moved object to its paths: median {median(paths):.2f} s, slowest {max(paths):.2f} s")
    print(f"changed scene to forecast: median {median(forecasts):.2f} s, slowest {max(forecasts):.2f} s")
    print(f"a viewer in the saved notebook: {stored / 1000:.0f} kB")


if __name__ == "__main__":
    main()
