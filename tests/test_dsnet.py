"""DSNet: its terms against the paper's formulas, their gradients, neutral partners."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, rel_entr, softmax
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from skorch.callbacks import Callback

from sklearn_ser import DSNetClassifier, LogMelTransformer, SpeakersMissingWarning
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.dsnet import (
    DSNet,
    NeutralCalibration,
    NeutralPartners,
    Orthogonality,
    Reconstruction,
    neutral_classes,
)
from sklearn_ser.metrics import speaker_probe_score
from sklearn_ser.nn.batching import Batch, SequenceDataset
from sklearn_ser.nn.losses import CrossEntropy

D = 12
TERMS = {
    "task": CrossEntropy(),
    "calibration": NeutralCalibration(),
    "orthogonality": Orthogonality(),
    "reconstruction": Reconstruction(),
}


def tensors(**arrays):
    return {k: torch.tensor(v, dtype=torch.float64) for k, v in arrays.items()}


def neutral_batch(calibrated, partner):
    columns = {
        "calibrated": torch.as_tensor(calibrated),
        "partner": torch.as_tensor(partner),
    }
    return Batch(torch.zeros(1, 1, 1), torch.ones(1), columns)


def paired(calibrated, partner):
    companions = {"neutral": neutral_batch(calibrated, partner)}
    return Batch(torch.zeros(1, 1, 1), torch.ones(1), {}, companions)


def draw(*shapes, seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    return [scale * rng.normal(size=shape) for shape in shapes]


# ---------------------------------------------------------------- the four values


def js_divergence(u, n):
    """(KL(P || M) + KL(Q || M)) / 2 with M = (P + Q) / 2, averaged over the rows."""
    p, q = softmax(u, axis=1), softmax(n, axis=1)
    m = (p + q) / 2
    return ((rel_entr(p, m) + rel_entr(q, m)).sum(axis=1) / 2).mean()


def cross_correlation(u, r):
    """|| U^T R ||_F^2 / d^2 of rows that are centred, then of unit length."""

    def rows(a):
        a = a - a.mean(axis=0)
        return a / (np.linalg.norm(a, axis=1, keepdims=True) + 1e-6)

    return np.linalg.norm(rows(u).T @ rows(r), "fro") ** 2 / u.shape[1] ** 2


def test_task():
    (logits,) = draw((7, 4))
    y = np.array([0, 1, 2, 3, 0, 0, 2])
    weight = np.array([1, 2, 0.5, 0.5, 1, 1, 1])
    batch = Batch(
        torch.zeros(7, 1, 1), torch.ones(7),
        {"y": torch.tensor(y), "weight": torch.tensor(weight)},
    )  # fmt: skip
    outputs = tensors(logits=logits)
    log_p = log_softmax(logits, axis=1)
    expected = -(weight * log_p[np.arange(7), y]).mean()
    assert CrossEntropy()(outputs, batch).item() == pytest.approx(expected)
    smooth = 0.9 * np.eye(4)[y] + 0.1 / 4
    expected = -(weight * (smooth * log_p).sum(axis=1)).mean()
    found = CrossEntropy(label_smoothing=0.1)(outputs, batch).item()
    assert found == pytest.approx(expected)


def test_calibration():
    u, n = draw((6, D), (2, D))
    # Rows 0, 2, 3 and 5 have a neutral partner, the others none.
    calibrated, partner = [0, 2, 3, 5], [1, 0, 0, 1]
    outputs = tensors(irrelevant=u, neutral=n)
    found = NeutralCalibration()(outputs, paired(calibrated, partner)).item()
    assert found == pytest.approx(js_divergence(u[calibrated], n[partner]))


def test_reconstruction():
    e, decoded = draw((5, D), (5, D))
    found = Reconstruction()(tensors(encoded=e, decoded=decoded), None).item()
    assert found == pytest.approx(((decoded - e) ** 2).sum() / e.size)


matrices = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 20), st.just(D)),
    elements=st.floats(-50, 50),
)


@given(u=matrices, data=st.data())
def test_divergence_is_bounded_and_symmetric(u, data):
    n = data.draw(hnp.arrays(np.float64, u.shape, elements=st.floats(-50, 50)))
    batch, term = paired(np.arange(len(u)), np.arange(len(u))), NeutralCalibration()
    found = term(tensors(irrelevant=u, neutral=n), batch).item()
    assert -1e-9 <= found <= np.log(2) + 1e-9
    assert found == pytest.approx(js_divergence(u, n), abs=1e-9)
    assert term(tensors(irrelevant=n, neutral=u), batch).item() == pytest.approx(found)
    same = term(tensors(irrelevant=u, neutral=u + 3.0), batch).item()
    assert same == pytest.approx(0, abs=1e-9)


@given(u=matrices, data=st.data())
def test_orthogonality(u, data):
    r = data.draw(hnp.arrays(np.float64, u.shape, elements=st.floats(-50, 50)))
    term = Orthogonality()
    found = term(tensors(irrelevant=u, embedding=r), None).item()
    assert found == pytest.approx(cross_correlation(u, r), rel=1e-4, abs=1e-9)
    assert term(tensors(irrelevant=u[:1], embedding=r[:1]), None).item() == 0


# ------------------------------------------------------- where the gradients go


@pytest.fixture
def network():
    torch.manual_seed(0)
    module = DSNet(n_classes=3, d=D, encoder="conv", n_features=5)
    return module.double().train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 5, 16, generator=generator, dtype=torch.float64)
    neutral = neutral_batch([0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1])
    neutral.x = torch.randn(2, 5, 16, generator=generator, dtype=torch.float64)
    neutral.lengths = torch.tensor([16, 9])
    neutral.x[1, :, 9:] = 0
    columns = {
        "y": torch.tensor([0, 1, 2, 0, 1, 2]),
        "weight": torch.ones(6, dtype=torch.float64),
    }
    return Batch(x, torch.full((6,), 16), columns, {"neutral": neutral})


@pytest.mark.parametrize(
    ("term", "reached"),
    [
        ("task", {"E", "T2", "C"}),
        ("calibration", {"E", "T"}),
        ("orthogonality", {"E", "T", "T2"}),
        ("reconstruction", {"E", "T", "T2", "D"}),
    ],
)
def test_parts_that_a_term_trains(network, batch, term, reached):
    outputs = network(batch.x, batch.lengths, **batch.companions)
    TERMS[term](outputs, batch).backward()
    found = {
        name.partition(".")[0]
        for name, p in network.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }
    assert found == reached
    # The whole part, not a corner of it: also its gate and the attention pooling.
    for name, p in network.named_parameters():
        if name.partition(".")[0] in reached and p.ndim > 1:
            assert p.grad.abs().max() > 0, name


def test_calibration_pulls_on_both_sides(network, batch):
    """The gradient on E is the sum of what passes through u and through n."""
    encoder = [p for n, p in network.named_parameters() if n.startswith("E.")]

    def gradient(detach):
        torch.manual_seed(0)  # the same dropout
        outputs = network(batch.x, batch.lengths, **batch.companions)
        outputs = {k: v.detach() if k in detach else v for k, v in outputs.items()}
        value = TERMS["calibration"](outputs, batch)
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, encoder)])

    by_u, by_n = gradient(["neutral"]), gradient(["irrelevant"])
    assert min(by_u.abs().max(), by_n.abs().max()) > 0
    torch.testing.assert_close(by_u + by_n, gradient([]))


def test_neutral_branch_is_the_encoder_itself(network, batch):
    """n is E(x_n): no projector, and the same weights."""
    network.eval()
    neutral = batch.companions["neutral"]
    with torch.no_grad():
        outputs = network(batch.x, batch.lengths, **batch.companions)
        alone = network(neutral.x, neutral.lengths)
        plain = network(batch.x, batch.lengths)
    torch.testing.assert_close(outputs["neutral"], alone["encoded"])
    for name in ("logits", "embedding", "irrelevant", "encoded", "decoded"):
        torch.testing.assert_close(outputs[name], plain[name], msg=name)
    assert len(plain["neutral"]) == 0


def test_forward_follows_the_paper(network, batch):
    """u = T(e), r = ReLU(T2(e)), C(r), D([u; r]), and the gates as described."""
    network.eval()
    e = torch.rand(4, D, dtype=torch.float64)
    with torch.no_grad():
        for projector in (network.T, network.T2):
            first, second = projector.gate[0], projector.gate[2]
            assert first.weight.shape == (D // 2, D)
            hidden = np.maximum(e.numpy() @ first.weight.numpy().T, 0)
            gate = 1 / (1 + np.exp(-hidden @ second.weight.numpy().T))
            gated = gate * e.numpy() + e.numpy()
            expected = gated @ projector.linear.weight.numpy().T
            np.testing.assert_allclose(projector(e).numpy(), expected)
        out = network(batch.x, batch.lengths)
        e = network.E(batch.x, batch.lengths)
        torch.testing.assert_close(out["encoded"], e)
        u, r = network.T(e), network.T2(e).relu()
        torch.testing.assert_close(out["irrelevant"], u)
        torch.testing.assert_close(out["embedding"], r)
        torch.testing.assert_close(out["logits"], network.C(r))
        torch.testing.assert_close(out["decoded"], network.D(torch.cat([u, r], dim=1)))
    assert e.min() > 0
    assert e.max() < 1


@pytest.mark.slow
def test_the_irrelevant_subspace_stays_alive(corpus, log_mels):
    """With a ReLU, one unit in two hundred outlives this fit."""
    model = DSNetClassifier(
        encoder="conv", max_epochs=20, lr=1e-2, batch_size=8, random_state=0
    ).fit(log_mels, corpus.y, speakers=corpus.speakers)
    u = model.embed(log_mels, subspace="irrelevant")
    assert (u.std(axis=0) > 1e-2).all()


def test_orthogonality_takes_norms_for_constants():
    u, r = draw((8, D), (8, D))
    outputs = {k: v.requires_grad_() for k, v in tensors(a=u, b=r).items()}
    term = Orthogonality()
    term({"irrelevant": outputs["a"], "embedding": outputs["b"]}, None).backward()

    def unit(a):
        centred = a - a.mean(axis=0)
        norm = np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6
        return centred / norm, norm

    (U, norm_u), (R, norm_r) = unit(u), unit(r)
    # d/dU ||U^T R||^2 = 2 R R^T U; then division by a constant, then centring.
    for found, own, other, norm in (
        (outputs["a"].grad, U, R, norm_u),
        (outputs["b"].grad, R, U, norm_r),
    ):
        g = 2 * other @ (other.T @ own) / D**2 / norm
        np.testing.assert_allclose(found.numpy(), g - g.mean(axis=0), rtol=1e-6)


def test_reconstruction_moves_its_target():
    """e is not detached: the paper trains E through both sides."""
    e, decoded = (t.requires_grad_() for t in tensors(a=[[1.0]], b=[[3.0]]).values())
    Reconstruction()({"encoded": e, "decoded": decoded}, None).backward()
    assert (e.grad.item(), decoded.grad.item()) == (-4.0, 4.0)


# ------------------------------------------------------------- neutral partners


@given(data=st.data(), n_neutral=st.sampled_from([1, 2, 3, None]))
def test_partners_are_neutral_and_of_the_same_speaker(data, n_neutral):
    n = data.draw(st.integers(2, 25))
    column = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    speakers = np.array(["abcd"[i] for i in data.draw(column)])
    is_neutral = np.array([i == 0 for i in data.draw(column)])
    X = [np.full((1, 2), i, np.float32) for i in range(n)]
    dataset = SequenceDataset(X)
    draw_partners = NeutralPartners(is_neutral, speakers, n_neutral)
    rows = np.array(data.draw(st.permutations(range(n)))[: max(2, n // 2)])
    companions = draw_partners(dataset, rows, np.random.default_rng(0), 10**6)
    having = [
        i for i, row in enumerate(rows) if is_neutral[speakers == speakers[row]].any()
    ]
    if not having:
        assert companions == {}
        return
    neutral = companions["neutral"]
    assert neutral["calibrated"].tolist() == having
    drawn = neutral.x[:, 0, 0].long().numpy()
    partners = drawn[neutral["partner"].numpy()]
    for row, partner in zip(rows[having], partners, strict=True):
        own = np.flatnonzero(is_neutral & (speakers == speakers[row]))
        assert partner in own[:n_neutral]


class Batches(Callback):
    """Keeps each training batch: markers of its rows and of their partners."""

    def __init__(self):
        self.epochs = []

    def on_epoch_begin(self, net, **kwargs):
        self.epochs.append([])

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        if not training:
            return
        batch, found = batch[0], {}
        rows = batch.x[:, 0, 0].long().tolist()
        if "neutral" in batch.companions:
            neutral = batch.companions["neutral"]
            drawn = neutral.x[:, 0, 0].long()
            found = dict(
                zip(
                    [rows[i] for i in neutral["calibrated"]],
                    drawn[neutral["partner"]].tolist(),
                    strict=True,
                )
            )
        self.epochs[-1].append((rows, found))


def epochs_of(model):
    """The training batches that a callback of this kind kept."""
    [found] = [c.epochs for _, c in model.net_.callbacks_ if isinstance(c, Batches)]
    return found


def quick(**params):
    defaults = {"encoder": "conv", "max_epochs": 1, "batch_size": 8, "random_state": 0}
    still = {"speed_perturbation": 0, "vocal_tract_perturbation": 0}
    return DSNetClassifier(**{**defaults, **still, **params})


@pytest.fixture(scope="module")
def marked():
    """32 sequences whose first feature is their row; speaker d is never neutral."""
    rng = np.random.default_rng(0)
    speakers = np.array(list("abcd") * 8)
    y = rng.permutation(np.repeat(["neutral", "anger"], 16))
    y[speakers == "d"] = "anger"
    X = [
        np.vstack([np.full((1, n), row), rng.normal(size=(3, n))])
        for row, n in enumerate(rng.integers(5, 30, 32))
    ]
    return X, y, speakers


def test_partners_within_a_fit(marked):
    """They are drawn anew for each batch, from all of the first two."""
    X, y, speakers = marked
    model = quick(n_neutral=2, max_epochs=5, callbacks=[Batches()])
    model.fit(X, y, speakers=speakers)
    epochs = epochs_of(model)
    seen = {name: set() for name in "abc"}
    for epoch in epochs:
        assert sorted(row for rows, _ in epoch for row in rows) == list(range(32))
        for rows, partners in epoch:
            assert set(partners) == {row for row in rows if speakers[row] != "d"}
            for row, partner in partners.items():
                assert speakers[partner] == speakers[row]
                assert y[partner] == "neutral"
                seen[speakers[row]].add(partner)
    for name, found in seen.items():
        pool = np.flatnonzero((y == "neutral") & (speakers == name))
        assert found == set(pool[:2].tolist())


def test_a_batch_without_any_partner_has_no_calibration(marked):
    X, y, speakers = marked
    # Only the last speaker is ever neutral: whole batches go without.
    y = np.where(np.arange(32) == 31, "neutral", "anger")
    model = quick(batch_size=2).fit(X, y, speakers=speakers)
    values = model.history_[-1, "batches", :, "train_calibration"]
    assert 0.0 in values
    assert max(values) > 0


# -------------------------------------------------------------------- the history


def test_history_has_every_term_and_their_weighted_sum(marked):
    X, y, speakers = marked
    sizes = {"calibration": 2.0, "orthogonality": 30.0, "reconstruction": 0.5}
    sized = {f"{k}_weight": v for k, v in sizes.items()}
    model = quick(max_epochs=2, **sized)
    model.fit(X, y, speakers=speakers)
    for epoch in model.history_:
        for record in [epoch, *epoch["batches"]]:
            expected = record["train_task"] + sum(
                weight * record[f"train_{name}"] for name, weight in sizes.items()
            )
            assert record["train_loss"] == pytest.approx(expected, rel=1e-5)
            assert all(record[f"train_{name}"] > 0 for name in sizes)


@pytest.fixture(scope="module")
def full(marked):
    """A fit with all terms."""
    X, y, speakers = marked
    return quick().fit(X, y, speakers=speakers)


@pytest.mark.parametrize("name", ["calibration", "orthogonality", "reconstruction"])
def test_each_weight_counts_and_zero_takes_its_term_out(marked, full, name, weights):
    X, y, speakers = marked
    for weight in (0, 50.0):
        model = quick(**{f"{name}_weight": weight}).fit(X, y, speakers=speakers)
        found = {key for key in model.history_[-1] if key.startswith("train_")}
        for term in TERMS:
            assert (f"train_{term}" in found) == (weight > 0 or term != name)
        assert weights(model) != weights(full)


# ------------------------------------------------------------- the neutral label


def test_auto_recognises_neutral_and_a_label_must_be_there():
    for label in ("neutral", "neu", "N", "NEUTRAL", "Neutral", "n", " neutral "):
        assert neutral_classes(["nervous", label], "auto") == [label]
    for label in ("calm", 0, None):
        message = f"neutral_label={label!r} does not occur in y.*'anger', 'neutral'"
        with pytest.raises(ValueError, match=message):
            neutral_classes(["anger", "neutral"], label)


@pytest.mark.parametrize(
    ("y_neutral", "y_other", "neutral_label"),
    [(7, 2, 7), ("neutral", "anger", "anger")],
)
def test_explicit_label(marked, y_neutral, y_other, neutral_label):
    X, y, speakers = marked
    y = np.array([y_neutral if label == "neutral" else y_other for label in y])
    model = quick(neutral_label=neutral_label, callbacks=[Batches()])
    model.fit(X, y, speakers=speakers)
    epochs = epochs_of(model)
    partners = [p for _, found in epochs[0] for p in found.values()]
    assert partners
    assert set(y[partners]) == {neutral_label}


def test_no_class_looks_neutral(marked):
    X, y, speakers = marked
    y = np.where(y == "neutral", "joy", "anger")
    with pytest.warns(UserWarning, match="neutral_label") as caught:
        model = quick(max_epochs=2).fit(X, y, speakers=speakers)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert not issubclass(caught[0].category, SpeakersMissingWarning)
    assert "'anger', 'joy'" in str(caught[0].message)
    assert model.history_[-1, "train_calibration"] == 0
    # Nothing to warn of where the term is off.
    quick(calibration_weight=0).fit(X, y, speakers=speakers)


def test_a_class_named_neutral_only_among_rows_of_weight_zero(marked):
    X, y, speakers = marked
    y = np.where(y == "neutral", "neutral", np.where(speakers == "a", "joy", y))
    weight = np.where(y == "neutral", 0.0, 1.0)
    with pytest.warns(UserWarning, match="looks neutral"):
        model = quick().fit(X, y, speakers=speakers, sample_weight=weight)
    assert "neutral" not in model.classes_


def test_partners_come_from_the_training_part(marked):
    """Validation speakers lend no neutral recordings."""
    X, y, speakers = marked
    own = {"callbacks": [Batches()], "max_epochs": 3, "random_state": 3}
    model = quick(validation_fraction=0.5, **own).fit(X, y, speakers=speakers)
    batches = [batch for epoch in epochs_of(model) for batch in epoch]
    rows = {row for found, _ in batches for row in found}
    partners = {p for _, found in batches for p in found.values()}
    assert len({speakers[row] for row in rows}) == 2
    assert partners
    assert partners <= rows


def test_probabilities_of_cross_val_predict(marked):
    # There y holds the positions of the classes, and so must the label.
    X, y, speakers = marked
    found = cross_val_predict(
        quick(neutral_label=1), X, y, cv=2, method="predict_proba",
        params={"speakers": speakers},
    )  # fmt: skip
    for train, test in StratifiedKFold(2).split(X, y):
        model = quick().fit([X[i] for i in train], y[train], speakers=speakers[train])
        expected = model.predict_proba([X[i] for i in test])
        np.testing.assert_array_equal(found[test], expected)


def test_embed_chooses_the_subspace_and_probabilities_come_from_the_relevant(
    marked, full
):
    X, model = marked[0], full
    r, u = (model.embed(X, subspace=s) for s in ("relevant", "irrelevant"))
    np.testing.assert_array_equal(model.embed(X), r)
    assert r.shape == u.shape == (32, 256)
    assert not np.allclose(r, u)
    with pytest.raises(ValueError, match=r"subspace is 'both'.*irrelevant.*relevant"):
        model.embed(X, subspace="both")
    with torch.no_grad():
        logits = model.net_.module_.eval().C(torch.from_numpy(r).double()).numpy()
    expected = softmax(logits / model.temperature_, axis=1)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_terms_fall_when_they_are_weighted(marked):
    """What a term measures goes down where it is trained, and not where it is not."""
    X, y, speakers = marked
    for name in ("calibration", "reconstruction"):
        ends = []
        for weight in (1e-6, 100.0):
            model = quick(**{f"{name}_weight": weight}, max_epochs=15, lr=1e-2)
            model.fit(X, y, speakers=speakers)
            ends.append(model.history_[-1, f"train_{name}"])
        assert ends[1] < 0.7 * ends[0], name


@pytest.mark.slow
def test_the_speaker_is_in_u_rather_than_in_r():
    """The paper's claim, by probes."""
    speech = make_emotional_speech(n_speakers=6, n_utterances=8, random_state=0)
    mel = LogMelTransformer(n_mels=40, hop_length=320, top_db=50)
    X, texts = mel.transform(speech.data), np.arange(len(speech.data)) % 4

    def read(embedding):
        return speaker_probe_score(
            embedding, speech.speakers, groups=texts, n_bootstrap=0
        ).above_chance

    names = "calibration_weight", "orthogonality_weight", "reconstruction_weight"
    # The factor is 2.6 to 7.6 over five seeds, and after 20 epochs it is 1.1 to 2.0.
    model = DSNetClassifier(**dict.fromkeys(names, 10), max_epochs=40, random_state=0)
    model.fit(X, speech.target, speakers=speech.speakers)
    u, r = (read(model.embed(X, subspace=s)) for s in ("irrelevant", "relevant"))
    assert u > 1.5 * r > 0


# ---------------------------------------------------------------- a partner for each


@pytest.mark.parametrize("shared", [True, False])
def test_rows_of_a_speaker_share_a_partner_or_draw_their_own(shared):
    speakers = np.array(list("aaaabbbb"))
    is_neutral = np.tile([True, True, True, False], 2)
    dataset = SequenceDataset([np.full((1, 1), i, np.float32) for i in range(8)])
    draw = NeutralPartners(is_neutral, speakers, 3, shared)
    rng, differ = np.random.default_rng(0), 0
    for _ in range(20):
        neutral = draw(dataset, np.array([3, 7, 2, 6]), rng, 10**6)["neutral"]
        drawn = neutral.x[neutral["partner"], 0, 0].int().tolist()
        assert neutral["calibrated"].tolist() == [0, 1, 2, 3]
        assert len(neutral) == (2 if shared else 4)
        assert [d < 4 for d in drawn] == [True, False, True, False]
        differ += drawn[0] != drawn[2]
    assert (differ == 0) == shared


def test_a_long_partner_is_cropped():
    X = [np.zeros((1, n), np.float32) for n in (50, 50, 9000)]
    draw = NeutralPartners(np.array([0, 0, 1], bool), np.zeros(3, int), None)
    companions = draw(
        SequenceDataset(X), np.array([0, 1]), np.random.default_rng(0), 3000
    )
    assert companions["neutral"].lengths.tolist() == [1000]
