"""Batches: each row once, little padding, an order that follows from the seed."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from sklearn_ser import SpeakerAdversarialClassifier
from sklearn_ser.nn.batching import (
    FRAMES_PER_RECORDING,
    BatchIterator,
    SequenceDataset,
    pad,
)
from sklearn_ser.nn.vectors import Vectors, take

corpora = st.lists(st.integers(1, 60), min_size=1, max_size=80)


def dataset(n_frames, **kwargs):
    """Row i holds i + 1 everywhere."""
    X = [np.full((2, n), i + 1, np.float32) for i, n in enumerate(n_frames)]
    return SequenceDataset(X, {"y": np.arange(len(X))}, **kwargs)


def batches(n_frames, batch_size, seed=None):
    rng = None if seed is None else np.random.default_rng(seed)
    return list(BatchIterator(dataset(n_frames), batch_size, rng))


@given(n_frames=corpora, batch_size=st.integers(2, 12), seed=st.none() | st.just(0))
@example(n_frames=[3, 4, 5], batch_size=2, seed=0)
@example(n_frames=[7], batch_size=2, seed=0)
def test_every_row_once(n_frames, batch_size, seed):
    found = batches(n_frames, batch_size, seed)
    rows = [y.tolist() for _, y in found]
    assert sorted(row for part in rows for row in part) == list(range(len(n_frames)))
    sizes = [len(part) for part in rows]
    assert all(
        len(batch) == size for (batch, _), size in zip(found, sizes, strict=True)
    )
    assert max(sizes) <= batch_size + 1
    if seed is not None and len(n_frames) > 1:
        assert min(sizes) > 1  # batch normalisation cannot train on one row
    expected = -(-len(n_frames) // batch_size)
    joined = seed is not None and len(n_frames) % batch_size == 1
    assert len(rows) == max(1, expected - joined)


@given(n_frames=corpora, seed=st.none() | st.just(0))
def test_batches_hold_their_rows_and_zeros(n_frames, seed):
    for batch, y in batches(n_frames, 7, seed):
        assert batch["y"] is y
        assert batch.lengths.tolist() == [n_frames[i] for i in y]
        assert batch.x.shape[:2] == (len(y), 2)
        for x, n, i in zip(batch.x, batch.lengths, y, strict=True):
            assert (x[:, :n] == i + 1).all()
            assert (x[:, n:] == 0).all()


@given(
    n_frames=st.lists(st.integers(1, 30000), min_size=1, max_size=60),
    batch_size=st.integers(2, 12),
    seed=st.none() | st.just(0),
)
@example(n_frames=[300] * 31 + [30000], batch_size=32, seed=None)
@example(n_frames=[300] * 31 + [30000], batch_size=32, seed=0)
@example(n_frames=[30000] * 3, batch_size=2, seed=0)
def test_batches_keep_the_frame_budget(n_frames, batch_size, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    data = SequenceDataset([np.zeros((1, n), np.float32) for n in n_frames])
    iterator = BatchIterator(data, batch_size, rng)
    assert iterator.frame_budget == batch_size * FRAMES_PER_RECORDING
    sizes = []
    for batch, _ in iterator:
        sizes.append(len(batch))
        in_all = len(batch) * int(batch.lengths.max())
        assert in_all <= iterator.frame_budget or len(batch) == 1
    assert sum(sizes) == len(n_frames)
    assert len(sizes) == iterator.n_batches
    if seed is not None and len(n_frames) > 1:
        assert min(sizes) > 1


def test_a_long_recording_is_cropped_at_random_in_training_only():
    ramp = np.arange(1002, dtype=np.float32)[None]
    data = SequenceDataset([ramp, ramp])
    starts = set()
    rng = np.random.default_rng(0)
    for _ in range(20):
        [(batch, _)] = BatchIterator(data, 2, rng)
        assert batch.lengths.tolist() == [1000, 1000]
        for x in batch.x:
            assert (x[0, 1:1000] - x[0, :999] == 1).all()
            starts.add(int(x[0, 0]))
    assert starts == {0, 1, 2}  # at both ends, too
    whole = [n for batch, _ in BatchIterator(data, 2) for n in batch.lengths.tolist()]
    assert whole == [1002, 1002]


@pytest.mark.parametrize(
    ("n_frames", "sizes", "trained"),
    [
        ([2000] * 6, [2, 2, 2], [2, 2, 2]),  # each batch is just full
        ([2001] * 4, [1, 1, 1, 1], [2, 2]),
        ([4001] * 6, [1, 1, 1, 1, 1, 1], [2, 2, 2]),
        ([800] * 5, [1, 4], [5]),  # the last row joins the others, who just fit
        ([801] * 5, [1, 4], [2, 3]),
        ([1001] * 4, [1, 3], [2, 2]),
        ([801] * 9, [1, 4, 4], [2, 3, 4]),
        ([2001] * 3, [1, 1, 1], [3]),  # none can be spared
    ],
)
def test_batches_end_where_the_frame_budget_ends(n_frames, sizes, trained):
    assert 4 * FRAMES_PER_RECORDING == 4000
    data, rng = dataset(n_frames), np.random.default_rng(0)
    assert sorted(len(rows) for rows in BatchIterator(data, 4).rows()) == sizes
    assert sorted(len(rows) for rows in BatchIterator(data, 4, rng).rows()) == trained


def padding(batches_of_rows, n_frames):
    """Padded frames, as a share of all."""
    cells = sum(len(rows) * n_frames[rows].max() for rows in batches_of_rows)
    return 1 - n_frames.sum() / cells


def test_batches_are_bucketed_by_length():
    n_frames = np.random.default_rng(0).integers(1, 500, 400)
    order = np.random.default_rng(1).permutation(400)
    at_random = padding(np.split(order, 20), n_frames)
    trained = BatchIterator(dataset(n_frames), 20, np.random.default_rng(2))
    assert padding(trained.rows(), n_frames) < 0.6 * at_random
    predicted = BatchIterator(dataset(n_frames), 20)
    assert padding(predicted.rows(), n_frames) < 0.1 * at_random


def test_the_seed_decides_the_order():
    n_frames = np.arange(1, 401)

    def epochs(seed):
        iterator = BatchIterator(dataset(n_frames), 20, np.random.default_rng(seed))
        return [[rows.tolist() for rows in iterator.rows()] for _ in range(2)]

    (first, second), other = epochs(0), epochs(1)[0]
    assert epochs(0) == [first, second]
    assert len({str(sorted(rows)) for rows in (first, second, other)}) == 3  # company
    means = [np.mean(rows) for rows in first]
    assert means not in (sorted(means), sorted(means, reverse=True))
    rows = [part.tolist() for part in BatchIterator(dataset([9, 2, 7, 2, 5]), 2).rows()]
    assert rows == [[1, 3], [4, 2], [0]]  # without a seed by length


def test_companions_are_drawn_in_training_only():
    calls = []

    def draw(data, rows, rng, frame_budget):
        assert frame_budget == 4 * FRAMES_PER_RECORDING
        calls.append((data, rows.tolist(), rng))
        return {"extra": len(rows)}

    data = dataset([3] * 6, draw_companions=draw)
    assert all(batch.companions == {} for batch, _ in BatchIterator(data, 4))
    assert calls == []
    rng = np.random.default_rng(0)
    found = [batch for batch, _ in BatchIterator(data, 4, rng)]
    assert [b.companions["extra"] for b in found] == [len(b) for b in found]
    assert all(call[0] is data and call[2] is rng for call in calls)
    assert [rows for _, rows, _ in calls] == [b["y"].tolist() for b in found]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    n_features=st.integers(1, 4),
    read_only=st.booleans(),
)
def test_pad(lengths, n_features, read_only):
    X = [np.random.default_rng(n).normal(size=(n_features, n)) for n in lengths]
    X = [x.astype(np.float32) for x in X]
    for x in X:
        x.flags.writeable = not read_only
    x, found = pad(X)
    assert x.dtype == torch.float32
    assert found.dtype == torch.int64
    assert found.tolist() == lengths
    assert max(lengths) <= x.shape[2] < max(lengths) + 16
    for row, sequence, n in zip(x.numpy(), X, lengths, strict=True):
        np.testing.assert_array_equal(row[:, :n], sequence)
        assert not row[:, n:].any()
    x += 1  # the batch is a copy
    assert not np.array_equal(x[0, :, : lengths[0]].numpy(), X[0])


def test_tensors_are_padded_as_arrays():
    X = [np.ones((2, 3), np.float32), np.full((2, 5), 2, np.float32)]
    for found, expected in zip(pad([*map(torch.tensor, X)]), pad(X), strict=True):
        assert torch.equal(found, expected)


def test_a_dataset_on_the_cpu_copies_nothing(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 5), np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = SequenceDataset([mapped, mapped])
    assert data[0] is mapped
    assert len(data) == 2
    assert data.batch([1]).x.sum() == 10


# ------------------------------------------------------------------------- vectors


def peak_of(function):
    """Return the largest memory that NumPy has during a call, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_table_of_vectors_is_not_copied(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20000, 512)).astype(np.float32)
    y = rng.integers(0, 3, len(X))
    np.save(tmp_path / "X.npy", X)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = SpeakerAdversarialClassifier(method=None, max_epochs=1, random_state=0)
    model.fit(X[:200], y[:200])  # the first optimiser of a process imports a lot
    assert peak_of(lambda: model.fit(X, y)) < 0.4 * X.nbytes
    assert peak_of(lambda: model.predict_proba(X)) < 0.4 * X.nbytes


def test_rows_of_a_table_are_sequences_of_one_frame():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    vectors = Vectors(table)
    assert len(vectors) == 4
    assert [x.shape for x in vectors] == [(3, 1)] * 4
    np.testing.assert_array_equal(np.hstack(list(vectors)).T, table)
    part = take(take(vectors, [3, 1, 0]), [2, 0])
    np.testing.assert_array_equal(part.gather([0, 1]), table[[0, 3]])
    np.testing.assert_array_equal(np.vstack([x for _, x in vectors.chunks()]), table)


def test_vectors_and_a_list_of_frames_give_the_same_fit(method, weights):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 5)).astype(np.float32), np.arange(30) % 3
    options = {"encoder": "pointwise", "max_epochs": 2, **method.speakerless}
    forms = X, list(X[:, :, None]), X[:, :, None], X.astype(np.float64)
    fits = [method(**options).fit(form, y) for form in forms]
    assert all(weights(fit) == weights(fits[0]) for fit in fits)
    for fit, form in zip(fits, forms, strict=True):
        np.testing.assert_array_equal(fit.predict_proba(form), fits[0].predict_proba(X))


def test_batches_of_vectors_are_larger_in_prediction():
    data = SequenceDataset(Vectors(np.zeros((5000, 1024), np.float32)))
    assert len(BatchIterator(data, 32).rows()[0]) == 1024
    rng = np.random.default_rng(0)
    assert {len(rows) for rows in BatchIterator(data, 32, rng).rows()} <= {32, 8}
