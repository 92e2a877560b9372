"""Memory for batches, reused as soon as no tensor refers to it any more.

The operating system clears new memory: for a batch of 20 MB that takes as long as filling it.
"""

import math
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class _Buffer:
    memory: np.ndarray  # flat uint8
    user: weakref.ref | None = None  # the array that was handed out; tensors made from it keep it alive

    @property
    def free(self) -> bool:
        return self.user is None or self.user() is None


class BatchBuffers:
    """Up to `max_buffers` buffers, each as large as the largest batch so far. A pickled object arrives empty."""

    def __init__(self, max_buffers: int = 4):
        self.max_buffers = max_buffers  # a caller who holds more batches gets memory that is not reused
        self._buffers: list[_Buffer] = []
        self._lock = threading.Lock()

    def gather(self, source: np.ndarray, indices: Sequence[int | tuple[int, ...]]) -> torch.Tensor:
        """(B, …) uint8: source[index] for each of the B indices."""
        source = np.asarray(source)  # a plain array indexes faster than a memory map
        rows = [source[index] for index in indices]
        batch = self._reserve((len(rows), *rows[0].shape))
        for target, row in zip(batch, rows, strict=True):
            target[...] = row
        return torch.from_numpy(batch)

    def _reserve(self, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape)
        with self._lock:
            self._buffers = [buffer for buffer in self._buffers if not buffer.free or buffer.memory.size >= size]
            buffer = next((buffer for buffer in self._buffers if buffer.free), None)
            if buffer is None:
                buffer = _Buffer(np.empty(size, dtype=np.uint8))
                if len(self._buffers) < self.max_buffers:
                    self._buffers.append(buffer)
            batch = buffer.memory[:size].reshape(shape)
            buffer.user = weakref.ref(batch)
            return batch

    def __reduce__(self):
        return BatchBuffers, (self.max_buffers,)
