"""Batch normalisation predicts by exact statistics, which match the weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skorch.callbacks import Callback
from torch import nn

from sklearn_ser import DIDANDomainAdapter, DSNetClassifier
from sklearn_ser.metrics import uar_score
from sklearn_ser.nn.batching import BatchIterator, SequenceDataset
from sklearn_ser.nn.encoders import UtteranceEncoder
from sklearn_ser.nn.layers import MaskedBatchNorm, frame_mask
from sklearn_ser.nn.normalization import (
    batch_norms,
    keep_statistics,
    set_statistics,
)
from sklearn_ser.sequences import standardized

COMPACT = ["conv", "conv_gru", "conv_lstm", "pointwise"]


def in_batches(sequences, batch_size):
    dataset = SequenceDataset(sequences)

    def apply(compute):
        for rows in BatchIterator(dataset, batch_size).rows():
            batch = dataset.batch(rows)
            yield compute(batch.x, batch.lengths)

    return apply


def random_sequences(lengths, n_features=8, seed=0):
    rng = np.random.default_rng(seed)
    offset = rng.normal(size=n_features)[:, None]
    return [
        (rng.normal(size=(n_features, n)) * rng.uniform(0.5, 2) + offset).astype("f4")
        for n in lengths
    ]


def recorded(module, apply):
    """Return the true cells that each normalisation gets in prediction."""
    found = {norm: [] for norm in batch_norms(module)}

    def note(norm, args):
        x = args[0].detach().double()
        mask = args[1] if len(args) > 1 else torch.ones(1)
        true = mask.expand(len(x), 1, *x.shape[2:])[:, 0].bool()
        found[norm].append(x.movedim(1, -1)[true])

    handles = [norm.register_forward_pre_hook(note) for norm in found]
    for _ in apply(module.eval()):
        pass
    for handle in handles:
        handle.remove()
    return {norm: torch.cat(cells) for norm, cells in found.items() if cells}


def check_exact(module, apply):
    cells = recorded(module, apply)
    for norm, values in cells.items():
        mean, var = values.mean(0), values.var(0, correction=0)
        scale = float(var.sqrt().mean())
        torch.testing.assert_close(
            norm.running_mean.double(), mean, rtol=1e-4, atol=1e-4 * scale
        )
        torch.testing.assert_close(
            norm.running_var.double(), var, rtol=1e-3, atol=1e-6 * scale**2
        )
    return cells


def utterance_network(encoder, n_features=8):
    """An encoder of the library with a normalised head, as DSNet and DIDAN have it."""
    torch.manual_seed(0)
    embed = UtteranceEncoder(encoder, n_features, n_embedding=6)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = embed
            self.head = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU())

        def forward(self, x, lengths):
            return self.head(self.embed(x, lengths))

    return Network()


@pytest.mark.parametrize("batch_size", [2, 100])
@pytest.mark.parametrize("encoder", COMPACT)
def test_statistics_are_those_of_all_cells(encoder, batch_size):
    module = utterance_network(encoder)
    sequences = random_sequences([40, 3, 25, 90, 17, 16, 5])
    set_statistics(module, in_batches(sequences, batch_size))
    assert not module.training
    cells = check_exact(module, in_batches(sequences, 4))
    assert len(cells) == len(batch_norms(module))


@given(
    lengths=st.lists(st.integers(1, 50), min_size=2, max_size=9),
    batch_size=st.integers(2, 9),
    seed=st.integers(0, 99),
)
def test_neither_order_nor_batches_matter(lengths, batch_size, seed):
    module = utterance_network("conv")
    sequences = random_sequences(lengths, seed=seed)
    set_statistics(module, in_batches(sequences, 4))
    expected = [n.running_mean.clone() for n in batch_norms(module)]
    spread = [n.running_var.clone() for n in batch_norms(module)]
    order = np.random.default_rng(seed).permutation(len(lengths))
    set_statistics(module, in_batches([sequences[i] for i in order], batch_size))
    for norm, mean, var in zip(batch_norms(module), expected, spread, strict=True):
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(norm.running_var, var, rtol=1e-3, atol=1e-5)


def test_a_batch_of_two_rows_counts_as_two_rows():
    """A plain mean over batches would give them the weight of thirty-two."""
    norm = nn.BatchNorm1d(1)

    class Network(nn.Sequential):
        def forward(self, x, lengths):
            return super().forward(x[:, :, 0])

    values = np.r_[np.zeros(32), 10, 10].astype("f4")

    def apply(compute):
        for part in (values[:32], values[32:]):
            x = torch.from_numpy(part)[:, None, None]
            yield compute(x, torch.ones(len(x)))

    set_statistics(Network(norm), apply)
    assert norm.running_mean.item() == pytest.approx(values.mean(), rel=1e-6)
    assert norm.running_var.item() == pytest.approx(values.var(), rel=1e-6)


def test_a_layer_that_is_called_twice_counts_both_calls():
    norm = MaskedBatchNorm(2)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, x, lengths):
            mask = frame_mask(lengths, x.shape[-1])[:, None]
            self.norm(x, mask)
            return self.norm(3 * x, mask)

    sequences = random_sequences([5, 9, 4, 7], n_features=2)
    set_statistics(Twice(), in_batches(sequences, 2))
    cells = np.hstack([np.hstack([x, 3 * x]) for x in sequences])
    np.testing.assert_allclose(norm.running_mean, cells.mean(1), rtol=1e-4)
    np.testing.assert_allclose(norm.running_var, cells.var(1), rtol=1e-4)


class Normalised(nn.Module):
    """A user's encoder with batch normalisation of PyTorch, and noise of its own."""

    spectral = False

    def __init__(self, n_features):
        super().__init__()
        self.linear, self.norm = nn.Linear(n_features, 8), nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x, lengths):
        z = self.dropout(self.linear(x[..., 0]))
        return self.norm(z)[..., None].relu(), lengths.clamp(max=1)


def test_training_leaves_the_statistics_alone():
    module = Normalised(3).train()
    keep_statistics(module)
    module(torch.randn(6, 3, 1) + 5, torch.ones(6))
    assert not module.norm.running_mean.any()
    own = MaskedBatchNorm(3).train()
    own(torch.randn(6, 3, 4) + 5, torch.ones(6, 1, 4))
    assert not own.running_mean.any()


# --------------------------------------------------------------------- after a fit


def separable(n, n_features=8, frames=(12, 40), seed=0):
    """Three emotions that every trained network tells apart; four speakers."""
    rng = np.random.default_rng(seed)
    y = np.array(["anger", "neutral", "sadness"])[np.arange(n) % 3]
    sign = np.where(np.arange(n_features) % 3 == (np.arange(n) % 3)[:, None], 2.0, 0.0)
    X = [
        (s[:, None] + rng.normal(size=(n_features, rng.integers(*frames)))).astype("f4")
        for s in sign
    ]
    return {"X": X, "y": y, "speakers": np.arange(n) // 3 % 4}


@pytest.mark.parametrize("encoder", ["conv", "conv_lstm"])
def test_predictions_follow_the_weights_after_few_steps(method, encoder):
    """Lagging averages left a third of the recordings wrong, at a loss near zero."""
    data = separable(48)
    model = method(encoder=encoder, max_epochs=6, lr=3e-3, **method.speakerless)
    model.fit(data["X"], data["y"], **speakers_of(method, data))
    assert model.score(data["X"], data["y"]) > 0.95


def speakers_of(method, data):
    return {"speakers": data["speakers"]} if method.uses_speakers else {}


@pytest.mark.parametrize("encoder", ["conv", "pointwise", Normalised])
def test_a_fit_ends_with_the_statistics_of_its_training_data(method, encoder):
    frames = (1, 2) if encoder is Normalised else (12, 40)
    data = separable(21, frames=frames)
    model = method(encoder=encoder, max_epochs=2, **method.raw)
    model.fit(data["X"], data["y"], **speakers_of(method, data))
    module = model.net_.module_
    sequences = data["X"]
    cells = check_exact(module, lambda m: in_batches(sequences, 5)(m))
    assert cells


def test_each_vector_counts_once(method):
    """Predictions fill small batches up with copies, statistics do not."""
    rng = np.random.default_rng(0)
    X, y = rng.gamma(1, size=(7, 4)).astype("f4"), np.arange(7) % 2
    model = method(encoder="pointwise", batch_size=64, **method.raw)
    model.set_params(**method.speakerless).fit(X, y)
    check_exact(model.net_.module_, lambda m: in_batches(list(X[:, :, None]), 7)(m))


def test_the_target_s_statistics_are_those_of_all_its_recordings():
    data = separable(54)
    domain = np.where(np.arange(54) < 20, 1, -1)
    model = DIDANDomainAdapter(encoder="conv", max_epochs=2, random_state=0)
    model.fit(data["X"], data["y"], sample_domain=domain)
    [module] = model.net_.target_modules_
    target = [standardized(x, *model.domain_statistics_[-1]) for x in data["X"][20:]]
    check_exact(module, lambda m: in_batches(target, 7)(m))
    source = [standardized(x, *model.domain_statistics_[1]) for x in data["X"][:20]]
    check_exact(model.net_.module_, lambda m: in_batches(source, 7)(m))


def test_common_statistics_are_those_of_source_and_target():
    data = separable(30)
    domain = np.where(np.arange(30) < 18, 1, -1)
    model = DIDANDomainAdapter(
        encoder="conv", max_epochs=2, normalize_domains=False, random_state=0
    )
    model.fit(data["X"], data["y"], sample_domain=domain)
    check_exact(model.net_.module_, lambda m: in_batches(data["X"], 7)(m))


# ------------------------------------------------------------------ before validation


class Watch(Callback):
    """Notes what the net predicts after each epoch."""

    def __init__(self, X):
        self.X = X

    def on_train_begin(self, net, **kwargs):
        self.found_ = []

    def on_epoch_end(self, net, **kwargs):
        self.found_.append(net.outputs(self.X, "logits"))
        net.watched_ = self.found_


@pytest.mark.parametrize("encoder", ["conv", "pointwise"])
def test_validation_hears_the_weights_of_its_epoch(encoder):
    data = separable(60, frames=(1, 2) if encoder == "pointwise" else (12, 40))
    held = data["speakers"] == 3
    X = [data["X"][i] for i in np.flatnonzero(held)]
    model = DSNetClassifier(
        encoder=encoder, max_epochs=4, random_state=0, callbacks=[Watch(X)]
    )
    model.fit(**data, validation=held)
    for row, logits in zip(model.history_, model.net_.watched_, strict=True):
        predicted = model.classes_[logits.argmax(1)]
        assert row["valid_uar"] == pytest.approx(uar_score(data["y"][held], predicted))
    assert max(model.history_[:, "valid_uar"]) > 0.9
    best = model.classes_[model.net_.outputs(X, "logits").argmax(1)]
    uar = uar_score(data["y"][held], best)
    assert uar == pytest.approx(max(model.history_[:, "valid_uar"]))


def test_looking_on_does_not_change_the_training(method, weights):
    data = separable(24)
    extra = speakers_of(method, data)
    alone = method(max_epochs=3).fit(data["X"], data["y"], **extra)
    watched = method(max_epochs=3, callbacks=[Watch(data["X"])])
    watched.fit(data["X"], data["y"], **extra)
    assert weights(watched) == weights(alone)


# ----------------------------------------------------------------------- batching


@pytest.mark.parametrize("encoder", ["conv", "conv_gru", "conv_lstm"])
def test_batching_changes_little_after_two_epochs(method, encoder):
    """Embeddings are close together then, which magnifies the rounding errors."""
    data = separable(24, n_features=16, frames=(20, 90))
    X = [x * 0.3 for x in data["X"]]
    options, fit = {}, speakers_of(method, data)
    if not method.uses_speakers:
        options = {"alignment": "didan"}
        fit = {"sample_domain": np.where(np.arange(24) % 2, 1, -1)}
    model = method(encoder=encoder, max_epochs=2, **options).fit(X, data["y"], **fit)
    together = model.predict_proba(X)
    alone = np.vstack([model.predict_proba([x]) for x in X])
    np.testing.assert_allclose(together, alone, rtol=0, atol=5e-6)
