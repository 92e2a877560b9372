"""A program that trains the toy model in one process per scenario. Each process kills itself at a given moment.

test_resume.py runs it with the scenarios as JSON. It prints one exit code per scenario.
"""

import importlib
import json
import os
import signal
import sys

import torch

from tests.helpers import toy_fit, toy_step, toy_validate


def kill_at(call, function):
    """Wrap `function` so that its call number `call` (from 1) kills the process."""
    calls = 0

    def killing(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)

    return killing


def train(scenario):
    """Train as `scenario` says: {"run", "settings", and "step", "validate" or "replace": the call that kills}."""
    torch.set_num_threads(1)
    if "replace" in scenario:
        os.replace = kill_at(scenario["replace"], os.replace)
    toy_fit(
        scenario["run"],
        step=kill_at(scenario.get("step", 0), toy_step),
        validate=kill_at(scenario.get("validate", 0), toy_validate),
        **scenario["settings"],
    )


if __name__ == "__main__":
    importlib.import_module("torch._dynamo")  # an optimiser imports it; here once, instead of in every process
    for scenario in json.loads(sys.argv[1]):
        if (child := os.fork()) == 0:
            train(scenario)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)
