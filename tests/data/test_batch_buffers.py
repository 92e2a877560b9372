"""Batch buffers are reused only when nothing refers to the old batch any more."""

import pickle

import numpy as np

from vidseg_utils.data.batch_buffers import BatchBuffers

SOURCE = np.arange(40, dtype=np.uint8).reshape(10, 4)


def test_a_batch_holds_the_requested_rows():
    buffers = BatchBuffers()
    assert buffers.gather(SOURCE, [3, 0, -1]).tolist() == [SOURCE[i].tolist() for i in (3, 0, 9)]
    pairs = SOURCE.reshape(5, 2, 4)
    assert buffers.gather(pairs, [(2, 1), (4, 0)]).tolist() == [SOURCE[i].tolist() for i in (5, 8)]


def test_memory_is_reused_once_the_batch_is_deleted():
    buffers = BatchBuffers()
    first = buffers.gather(SOURCE, [1, 2, 3])
    address = first.data_ptr()
    del first
    assert buffers.gather(SOURCE, [4, 5]).data_ptr() == address


def test_a_view_an_array_or_a_slice_of_a_batch_keeps_it():
    buffers = BatchBuffers()
    views = (lambda b: b[1:], lambda b: b.numpy(), lambda b: b.unbind()[0], lambda b: b.numpy()[0, 1:], lambda b: b.T)
    for view in views:
        kept = view(buffers.gather(SOURCE, [1, 2]))
        before = kept.tolist()
        for _ in range(6):
            other = buffers.gather(SOURCE, [8, 9])
        assert other.tolist() == SOURCE[[8, 9]].tolist()
        assert kept.tolist() == before


def test_a_caller_may_hold_any_number_of_batches():
    buffers = BatchBuffers(max_buffers=2)
    batches = [buffers.gather(SOURCE, [n]) for n in range(10)]
    assert [batch[0].tolist() for batch in batches] == SOURCE.tolist()


def test_larger_batches_replace_smaller_buffers():
    buffers = BatchBuffers(max_buffers=1)
    buffers.gather(SOURCE, [1])
    large = buffers.gather(SOURCE, range(10))
    address = large.data_ptr()
    del large
    assert buffers.gather(SOURCE, [7]).data_ptr() == address


def test_pickling_leaves_the_memory_behind():
    buffers = BatchBuffers()
    buffers.gather(np.zeros((10, 100_000), np.uint8), range(10))
    assert len(pickle.dumps(buffers)) < 200
    assert pickle.loads(pickle.dumps(buffers)).gather(SOURCE, [0]).tolist() == [[0, 1, 2, 3]]
