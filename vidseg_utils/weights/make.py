"""Make the weights that come with the package: generate, train, convert to fp16, score, and write made.json.

    make weights                              # in a checkout; data and runs as ever in data/ and runs/
    python -m vidseg_utils.weights.make       # the same

Finished trainings are taken as they are, so a call that was interrupted resumes.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
from safetensors.torch import load_file, save_file

from vidseg_utils import __version__
from vidseg_utils.data import generate
from vidseg_utils.evaluation import evaluate_system
from vidseg_utils.paths import atomic_write, runs_dir, write_json
from vidseg_utils.renderer import render_video
from vidseg_utils.run_folders import CONFIG, HISTORY
from vidseg_utils.simulator import simulate_video
from vidseg_utils.systems import Workspace, build_system
from vidseg_utils.task import HEIGHT, VIDEO_RATE, WIDTH
from vidseg_utils.training import describe_machine, shipped
from vidseg_utils.training.run_folder import CONSTANTS, WEIGHTS, file_sha256, read_config
from vidseg_utils.training.shipped import SHIPPED_PROFILE, SHIPPED_RUNS, shipped_run

# U-Net learns at 80x120 first, which is four times as fast; 160x240 starts from these weights.
COMMANDS = (
    "vidseg run 02 --profile cpu -p EPOCHS=48",
    f"vidseg run 02 --profile {SHIPPED_PROFILE} -p START_FROM=unet-cpu",
    f"vidseg train object_dynamics --profile {SHIPPED_PROFILE}",
    f"vidseg train mask_simvp --profile {SHIPPED_PROFILE}",
)
SYSTEMS = ("unet_copy_last", "mask_simvp", "object_dynamics")  # scored on the check videos
CHECK_SEED, CHECK_VIDEOS = 1_000_003, 8  # generated videos that no training has seen
EXAMPLE, EXAMPLE_NUMBER = shipped.SHIPPED_EXAMPLE.name, 23  # of CHECK_SEED; picked because objects collide late
EXAMPLE_CRF = "12"  # quality: lower is better and larger
MAX_EXAMPLE_BYTES = 300_000
MAX_BYTES = 12_000_000  # of all shipped files together


def main() -> None:
    """Run the commands, ship their runs, and note how and where that was done."""
    steps = []
    for command in COMMANDS:
        print(f"$ {command}", flush=True)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "vidseg_utils.running.cli", *shlex.split(command)[1:]], check=True)
        steps.append({"command": command, "seconds": round(time.perf_counter() - start)})
    for name in SHIPPED_RUNS:
        ship(runs_dir() / f"{name}-{SHIPPED_PROFILE}", shipped_run(name))
    write_example()
    made = {
        "steps": steps,
        "machine": describe_machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "version": __version__,
        "scores": score_shipped(),
    }
    write_json(made_file(), made)
    print(made_file().read_text(), end="")
    print(f"{shipped.SHIPPED_DIR}: {shipped_bytes() / 1e6:.1f} MB")


def made_file() -> Path:
    """The file that says how the shipped weights were made, and their scores."""
    return shipped.SHIPPED_DIR / "made.json"


def ship(run: Path, out: Path) -> None:
    """Copy a finished run to `out`: its settings and history, its constants or its weights in fp16.

    Vectors, such as biases and statistics of batch norms, stay float32: they are small and need the range.
    """
    with atomic_write(out) as temporary:
        temporary.mkdir()
        for name in (HISTORY, CONSTANTS):
            if (run / name).is_file():
                shutil.copyfile(run / name, temporary / name)
        trained = temporary / CONSTANTS
        if (run / WEIGHTS).is_file():
            trained = temporary / WEIGHTS
            tensors = load_file(run / WEIGHTS)
            halves = {k: t.half() if t.is_floating_point() and t.ndim > 1 else t for k, t in tensors.items()}
            save_file(halves, trained)
        write_json(temporary / CONFIG, {**read_config(run), "sha256": file_sha256(trained)})


def write_example() -> None:
    """Write the example of `vidseg forecast`: a generated video, as large and as long as CLEVRER's."""
    frames = render_video(simulate_video(CHECK_SEED, EXAMPLE_NUMBER), height=2 * HEIGHT, width=2 * WIDTH)[0]
    shipped.SHIPPED_DIR.mkdir(exist_ok=True)
    with atomic_write(shipped.SHIPPED_DIR / EXAMPLE) as path, av.open(str(path), "w") as container:
        settings = {"height": 2 * HEIGHT, "width": 2 * WIDTH, "pix_fmt": "yuv420p", "options": {"crf": EXAMPLE_CRF}}
        stream = container.add_stream("libx264", rate=VIDEO_RATE, **settings)
        for frame in frames.transpose(0, 2, 3, 1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def score_shipped(root: Path | None = None) -> dict[str, float]:
    """Jaccard of the shipped systems on the check videos, which are generated under `root` or in a temporary folder."""
    if root is None:
        with tempfile.TemporaryDirectory() as folder:
            return score_shipped(Path(folder))
    generate(root, train=0, val=CHECK_VIDEOS, unlabeled=0, hidden=0, seed=CHECK_SEED, progress=False)
    workspace = Workspace.for_profile(SHIPPED_PROFILE, root=root, runs=root / "runs", device="cpu", shipped=True)
    val = workspace.split("val")
    systems = {name: build_system(name, workspace=workspace) for name in SYSTEMS}
    results = {name: evaluate_system(system, val, progress=False) for name, system in systems.items()}
    return {name: round(result.metrics["jaccard"], 4) for name, result in results.items()}


def shipped_bytes() -> int:
    """Size of all shipped files."""
    return sum(path.stat().st_size for path in shipped.SHIPPED_DIR.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
