"""Batch memory is used again only when nothing looks at the old batch any more."""

import pickle

import numpy as np

from vidseg_utils.data.batch_memory import BatchMemory

SOURCE = np.arange(40, dtype=np.uint8).reshape(10, 4)


def test_a_batch_holds_the_rows_asked_for():
    memory = BatchMemory()
    assert memory.gather(SOURCE, [3, 0, -1]).tolist() == [SOURCE[i].tolist() for i in (3, 0, 9)]
    pairs = SOURCE.reshape(5, 2, 4)
    assert memory.gather(pairs, [(2, 1), (4, 0)]).tolist() == [SOURCE[i].tolist() for i in (5, 8)]


def test_memory_is_used_again_once_the_batch_is_gone():
    memory = BatchMemory()
    first = memory.gather(SOURCE, [1, 2, 3])
    place = first.data_ptr()
    del first
    assert memory.gather(SOURCE, [4, 5]).data_ptr() == place


def test_a_view_an_array_or_a_slice_of_a_batch_keeps_it():
    memory = BatchMemory()
    views = (lambda b: b[1:], lambda b: b.numpy(), lambda b: b.unbind()[0], lambda b: b.numpy()[0, 1:], lambda b: b.T)
    for view in views:
        kept = view(memory.gather(SOURCE, [1, 2]))
        before = kept.tolist()
        for _ in range(6):
            other = memory.gather(SOURCE, [8, 9])
        assert other.tolist() == SOURCE[[8, 9]].tolist()
        assert kept.tolist() == before


def test_a_caller_may_hold_any_number_of_batches():
    memory = BatchMemory(kept=2)
    batches = [memory.gather(SOURCE, [n]) for n in range(10)]
    assert [batch[0].tolist() for batch in batches] == SOURCE.tolist()


def test_larger_batches_replace_smaller_memory():
    memory = BatchMemory(kept=1)
    memory.gather(SOURCE, [1])
    large = memory.gather(SOURCE, range(10))
    place = large.data_ptr()
    del large
    assert memory.gather(SOURCE, [7]).data_ptr() == place


def test_memory_does_not_travel_to_workers():
    memory = BatchMemory()
    memory.gather(np.zeros((10, 100_000), np.uint8), range(10))
    assert len(pickle.dumps(memory)) < 200
    assert pickle.loads(pickle.dumps(memory)).gather(SOURCE, [0]).tolist() == [[0, 1, 2, 3]]
