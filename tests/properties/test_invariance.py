"""Padding never shows: neither in the encoders nor in the probabilities."""

import re
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from sklearn_ser.nn.batching import pad
from sklearn_ser.nn.encoders import ENCODERS, UtteranceEncoder, check_encoder
from sklearn_ser.nn.layers import Dropout, MaskedBatchNorm, frame_mask

TOLERANCE = 1e-5
LONGEST = 6000  # a minute
N_FEATURES = 4

every_encoder = pytest.mark.parametrize("name", ENCODERS)


def make_sequences(lengths, seed=0):
    """Sequences with rhythm, in dB, whose level is far from zero."""
    rng = np.random.default_rng(seed)
    sequences = []
    for n in lengths:
        wave = np.sin(np.arange(n) / rng.uniform(1, 30) + rng.uniform(0, 6))
        x = -30 + 8 * wave + 5 * rng.normal(size=(N_FEATURES, n))
        sequences.append((x + 5 * rng.normal(size=(N_FEATURES, 1))).astype(np.float32))
    return sequences


@cache
def fitted(method, encoder):
    rng = np.random.default_rng(1)
    lengths = [*rng.integers(20, 120, 20), 1, 2, 15, 16]
    X = make_sequences(lengths, seed=1)
    y = np.tile(["neutral", "anger"], len(X) // 2)
    for x, label in zip(X, y, strict=True):
        x[1] += 10 * (label == "anger")
    model = method(encoder=encoder, max_epochs=4, lr=1e-2)
    return model.fit(X, y, speakers=np.repeat(["a", "b", "c"], 8))


@every_encoder
@given(lengths=st.lists(st.integers(1, 200), min_size=2, max_size=6), seed=st.data())
@example(lengths=[1, 2, 3, 8, 15, 16, 17, 31, 32, 33], seed=None)
@example(lengths=[1, 200], seed=None)
@example(lengths=[1, 1, 1, 1, 1, 1, 1, 1, 1, 1], seed=None)
def test_neighbours_do_not_matter(method, name, lengths, seed):
    seed = 0 if seed is None else seed.draw(st.integers(0, 99))
    check_neighbours(fitted(method, name), make_sequences(lengths, seed), seed)


@pytest.mark.slow
@every_encoder
def test_neighbours_of_a_minute_do_not_matter(method, name):
    longest = 1000 if name == "cnn6" else LONGEST
    X = make_sequences([1, longest, 40, longest - 1, longest // 2 + 1])
    check_neighbours(fitted(method, name), X, 0)


def check_neighbours(model, X, seed):
    alone = np.concatenate([model.predict_proba([x]) for x in X])
    together = model.predict_proba(X)
    np.testing.assert_allclose(together, alone, rtol=0, atol=TOLERANCE)
    order = np.random.default_rng(seed).permutation(len(X))
    np.testing.assert_allclose(
        model.predict_proba([X[i] for i in order]), together[order],
        rtol=0, atol=TOLERANCE,
    )  # fmt: skip
    np.testing.assert_allclose(
        model.embed([X[0], X[-1]]), model.embed(X)[[0, -1]], rtol=0, atol=TOLERANCE
    )


@every_encoder
def test_probabilities_depend_on_the_recording(method, name):
    # Otherwise the tests above would hold of a constant.
    probabilities = fitted(method, name).predict_proba(make_sequences([50] * 10))
    assert np.ptp(probabilities[:, 0]) > 1e-3


@pytest.mark.slow
def test_neutral_recordings_at_hand_do_not_matter(method):
    """Neither in the same call nor in one before it, though the net knows neutral."""
    y, speakers = np.tile(["neutral", "anger"], 24), np.repeat(["a", "b", "c"], 16)
    X = make_sequences([20, 40, 60] * 16)
    for x in X[1::2]:  # far more than recordings and their frames differ
        x[: N_FEATURES // 2] += 60
    model = method(max_epochs=30, lr=3e-3).fit(X[:40], y[:40], speakers=speakers[:40])
    assert (model.predict(X[40:]) == y[40:]).all()
    neutral, angry = X[::2], X[41::2]
    before = [value.clone() for value in model.net_.module_.state_dict().values()]
    alone = model.predict_proba(angry)
    model.embed(neutral)
    np.testing.assert_array_equal(model.predict_proba(angry), alone)
    for n in (1, len(neutral)):
        beside = model.predict_proba([*neutral[:n], *angry])[n:]
        np.testing.assert_allclose(beside, alone, rtol=0, atol=TOLERANCE)
    assert all(map(torch.equal, before, model.net_.module_.state_dict().values()))


# --------------------------------------------------------------------- encoders


@cache
def encoder_of(name, n_features=N_FEATURES):
    """An encoder whose batch normalisation does not map zero to zero."""
    torch.manual_seed(0)
    # In double precision, as batches of a few cells magnify what rounding leaves.
    encoder = ENCODERS[name](n_features).double().eval()
    for module in encoder.modules():
        if isinstance(module, MaskedBatchNorm):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_(0.5, 1)
    return encoder


def batch(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    shape = len(lengths), N_FEATURES, int(lengths.max())
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x * frame_mask(lengths, x.shape[-1])[:, None], lengths


some_lengths = st.lists(st.integers(1, 80), min_size=1, max_size=6)


@every_encoder
@given(lengths=some_lengths)
@example(lengths=[1])
@example(lengths=[1, 16, 33])
def test_encoders_keep_their_contract(name, lengths):
    encoder = encoder_of(name)
    x, lengths = batch(lengths)
    with torch.no_grad():
        z, after = encoder(x, lengths)
    assert z.ndim == 3
    assert len(z) == len(x)
    assert after.dtype == torch.int64
    assert after.shape == lengths.shape
    assert after.min() >= 1
    assert after.max() <= z.shape[2]
    beyond = 1 - frame_mask(after, z.shape[-1])[:, None].expand_as(z)
    assert (z * beyond == 0).all()
    assert torch.isfinite(z).all()
    # A longer recording never has fewer frames.
    order = lengths.argsort()
    assert (after[order].diff() >= 0).all()


@every_encoder
@pytest.mark.parametrize("training", [False, True])
@given(lengths=some_lengths.filter(lambda n: len(n) > 1), extra=st.integers(1, 70))
@example(lengths=[1, 1], extra=20)
@example(lengths=[5, 17, 16], extra=16)
def test_wider_tensors_change_nothing(name, training, lengths, extra):
    encoder = encoder_of(name)
    state = {k: v.clone() for k, v in encoder.state_dict().items()}
    x, lengths = batch(lengths)
    wide = nn.functional.pad(x, (0, extra))
    found = []
    try:
        for tensor in (x, wide):
            encoder.load_state_dict(state)
            encoder.train(training)
            for layer in encoder.modules():
                if isinstance(layer, Dropout):
                    layer.p = 0  # it draws by the tensor's shape
            with torch.no_grad():
                found.append(encoder(tensor, lengths))
    finally:
        encoder.load_state_dict(state)
        encoder.eval()
    (z, after), (wide_z, wide_after) = found
    assert torch.equal(after, wide_after)
    n = z.shape[-1]
    torch.testing.assert_close(wide_z[..., :n], z, rtol=0, atol=1e-6)
    assert (wide_z[..., n:] == 0).all()


@every_encoder
@pytest.mark.parametrize("n_features", [1, 2, 88])
def test_encoders_take_any_number_of_features(name, n_features):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n_features, 1, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        z, _ = encoder_of(name, n_features)(x, torch.tensor([1, 1]))
    assert torch.isfinite(z).all()
    assert z[..., 0].std() > 0


@every_encoder
def test_standardisation_does_not_fill_the_padding(name):
    torch.manual_seed(0)
    encoder = UtteranceEncoder(name, N_FEATURES).eval()
    encoder.standardize.mean.fill_(-30.0)
    (a, b), n = make_sequences([20, 37]), N_FEATURES
    x, lengths = pad([a, b])
    with torch.no_grad():
        both = encoder(x, lengths)
        alone = encoder(torch.from_numpy(a)[None], torch.tensor([20]))
        wide = encoder(nn.functional.pad(x, (0, n)), lengths)
    torch.testing.assert_close(both[:1], alone, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(wide, both, rtol=0, atol=TOLERANCE)


# -------------------------------------------------------------- a user's encoder


class OwnEncoder(nn.Module):
    """Halves the number of frames; ordinary layers, dropout among them."""

    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 12, 1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x, lengths):
        lengths = (lengths - 1) // 2 + 1
        z = self.dropout(self.conv(x[..., ::2]).relu())
        return z * frame_mask(lengths, z.shape[-1])[:, None], lengths


def test_a_users_encoder(method):
    model = fitted(method, OwnEncoder)
    assert any(isinstance(m, OwnEncoder) for m in model.net_.module_.modules())
    X = make_sequences([1, 3, 50, 64])
    check_neighbours(model, X, 0)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))


def fit_eight(method, encoder, X=None, **params):
    """Fit to eight sequences of two emotions and two speakers."""
    X = make_sequences([20] * 8) if X is None else X
    y, speakers = ["neutral", "anger"] * 4, ["a", "b"] * 4
    return method(encoder=encoder, **params).fit(X, y, speakers=speakers)


def broken(returns):
    class Broken(nn.Module):
        def __init__(self, n_features):
            super().__init__()

        def forward(self, x, lengths):
            return returns(x, lengths)

    return Broken


@pytest.mark.parametrize(
    "returns",
    [
        lambda x, lengths: x,
        lambda x, lengths: None,
        lambda x, lengths: (x.mean(2), lengths),
        lambda x, lengths: (x, lengths * 2),
        lambda x, lengths: (x, lengths * 0),
        lambda x, lengths: (x, lengths[:1]),
        lambda x, lengths: (x[:1], lengths),
        lambda x, lengths: (x, lengths.tolist()),
        lambda x, lengths: (x, lengths, x),
        lambda x, lengths: x.no_such_attribute,
    ],
    ids=[
        *("one value", "nothing", "2-D", "lengths too long", "lengths of zero"),
        *("lengths of one", "one row", "a list", "three values", "an error"),
    ],
)
def test_a_broken_encoder_is_named(method, returns):
    with pytest.raises(ValueError, match=r"encoder Broken breaks its contract.*z of"):
        fit_eight(method, broken(returns))


class Unmasked(nn.Module):
    """The bias of the first layer fills the padding, and the second layer hears it."""

    def __init__(self, n_features):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv1d(n_features, 8, 3, padding=1), nn.Conv1d(8, 8, 3, padding=1)
        )

    def forward(self, x, lengths):
        z = self.convs(x)
        return z * frame_mask(lengths, z.shape[-1])[:, None], lengths


class OfTheBatch(nn.Module):
    """A batch normalisation that keeps no statistics."""

    def __init__(self, n_features):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_features, track_running_stats=False)

    def forward(self, x, lengths):
        return self.norm(x), lengths


class FromTheEnd(nn.Module):
    """A recurrent layer that begins with the padding."""

    def __init__(self, n_features):
        super().__init__()
        self.gru = nn.GRU(n_features, 8, batch_first=True, bidirectional=True)

    def forward(self, x, lengths):
        return self.gru(x.transpose(1, 2))[0].transpose(1, 2), lengths


class ByChance(nn.Module):
    """Dropout in prediction, too."""

    def __init__(self, n_features):
        super().__init__()
        self.alike = nn.Identity()

    def forward(self, x, lengths):
        return nn.functional.dropout(x, 0.5, training=True), lengths


@pytest.mark.parametrize("encoder", [Unmasked, OfTheBatch, FromTheEnd, ByChance])
def test_an_encoder_that_hears_neighbours_or_padding_is_told(encoder):
    torch.manual_seed(0)
    message = rf"encoder {encoder.__name__} breaks its contract.*padding.*frame_mask"
    with pytest.warns(UserWarning, match=message):
        check_encoder(encoder(4), 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_encoder_may_compute_in_another_precision(dtype):
    class Own(OwnEncoder):
        def forward(self, x, lengths):
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float64):
                z, lengths = super().forward(x, lengths)
            return z.to(dtype), lengths

    for n_features in (1, 4, 88):
        assert check_encoder(Own(n_features), n_features) == 12


def test_what_is_no_class_of_a_module_is_named(method):
    with pytest.raises(TypeError, match=r"encoder makes a float, expected a torch.nn"):
        fit_eight(method, float)
    with pytest.raises(TypeError, match=r"encoder is an instance of OwnEncoder"):
        fit_eight(method, OwnEncoder(N_FEATURES))


@pytest.mark.parametrize("short", [1, 7])
def test_an_encoder_that_leaves_nothing_of_a_sequence_is_named(method, short):
    thin = broken(lambda x, lengths: (x[..., 7::8], lengths // 8))
    X = make_sequences([20] * 7 + [short])
    message = rf"encoder Broken returned the length 0 for {short} frames, .* to pad"
    with pytest.raises(ValueError, match=message):
        fit_eight(method, thin, X)
    model = fit_eight(method, thin)
    assert np.isfinite(model.predict_proba(X[:7])).all()
    with pytest.raises(ValueError, match=message):
        model.predict_proba(X)


def test_an_encoder_that_promises_too_many_frames_of_a_sequence_is_named(method):
    def cut(x, lengths):
        return x[..., :16], lengths

    still = {"speed_perturbation": 0, "vocal_tract_perturbation": 0}
    message = r"encoder Broken returned the length 20 for 20 frames, .* the 16 of z"
    with pytest.raises(ValueError, match=message):
        fit_eight(method, broken(cut), **still)


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        (lambda x, lengths: (x @ x, lengths), "must match|size|shape"),
        (lambda x, lengths: x.no_such_attribute, "no_such_attribute"),
    ],
)
def test_an_error_inside_the_users_encoder_stays_visible(method, returns, message):
    with pytest.raises((RuntimeError, ValueError)) as caught:
        fit_eight(method, broken(returns))
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert any(re.search(message, str(error)) for error in chain)


# ------------------------------------------------------------- forms of one batch


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "float64": lambda x: x.astype(np.float64),
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "big-endian": lambda x: x.astype(">f4"),
    "read-only": read_only,
}


def test_layout_does_not_matter(method):
    X, y = make_sequences([30] * 6), ["neutral", "anger"] * 3
    model = method().fit(X, y, speakers=["a", "b"] * 3)
    expected = model.predict_proba(X)
    for name, convert in LAYOUTS.items():
        for form in ([convert(x) for x in X], convert(np.stack(X))):
            found = model.predict_proba(form)
            np.testing.assert_array_equal(found, expected, err_msg=name)
    each = [convert(x) for convert, x in zip(LAYOUTS.values(), X, strict=True)]
    same = method().fit(each, y, speakers=["a", "b"] * 3)
    np.testing.assert_array_equal(same.predict_proba(each), expected)


def test_memory_maps(method, tmp_path):
    X, y = make_sequences([30] * 6), ["neutral", "anger"] * 3
    np.save(tmp_path / "all.npy", np.stack(X))
    for i, x in enumerate(X):
        np.save(tmp_path / f"{i}.npy", x)
    whole = np.load(tmp_path / "all.npy", mmap_mode="r")
    each = [np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in range(6)]
    expected = method().fit(X, y, speakers=["a", "b"] * 3).predict_proba(X)
    for form in (whole, each):
        model = method().fit(form, y, speakers=["a", "b"] * 3)
        np.testing.assert_array_equal(model.predict_proba(form), expected)
