"""Proves that worker processes take turns on a GPU, and do not wait for each other on a CPU."""

from functools import partial
from pathlib import Path

from vidseg_utils.data.parallel import turn_on, worker_processes


def draw(number: int, *, taken: Path) -> bool:
    """Whether nobody else was drawing meanwhile."""
    with turn_on("cuda"):
        try:
            with taken.open("x") as file:
                file.write("x" * 100_000)
        except FileExistsError:
            return False
        taken.unlink()
    return True


def nested(number: int) -> int:
    """A lock would wait for itself here."""
    with turn_on("cpu"), turn_on("cpu"):
        return number


def test_workers_take_turns_on_a_gpu_and_not_on_a_cpu(tmp_path):
    with worker_processes(2) as parallel_map:
        assert all(parallel_map(partial(draw, taken=tmp_path / "taken"), range(200)))
        assert list(parallel_map(nested, range(3))) == [0, 1, 2]


def test_one_process_does_not_wait():
    with worker_processes(1), turn_on("cuda"), turn_on("cuda"):
        pass
