"""Memory for batches, used again once no tensor looks at it any more.

New memory for each batch of 20 MB takes the system as long to hand out, cleared, as the batch takes to fill.
"""

import math
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class _Block:
    memory: np.ndarray  # flat uint8
    user: weakref.ref | None = None  # the array that was handed out; tensors made from it keep it alive

    @property
    def free(self) -> bool:
        return self.user is None or self.user() is None


class BatchMemory:
    """Up to `kept` blocks, each as large as the largest batch so far. A pickled one arrives empty."""

    def __init__(self, kept: int = 4):
        self.kept = kept  # batches in use at a time; a caller who holds more gets memory that is not used again
        self._blocks: list[_Block] = []
        self._lock = threading.Lock()

    def gather(self, source: np.ndarray, places: Sequence[int | tuple[int, ...]]) -> torch.Tensor:
        """(B, …) uint8: source[place] for each of the B places."""
        source = np.asarray(source)  # a plain array indexes faster than a memory map
        rows = [source[place] for place in places]
        batch = self._reserve((len(rows), *rows[0].shape))
        for target, row in zip(batch, rows, strict=True):
            target[...] = row
        return torch.from_numpy(batch)

    def _reserve(self, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape)
        with self._lock:
            self._blocks = [block for block in self._blocks if not block.free or block.memory.size >= size]
            block = next((block for block in self._blocks if block.free), None)
            if block is None:
                block = _Block(np.empty(size, dtype=np.uint8))
                if len(self._blocks) < self.kept:
                    self._blocks.append(block)
            batch = block.memory[:size].reshape(shape)
            block.user = weakref.ref(batch)
            return batch

    def __reduce__(self):
        return BatchMemory, (self.kept,)
