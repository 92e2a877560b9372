"""Proves that a device is checked before anything starts, and that freed memory is used again where it is asked for."""

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


class RecordedLibrary:
    """In place of glibc."""

    def __init__(self):
        self.calls = []

    def mallopt(self, name, value):
        self.calls.append((name, value))

    def malloc_trim(self, kept_bytes):
        self.calls.append("trim")


def test_freed_memory_is_kept_until_the_outermost_block_ends(monkeypatch):
    library = RecordedLibrary()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    keep, give_back = [(-4, 0), (-1, 2**31 - 1)], [(-4, 65536), (-1, 64 << 20), "trim"]
    with reusing_memory(torch.device("cuda")):
        assert library.calls == []
    with reusing_memory():
        assert library.calls == keep
        with reusing_memory(torch.device("cpu")), pytest.raises(KeyError), reusing_memory():
            raise KeyError
        assert set(library.calls) == set(keep)
    assert library.calls[-3:] == give_back


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    with reusing_memory():
        pass


def test_memory_that_is_reused_gives_the_same_numbers():
    with reusing_memory():
        assert torch.equal(torch.arange(10).repeat(2), torch.cat([torch.arange(10)] * 2))
