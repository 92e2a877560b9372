"""Count how many kills and damaged files the package survives. docs/reliability.md says what it promises.

    python benchmarks/reliability.py                               # 10 kills, 1,000 inputs: some minutes
    python benchmarks/reliability.py --kills 100 --inputs 10000
    python benchmarks/reliability.py --kills 0 --inputs 500 --only png yaml

Prints a table of counts and every finding; exits with 1 if there is one. The same --seed repeats the same damage.
Linux only: it reads /proc and limits memory.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for tests.mutations
from benchmarks.faults.inputs import try_inputs
from benchmarks.faults.kills import COMMANDS, kill_command
from benchmarks.faults.kinds import KINDS


def share(total: int, names: list[str]) -> dict[str, int]:
    """`total` divided equally among the names; the first ones take the rest."""
    shares = {name: total // len(names) + (index < total % len(names)) for index, name in enumerate(names)}
    return {name: number for name, number in shares.items() if number}


def group_findings(findings: list[str]) -> list[str]:
    """One line for all findings with the same text after the case, with the first case."""
    groups: dict[str, list[str]] = {}
    for finding in findings:
        case, _, text = finding.partition(": ")
        groups.setdefault(f"{case.split()[0]} {text}", []).append(finding)
    return [f"finding ({len(group)} times): {group[0]}" for group in groups.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="of all commands together; default 10")
    parser.add_argument("--inputs", type=int, default=1000, help="of all kinds together; default 1000")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--only", nargs="+", choices=[*COMMANDS, *KINDS], help="only these commands and kinds")
    options = parser.parse_args()
    only = options.only or [*COMMANDS, *KINDS]
    lines = ["| what | tried | good | refused | findings | seconds |", "|---|---|---|---|---|---|"]
    findings = []

    def add_line(what: str, tried: int, good: int, refused: str, found: list[str], start: float) -> None:
        lines.append(f"| {what} | {tried} | {good} | {refused} | {len(found)} | {time.perf_counter() - start:.0f} |")
        findings.extend(found)

    kills = share(options.kills, [name for name in COMMANDS if name in only])
    inputs = share(options.inputs, [name for name in KINDS if name in only])
    with tempfile.TemporaryDirectory(prefix="vr-") as folder:
        with tqdm(total=sum(kills.values()), desc="kills", unit="kill") as bar:
            for name, n_kills in kills.items():
                start, rng = time.perf_counter(), random.Random(f"{options.seed} {name}")
                counts = kill_command(name, n_kills, work=Path(folder), rng=rng, on_kill=bar.update)
                good = max(0, counts.finished - len(counts.findings))
                add_line(f"kills of {name}", counts.kills, good, "", counts.findings, start)
        with tqdm(total=sum(inputs.values()), desc="inputs", unit="input") as bar:
            for name, n_inputs in inputs.items():
                start = time.perf_counter()
                result = try_inputs(name, n_inputs, seed=options.seed, work=Path(folder), on_input=bar.update)
                add_line(name, n_inputs, result.read, str(result.refused), result.findings, start)
    print("\n".join(lines))
    for line in group_findings(findings):
        print(line)
    print(f"{sum(kills.values())} kills, {sum(inputs.values())} inputs, {len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
