"""DIDAN and LIDAN: the coder, its gradient, domains, and what is never read."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import Lasso
from torch.nn import functional as F

from sklearn_ser import DIDANDomainAdapter, TargetMissingWarning
from sklearn_ser.didan import (
    DIDAN,
    ImplicitAlignment,
    Regression,
    eigenvalue_bound,
    nearest_distribution,
    reconstruction_error,
    sparse_codes,
)
from sklearn_ser.domains import TargetBatches, normalized_by_domain
from sklearn_ser.features.cache import CachedSequence
from sklearn_ser.metrics import uar_score
from sklearn_ser.model_selection import cross_corpus_validate
from sklearn_ser.nn.batching import Batch, SequenceDataset
from sklearn_ser.persistence import load, save
from sklearn_ser.sequences import standardized

ALIGNMENTS = ["didan", "lidan"]


@pytest.fixture(scope="module")
def data(corpus, log_mels):
    """Two speakers are the source, two the target."""
    domain = np.where(corpus.speakers < "s02", 1, -1)
    return {"X": log_mels, "y": corpus.y, "sample_domain": domain}


def quick(**params):
    defaults = {"encoder": "conv", "max_epochs": 2, "batch_size": 8, "random_state": 0}
    return DIDANDomainAdapter(**{**defaults, **params})


def unit(rng, d, n, mean=0.5):
    return F.normalize(torch.from_numpy(rng.normal(size=(d, n)) + mean), dim=0)


# ------------------------------------------------------------------------- the coder


@given(
    st.integers(0, 10**6),
    st.integers(8, 40),
    st.integers(2, 24),
    st.integers(1, 5),
    st.sampled_from([0.05, 0.1, 0.3, 0.9]),
)
def test_codes_are_those_of_the_lasso(seed, d, n_s, n_t, sparsity):
    rng = np.random.default_rng(seed)
    n_s = min(n_s, d)  # more atoms than dimensions have no unique codes
    D_s, D_t = unit(rng, d, n_s), unit(rng, d, n_t)
    tau = float(sparsity * 2 * (D_s.T @ D_t).abs().max())
    Z = sparse_codes(D_s, D_t, tau, max_iter=5000, tol=1e-9)
    lasso = Lasso(alpha=tau / (2 * d), fit_intercept=False, tol=1e-10, max_iter=10**6)
    for z, x in zip(Z.T, D_t.T, strict=True):
        np.testing.assert_allclose(z, lasso.fit(D_s, x).coef_, atol=1e-4)


def test_codes_at_the_default_tolerance():
    rng = np.random.default_rng(0)
    D_s, D_t = unit(rng, 64, 32), unit(rng, 64, 32)
    tau = float(0.2 * (D_s.T @ D_t).abs().max())
    lasso = Lasso(alpha=tau / 128, fit_intercept=False, tol=1e-12, max_iter=10**6)
    expected = lasso.fit(D_s, D_t).coef_.T
    np.testing.assert_allclose(sparse_codes(D_s, D_t, tau), expected, atol=1e-4)


def test_a_sample_uses_the_atoms_that_it_may():
    rng = np.random.default_rng(0)
    D_s, D_t = unit(rng, 16, 9), unit(rng, 16, 6)
    own = torch.arange(9)[:, None] % 3 == torch.arange(6)[None] % 3
    Z = sparse_codes(D_s, D_t, 0.1, own)
    assert not Z[~own].any()
    for group in range(3):
        alone = sparse_codes(D_s[:, group::3], D_t[:, group::3], 0.1)
        torch.testing.assert_close(Z[group::3, group::3], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sparsity", [1.0, 1.5])
def test_too_sparse_codes_are_zero(sparsity):
    D_s, D_t = (unit(np.random.default_rng(i), 16, 8) for i in range(2))
    tau = sparsity * 2 * (D_s.T @ D_t).abs().max() + 1e-9
    assert not sparse_codes(D_s, D_t, tau).any()
    assert not sparse_codes(0 * D_s, 0 * D_t, 0.0).any()


@pytest.mark.parametrize(("d", "n"), [(64, 32), (8, 32), (64, 200), (3, 1)])
@pytest.mark.parametrize("mean", [0.0, 0.2, 3.0])
def test_no_step_is_too_long(d, n, mean):
    rng = np.random.default_rng(d + n)
    D = unit(rng, d, n, mean)
    for gram in (D.T @ D, torch.eye(n, dtype=D.dtype)):
        ratio = eigenvalue_bound(gram) / torch.linalg.eigvalsh(gram)[-1]
        assert 1 - 1e-12 <= ratio <= n ** (1 / 32) + 1e-12


def test_the_step_of_extreme_matrices():
    eye = torch.eye(300, dtype=torch.float64)
    for scale in (1e-200, 1e100):
        assert 1 <= float(eigenvalue_bound(scale * eye)) / scale < 1.2
    assert float(eigenvalue_bound(0 * eye)) == 0
    assert torch.isnan(eigenvalue_bound(torch.nan * eye)).all()  # no error


def test_the_codes_are_found_on_the_cpu_in_double_precision(monkeypatch):
    seen = []

    def note(a, b, tau, allowed):
        seen.extend([a, b, tau])
        return sparse_codes(a, b, tau, allowed)

    monkeypatch.setattr("sklearn_ser.didan.sparse_codes", note)
    _, outputs, batch = forward()
    h_s, h_t = outputs["layers"]["FC3"]
    Z, tau = ImplicitAlignment(groups=(0, 1, 2)).codes(
        h_s.T, h_t.T, batch["y"], outputs["guess"]
    )
    assert Z.dtype == tau.dtype == torch.float32
    assert {(t.dtype, t.device.type) for t in seen} == {(torch.float64, "cpu")}


# ---------------------------------------------------------------------- the gradient


def ida(h_s, h_t, tau):
    """IDA of features, by codes that are as good as exact."""
    D_s, D_t = F.normalize(h_s, dim=1).T, F.normalize(h_t, dim=1).T
    Z = sparse_codes(D_s.detach(), D_t.detach(), tau, tol=1e-12, max_iter=20000)
    return reconstruction_error(D_s, D_t, Z, tau)


def test_the_gradient_is_that_of_the_minimum():
    rng = np.random.default_rng(1)
    h_s, h_t = (torch.from_numpy(rng.normal(size=(4, 6))) for _ in range(2))
    h_s.requires_grad_(), h_t.requires_grad_()
    ida(h_s, h_t, 0.2).backward()
    for h in h_s, h_t:
        for index in np.ndindex(*h.shape):
            values = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    h[index] += step
                    values.append(ida(h_s, h_t, 0.2).item())
                    h[index] -= step
            numeric = (values[0] - values[1]) / 2e-5
            assert float(h.grad[index]) == pytest.approx(numeric, abs=1e-6)


def forward(n=12):
    torch.manual_seed(0)
    module = DIDAN(3, encoder="conv", n_features=6)
    x = torch.randn(n, 6, 20)
    columns = {"y": torch.arange(n) % 3, "weight": torch.ones(n)}
    target = Batch(torch.randn(n, 6, 16) + 1, torch.full((n,), 16))
    batch = Batch(x, torch.full((n,), 20), columns)
    outputs = module(batch.x, batch.lengths, target)
    return module, outputs, batch


@pytest.mark.parametrize("groups", [None, (0, 0, 1)])
def test_the_term_reaches_the_layers(groups):
    module, outputs, batch = forward()
    value, diagnostics = ImplicitAlignment(groups=groups)(outputs, batch)
    value.backward()
    assert module.FC2[0].weight.grad.abs().max() > 0
    assert diagnostics["nonzeros"] > 0
    assert 0 < diagnostics["residual"] <= 1 + 1e-6


def test_the_term_in_the_paper_s_words():
    rng = np.random.default_rng(0)
    h_s, h_t = (torch.from_numpy(rng.normal(size=(n, 16)) + 0.5) for n in (10, 12))
    D_s, D_t = F.normalize(h_s, dim=1).T, F.normalize(h_t, dim=1).T
    tau = 0.3 * 2 * (D_s.T @ D_t).abs().max()
    lasso = Lasso(alpha=float(tau) / (2 * 16), fit_intercept=False, tol=1e-10)
    Z = torch.from_numpy(lasso.fit(D_s, D_t).coef_.T)
    expected = ((D_t - D_s @ Z) ** 2).sum() + tau * Z.abs().sum()
    outputs = {"layers": {"FC3": (h_s, h_t)}, "guess": None}
    found, diagnostics = ImplicitAlignment(sparsity=0.3)(outputs, {"y": None})
    assert float(found) == pytest.approx(float(expected) / 12, rel=1e-6)
    assert diagnostics["nonzeros"] == float((Z.abs() > 1e-6).sum()) / 12
    residual = ((D_t - D_s @ Z) ** 2).sum() / (D_t**2).sum()
    assert diagnostics["residual"] == pytest.approx(float(residual))


def test_regression_in_the_paper_s_words():
    logits = torch.tensor([[0.5, 0.2, 0.0], [0.0, 1.0, 0.0]])
    batch = Batch(
        None, None, {"y": torch.tensor([0, 2]), "weight": torch.tensor([1.0, 3.0])}
    )
    expected = (0.25 + 0.04) / 2 + 3 * (1 + 1) / 2
    assert float(Regression()({"logits": logits}, batch)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("alignment", "names"),
    [
        ("didan", ["alignment"]),
        ("lidan", ["alignment_all", "alignment_arousal", "alignment_emotion"]),
    ],
)
def test_the_history_has_each_term_and_how_the_target_is_rebuilt(
    data, alignment, names
):
    model = quick(alignment=alignment, alignment_weight=0.5).fit(**data)
    batches = [b for epoch in model.history_ for b in epoch["batches"]]
    for i, batch in enumerate(batches):  # the weight rises with the training
        aligned = sum(batch[f"train_{name}"] for name in names)
        expected = batch["train_task"] + 0.5 * i / len(batches) * aligned
        assert batch["train_loss"] == pytest.approx(expected, abs=1e-5)
    for epoch in model.history_:
        for name in names:
            assert 0 < epoch[f"train_{name}_nonzeros"] <= 8
            assert 0 < epoch[f"train_{name}_residual"] <= 1 + 1e-6


# ------------------------------------------------------------------------ the domains


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_target_labels_are_never_read(data, alignment, weights):
    options = {"alignment": alignment, "max_epochs": 1}
    expected = quick(**options).fit(**data)
    target = data["sample_domain"] < 0
    rng = np.random.default_rng(0)
    permuted, other = data["y"].copy(), data["y"].astype(object)
    permuted[target] = rng.permutation(permuted[target])
    other[target] = [None, np.nan, -1, "", 3.5, "anger "] * 2
    masked = [-1 if t else y for t, y in zip(target, data["y"], strict=True)]
    for y in (permuted, other, masked):
        model = quick(**options).fit(**{**data, "y": y})
        assert model.classes_.tolist() == expected.classes_.tolist()
        assert weights(model) == weights(expected)


def test_unlabelled_rows_are_the_target(data, weights):
    y = np.unique(data["y"], return_inverse=True)[1]
    masked = np.where(data["sample_domain"] < 0, -1, y)
    expected = quick().fit(data["X"], y, sample_domain=data["sample_domain"])
    found = quick().fit(data["X"], masked)
    assert found.classes_.tolist() == [0, 1, 2]
    assert weights(found) == weights(expected)
    words = [w if m >= 0 else -1 for w, m in zip(data["y"], masked, strict=True)]
    found = quick(alignment="lidan").fit(data["X"], words)
    assert found.classes_.tolist() == ["anger", "neutral", "sadness"]
    expected = quick(alignment="lidan").fit(**data)
    assert weights(found) == weights(expected)


def test_classes_and_their_weights_are_the_source_s(data, weights):
    y, source = data["y"].copy(), data["sample_domain"] > 0
    y[~source] = "fear"
    expected = quick(alignment=None, normalize_domains=False).fit(
        [x for x, s in zip(data["X"], source, strict=True) if s], y[source]
    )
    found = quick(alignment=None, normalize_domains=False).fit(**{**data, "y": y})
    assert "fear" not in found.classes_
    assert weights(found) == weights(expected)


def test_without_a_target_it_warns(data):
    X, y = data["X"], data["y"]
    with pytest.warns(TargetMissingWarning, match="Pass sample_domain, negative"):
        model = quick().fit(X, y)
    assert "train_alignment" not in model.history_[-1]
    quick(alignment=None).fit(X, y)
    quick(alignment_weight=0).fit(X, y)


def replaced(values, row, value):
    return [value if i == row else v for i, v in enumerate(values)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda y, s: {"y": replaced(y, s[3], None)},
            r"y\[\d+\] is None, expected a la",
        ),
        (lambda y, s: {"y": replaced(y, s[3], 1)}, r"y\[\d+\] is 1 .* as y\[\d+\]"),
        (
            lambda y, s: {"validation": ~np.isin(np.arange(24), s)},
            "validation names no row of the source",
        ),
        (
            lambda y, s: {"sample_weight": np.where(np.isin(np.arange(24), s), 0.0, 1)},
            "^sample_weight",
        ),
    ],
)
def test_wrong_labels_and_weights(data, change, message):
    changes = change(data["y"].tolist(), np.flatnonzero(data["sample_domain"] > 0))
    with pytest.raises((ValueError, TypeError), match=message):
        quick().fit(**{**data, **changes})


def test_one_row_for_each_row(data):
    model, domain = quick().fit(**data), data["sample_domain"]
    expected = model.predict_proba(data["X"])
    assert expected.shape == (24, 3)
    assert set(model.predict(data["X"])) <= set(model.classes_)
    for allow in (False, True):
        with_domain = model.predict_proba(data["X"], domain, allow_source=allow)
        assert with_domain.shape == (24, 3)
        np.testing.assert_allclose(
            with_domain[domain < 0],
            expected[domain < 0],
            atol=1e-5,  # other batches
        )
    assert np.abs(with_domain - expected)[domain > 0].max() > 1e-4
    assert model.embed(data["X"]).shape == (24, 64)
    assert model.embed(data["X"], sample_domain=domain).shape == (24, 64)
    hits = model.predict(data["X"], domain) == data["y"]
    assert model.score(data["X"], data["y"], sample_domain=domain) == hits.mean()
    only = model.score(data["X"], data["y"], hits + 1e-9, sample_domain=domain)
    assert only == pytest.approx(1)
    with pytest.raises(ValueError, match="sample_domain has 1"):
        model.predict(data["X"], [1])


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("n_target", [1, 12])
def test_a_batch_larger_than_a_domain(data, alignment, n_target, weights):
    target = np.flatnonzero(data["sample_domain"] < 0)[:n_target]
    rows = np.sort(np.r_[np.flatnonzero(data["sample_domain"] > 0), target])
    some = {k: [v[i] for i in rows] for k, v in data.items()}
    options = {"alignment": alignment, "batch_size": 64}
    model = quick(**options).fit(**some)
    assert len(model.history_) == 2
    plain = quick(**options, alignment_weight=0).fit(**some)
    assert weights(model) != weights(plain)


def test_the_target_goes_round():
    dataset = SequenceDataset([np.full((1, 2), i, np.float32) for i in range(5)])
    source = SequenceDataset([np.ones((1, 2), np.float32)] * 12)
    draw, rng = TargetBatches(dataset), np.random.default_rng(0)
    drawn = [draw(source, range(n), rng, 10**6)["target"] for n in (3, 3, 4, 12)]
    batches = [batch.x[:, 0, 0] for batch in drawn]
    assert [len(b) for b in batches] == [3, 3, 4, 12]
    drawn = torch.cat(batches).int().tolist()[:20]
    for start in range(0, 20, 5):
        assert sorted(drawn[start : start + 5]) == list(range(5))


def test_the_target_is_about_as_long_as_the_source():
    lengths = np.random.default_rng(0).integers(10, 100, 400)
    dataset = SequenceDataset([np.ones((1, n), np.float32) for n in lengths])
    source = SequenceDataset([np.ones((1, n), np.float32) for n in (20, 80)])
    draw, rng = TargetBatches(dataset), np.random.default_rng(0)
    for rows in [0] * 8, [1] * 8:
        drawn = draw(source, rows, rng, 10**6)["target"].lengths.float()
        assert abs(float(drawn.mean()) - source.n_frames[rows[0]]) < 10


# ------------------------------------------------------------------ by each domain


@pytest.mark.parametrize("own_statistics", [True, False])
def test_source_and_target_share_a_batch_without_own_statistics(own_statistics):
    torch.manual_seed(0)
    module = DIDAN(
        3, encoder="conv", n_features=8, masking=0.1, own_statistics=own_statistics
    )
    x, lengths = torch.randn(4, 8, 32), torch.tensor([32, 30, 20, 9])
    target = Batch(3 + 5 * torch.randn(6, 8, 40), torch.full((6,), 40), {})
    torch.manual_seed(1)
    alone = module(x, lengths)
    torch.manual_seed(1)
    beside = module(x, lengths, target=target)
    assert torch.equal(alone["logits"], beside["logits"]) == own_statistics
    assert [len(h) for h in beside["layers"]["FC2"]] == [4, 6]


def test_a_domain_s_scale_does_not_matter(data):
    target = data["sample_domain"] < 0
    moved = [3 * x + 20 if t else x for x, t in zip(data["X"], target, strict=True)]
    model, other = quick().fit(**data), quick().fit(**{**data, "X": moved})
    rows = np.flatnonzero(target)
    found = other.predict_proba([moved[i] for i in rows])
    expected = model.predict_proba([data["X"][i] for i in rows])
    np.testing.assert_allclose(found, expected, atol=2e-3)
    fixed = {"normalize_domains": False}
    model = quick(**fixed).fit(**data)
    other = quick(**fixed).fit(**{**data, "X": moved})
    assert not hasattr(model, "domain_statistics_")
    found = other.predict_proba([moved[i] for i in rows])
    expected = model.predict_proba([data["X"][i] for i in rows])
    assert np.abs(found - expected).max() > 0.01


def test_the_source_is_predicted_with_its_own_statistics(data):
    model, domain = quick().fit(**data), data["sample_domain"]
    X = normalized_by_domain(data["X"], domain, model.domain_statistics_)
    found = model.embed(data["X"], sample_domain=domain)
    for rows, of_target in (domain > 0, False), (domain < 0, True):
        part = [x for x, own in zip(X, rows, strict=True) if own]
        expected = model.net_.outputs(part, "embedding", of_target=of_target)
        other = model.net_.outputs(part, "embedding", of_target=not of_target)
        np.testing.assert_allclose(found[rows], expected, atol=1e-5)
        assert np.abs(found[rows] - other).max() > 1e-3


def test_sequences_on_disk_stay_there(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mean, scale = x.mean(1), x.std(1)
    found = standardized(CachedSequence(str(tmp_path / "x.npy")), mean, scale)
    expected = standardized(x, mean, scale)
    assert isinstance(found, CachedSequence)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(found[:, 1:3], expected[:, 1:3])
    assert np.asarray(found).dtype == np.float32
    with pytest.raises(ValueError, match="a copy is needed"):
        found.__array__(copy=False)


# ---------------------------------------------------------------------------- the fit


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_an_idle_term_warns(data, alignment):
    with pytest.warns(UserWarning, match="did nothing.*lower sparsity"):
        quick(alignment=alignment, sparsity=1.01).fit(**data)


def test_a_term_that_rebuilds_anything_warns():
    rng = np.random.default_rng(0)
    X = [x.astype(np.float32) for x in rng.normal(size=(160, 6, 4))]
    model = quick(alignment="didan", sparsity=0.0, batch_size=128, max_epochs=1)
    with pytest.warns(UserWarning, match="did nothing.*raise sparsity"):
        model.fit(X, np.arange(160) % 2, sample_domain=np.repeat([1, -1], [128, 32]))


def test_validation_needs_no_target(data, corpus):
    model = quick(validation_fraction=0.5).fit(**data, speakers=corpus.speakers)
    assert len(model.history_[:, "valid_uar"]) == 2


@given(arrays(np.float64, (4, 5), elements=st.floats(-1e3, 1e3)))
def test_probabilities_are_the_nearest_distribution(f):
    def nearest(f, floor):
        return nearest_distribution(torch.from_numpy(f), floor).numpy()

    p = nearest(f, 0.0)
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p >= 0).all()
    # The projection of a point: no distribution lies at an acute angle beyond it.
    for corner in np.eye(5):
        assert (((f - p) * (corner - p)).sum(1) <= 1e-6 * (1 + np.abs(f).max())).all()
    again = nearest(p, 0.0)
    np.testing.assert_allclose(again, p, atol=1e-9)
    best = f.max(1) - np.sort(f)[:, -2] > 1e-6
    assert (p.argmax(1) == f.argmax(1))[best].all()
    assert (nearest(f, 1e-6) > 0).all()


def test_across_corpora(corpus, data):
    corpora = np.where(data["sample_domain"] > 0, "home", "away")
    for mode in ("transductive", "inductive"):
        found = cross_corpus_validate(
            quick(), data["X"], data["y"], corpora, corpus.speakers, mode=mode
        )
        assert found.protocol == mode
        assert [t.target for t in found.transfers] == ["home", "away"]
    assert len(found.transfers[0].adapt) == len(found.transfers[0].test) == 6


# ------------------------------------------------------------------------ the claim


def shifted_target(length, seed):
    """Vectors of three emotions; the target's are moved by an offset of a length."""
    rng = np.random.default_rng(seed)
    y, domain = np.arange(120) % 3, np.repeat([1, -1], 60)
    offset = rng.normal(size=8)
    X = 4 * np.eye(8)[y] + rng.normal(size=(120, 8))
    X[domain < 0] += length * offset / np.linalg.norm(offset)
    return X.astype(np.float32), np.array(["anger", "joy", "sad"])[y], domain


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "seeds", "least", "most"),
    [(4, (0, 1, 2), 0.05, 1), (0, (0, 1), -0.03, 0.05)],
)
def test_alignment_wins_under_a_shift_and_loses_nothing_without(
    length, seeds, least, most
):
    gains = []
    for seed in seeds:
        X, y, domain = shifted_target(length, seed)
        target, labels = domain < 0, np.where(domain < 0, "unknown", y)
        # Normalisation by domain would take the shift away by itself.
        own = {"normalize_domains": False, "max_epochs": 30, "random_state": seed}
        with_target, without = (
            uar_score(
                y[target], model.fit(X, labels, sample_domain=domain).predict(X)[target]
            )
            for model in (
                DIDANDomainAdapter(alignment=how, encoder="pointwise", **own)
                for how in ("didan", None)
            )
        )
        gains.append(with_target - without)
    assert least < np.mean(gains) < most


# ------------------------------------------------------- statistics of the network


def shifted(data):
    """The target's features are moved and scaled, each frame by its length."""
    target = data["sample_domain"] < 0
    X = [
        x * np.linspace(1, 3, len(x))[:, None] + np.arange(len(x))[:, None] if t else x
        for x, t in zip(data["X"], target, strict=True)
    ]
    return {**data, "X": X}, [x for x, t in zip(X, target, strict=True) if t]


def test_domain_zero_is_a_source_in_prediction_too(data):
    moved, _ = shifted(data)
    expected = quick().fit(**moved).predict_proba(moved["X"], moved["sample_domain"])
    domain = np.where(moved["sample_domain"] < 0, -1, 0)
    model = quick().fit(**{**moved, "sample_domain": domain})
    np.testing.assert_array_equal(model.predict_proba(moved["X"], domain), expected)
    as_target = model.predict_proba(moved["X"])
    assert np.abs(as_target - expected)[domain == 0].max() > 1e-3


def test_statistics_of_the_target_survive_copies(data, tmp_path):
    moved, target = shifted(data)
    model = quick().fit(**moved)
    expected = model.predict_proba(target)
    save(model, tmp_path / "model.skops")
    for twin in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        load(tmp_path / "model.skops"),
    ):
        np.testing.assert_array_equal(twin.predict_proba(target), expected)


def test_without_domains_there_is_one_set_of_statistics(data):
    model = quick(normalize_domains=False).fit(**data)
    assert model.net_.target_modules_ == []
    found = model.predict_proba(data["X"], data["sample_domain"])
    np.testing.assert_array_equal(found, model.predict_proba(data["X"]))


@pytest.mark.filterwarnings("error")
def test_a_target_of_one_recording_goes_by_the_source(data):
    rows = [*np.flatnonzero(data["sample_domain"] > 0), 5]
    domain = np.repeat([1, -1], [len(rows) - 1, 1])
    some = {k: [v[i] for i in rows] for k, v in data.items()}
    model = quick().fit(some["X"], some["y"], sample_domain=domain)
    for own, whole in zip(*model.domain_statistics_.values(), strict=True):
        np.testing.assert_array_equal(own, whole)
    assert model.net_.target_modules_ == []
    assert np.isfinite(model.predict_proba(data["X"])).all()


def vectors(n_target, n_source=24, seed=0):
    """Vectors of two emotions, ten deviations apart, and of two domains."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_source + n_target) % 2
    X = rng.normal(size=(len(y), 5)) + 10 * y[:, None]
    domain = np.repeat([1, -1], [n_source, n_target])
    return X, y, domain


def pointwise(**params):
    return quick(encoder="pointwise", max_epochs=20, **params)


@pytest.mark.parametrize("n_target", [1, 3])
def test_equal_vectors_of_a_target_go_by_the_source(n_target):
    X, y, domain = vectors(n_target)
    X[domain < 0] = X[domain < 0][:1]
    model = pointwise().fit(X, y, sample_domain=domain)
    found = model.domain_statistics_
    for own, whole in zip(found[-1], found[1], strict=True):
        np.testing.assert_array_equal(own, whole)
    # Not a constant: what is new is told apart.
    new, labels, _ = vectors(0, 40, seed=1)
    assert model.score(new, labels) > 0.9
    p = model.predict_proba(new)
    assert p.std(axis=0).max() > 0.1


def test_a_source_of_one_vector_goes_by_the_whole_source():
    X, y, domain = vectors(6)
    domain[3] = 2
    model = pointwise().fit(X, y, sample_domain=domain)
    frames = X[domain > 0].astype(np.float32)
    mean, scale = model.domain_statistics_[2]
    np.testing.assert_allclose(mean, frames.mean(axis=0, dtype=float), atol=1e-12)
    np.testing.assert_allclose(scale, frames.std(axis=0, dtype=float), atol=1e-12)
    own = model.domain_statistics_[1][0]
    others = X[domain == 1].astype(np.float32)
    np.testing.assert_allclose(own, others.mean(axis=0, dtype=float), atol=1e-12)
    new, labels, _ = vectors(0, 40, seed=1)
    p = model.predict_proba(new, np.full(40, 2))
    assert p.std(axis=0).max() > 0.1
    assert (model.predict(new, np.full(40, 2)) == labels).mean() > 0.9


def test_several_targets_must_be_named(data):
    third = np.arange(24) % 3
    domain = np.where(data["sample_domain"] > 0, 1 + third % 2, -1 - third % 2)
    model = quick().fit(**{**data, "sample_domain": domain})
    assert set(model.domain_statistics_) == {1, 2, -1, -2}
    message = r"sample_domain must name .* several target domains, \[.*\]"
    for ask in (model.predict, model.predict_proba, model.embed):
        with pytest.raises(ValueError, match=message):
            ask(data["X"])
    with pytest.raises(ValueError, match="several source domains"):
        model.predict(data["X"], np.full(24, 7))
    row = int(np.flatnonzero(domain == -2)[0])
    x = data["X"][row]
    found = model.net_.outputs(
        [standardized(x, *model.domain_statistics_[-2])], "logits", of_target=True
    )
    asked = model.predict_proba([x], [-2])
    np.testing.assert_allclose(asked, model.net_.decide(found), atol=1e-6)
