"""Proves that a device is checked before anything starts, and that freed memory is used again where it is asked for."""

import sys
from pathlib import Path

import pytest
import torch

from vidseg_utils.device import find_device, reusing_memory


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_a_device_of_this_machine_is_used(two_gpus, name):
    assert find_device(name) == torch.device(name)
    assert find_device() == torch.device("cuda")


@pytest.mark.parametrize("name", ["cuda:2", "gpu", "", "cuda:x", "cpu:1", "meta"])
def test_another_device_is_refused_with_the_choices(two_gpus, name):
    with pytest.raises(ValueError, match=rf"no device '{name}' here; choose from \['cpu', 'cuda', 'cuda:0', 'cuda:1'"):
        find_device(name)


def test_without_a_gpu_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert find_device() == torch.device("cpu")
    with pytest.raises(ValueError, match="no device 'cuda' here"):
        find_device("cuda")


def test_processes_that_were_launched_together_have_a_gpu_each(two_gpus, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert find_device() == torch.device("cuda:1")


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_memory_is_used_again_and_given_back_at_the_end():
    import resource

    def new_pages():
        """How many pages the system clears for a tensor of 64 MB."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(1 << 24).add_(1)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def used_bytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    with reusing_memory(), reusing_memory(torch.device("cpu")):
        new_pages()
        assert new_pages() < 1000  # of 16,384
        with reusing_memory(torch.device("cuda")):
            assert new_pages() < 1000
        within = used_bytes()
    assert within - used_bytes() > 32 << 20
