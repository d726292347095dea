"""Which encoder "auto" takes, and how features that are no bands are augmented."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_ser import DIDANDomainAdapter
from sklearn_ser.nn.encoders import (
    ConvEncoder,
    PointwiseEncoder,
    StatisticsEncoder,
    UtteranceEncoder,
)
from sklearn_ser.nn.layers import Augment, ClassNoise
from sklearn_ser.nn.vectors import Vectors
from sklearn_ser.training import check_training_data


def sequences(n_features, n_frames, n=12):
    rng = np.random.default_rng(0)
    return [
        rng.normal(size=(n_features, n_frames)).astype(np.float32) for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("n_features", "n_frames", "expected"),
    [
        (256, 9, None),
        (257, 9, "statistics"),
        (88, 1, "pointwise"),
    ],
)
def test_auto_goes_by_frames_and_features(method, n_features, n_frames, expected):
    X, y = sequences(n_features, n_frames), np.arange(12) % 2
    model = method(encoder="auto", **method.speakerless).fit(X, y)
    spectral = {"didandomainadapter": "conv"}.get(method.step, "conv_lstm")
    found = model.net_.get_params_for("module")["encoder"]
    assert found == (expected or spectral)
    assert model.encoder == "auto" == method.cls().encoder
    assert np.isfinite(model.predict_proba(X)).all()


def test_features_that_are_no_frequencies_are_not_stretched_and_not_masked():
    x = torch.arange(1.0, 7.0)[:, None].expand(4, 6, 16).clone()
    lengths = torch.tensor([16, 16, 9, 5])
    torch.manual_seed(0)
    z, n = Augment(0.3, 0.5, 0.5, spectral=False).train()(x, lengths)
    assert not torch.equal(n, lengths)  # the tempo changes
    heard = z.abs().sum(1) > 0
    assert (heard.sum(1) < n).any()  # frames are masked
    for row, frames in zip(z, heard, strict=True):  # whole frames, and unchanged
        expected = x[0, :, :1].expand_as(row[:, frames])
        torch.testing.assert_close(row[:, frames], expected)
    changed = Augment(0.0, 0.5, 0.5).train()(x, lengths)[0]
    assert (changed != x).any(-1).any()


def test_an_encoder_says_whether_its_features_are_frequencies():
    class Own(ConvEncoder):
        spectral = False

    assert UtteranceEncoder("conv", 8, vocal_tract=0.1).augment.vocal_tract == 0.1
    for encoder in ("pointwise", Own):
        augment = UtteranceEncoder(encoder, 8, vocal_tract=0.1, masking=0.2).augment
        assert augment.vocal_tract == 0
        assert not augment.spectral


def test_pointwise_sees_each_frame_by_itself():
    encoder = PointwiseEncoder(5).eval()
    x = torch.randn(2, 5, 7)
    z, lengths = encoder(x, torch.tensor([7, 4]))
    assert lengths.tolist() == [7, 4]
    assert not z[1, :, 4:].any()
    one, _ = encoder(x[:, :, 2:3], torch.tensor([1, 1]))
    torch.testing.assert_close(one, z[:, :, 2:3])


# ------------------------------------------------------------- vectors and their noise


def test_statistics_are_the_input_in_training_and_prediction(method):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(300, n)).astype(np.float32) for n in range(5, 17)]
    y = np.arange(12) % 2
    params = {"encoder": "statistics", **method.speakerless, **method.raw}
    model = method(**params).fit(X, y)
    Z = np.array([np.r_[x.mean(1), x.std(1)] for x in (x.astype(float) for x in X)])
    pooled = method(**{**params, "encoder": "pointwise"}).fit(Z, y)
    assert model.n_features_in_ == 300
    expected = pooled.predict_proba(Z)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-5)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))


def test_pooled_frames_are_mean_and_deviation_of_each_feature():
    found = StatisticsEncoder.pool_frames(np.array([[1, 3, 5], [2, 2, 2]], np.float16))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[3], [2], [np.sqrt(8 / 3)], [0]], rtol=1e-6)


def test_an_encoder_of_ones_own_may_pool(method):
    class Own(PointwiseEncoder):
        pass

    class Loudest(Own):
        @staticmethod
        def pool_frames(sequence):
            return np.asarray(sequence).max(axis=1, keepdims=True)

    X, y = sequences(3, 7), np.arange(12) % 2
    params = {**method.speakerless, **method.raw}
    model = method(encoder=Loudest, **params).fit(X, y)
    Z = np.array([x.max(axis=1) for x in X])
    pooled = method(encoder=Own, **params).fit(Z, y)
    np.testing.assert_array_equal(model.predict_proba(X), pooled.predict_proba(Z))


def test_statistics_of_a_target_are_summarised_too():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(300, 6)).astype(np.float32) for _ in range(16)]
    y, domain = np.arange(16) % 2, np.repeat([1, -1], 8)
    model = DIDANDomainAdapter(max_epochs=1, batch_size=4, random_state=0)
    model.fit(X, y, sample_domain=domain)
    assert model.net_.module_.encoder.standardize.mean.shape == (600,)
    assert model.predict_proba(X, domain).shape == (16, 2)


def test_noise_has_the_covariance_of_the_residuals():
    rng = np.random.default_rng(0)
    residuals = rng.normal(size=(40, 3)) @ np.array([[1, 2, 0], [0, 1, 0], [0, 0, 0.1]])
    residuals -= residuals.mean(0)
    noise = ClassNoise(1.5).train()
    noise.set_residuals(torch.from_numpy(residuals.astype(np.float32)))
    torch.manual_seed(0)
    x = torch.ones(3000, 3, 1)
    found = np.cov((noise(x) - x)[..., 0].T)
    expected = 1.5**2 * np.cov(residuals.T, bias=True)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert noise.eval()(x) is x
    frames = torch.ones(2, 3, 5)
    assert noise.train()(frames) is frames


def test_residuals_are_those_within_the_classes():
    rng = np.random.default_rng(0)
    y = np.array(list("abc") * 8)
    X = rng.normal(size=(24, 5)) + 100 * (y == "b")[:, None]
    data = check_training_data(Vectors(X.astype(np.float32)), y)
    found = data.residuals(rng)
    expected = np.vstack([X[y == c] - X[y == c].mean(0) for c in "abc"])
    key = lambda rows: rows[np.argsort(rows[:, 0])]  # noqa: E731
    np.testing.assert_allclose(key(found), key(expected), atol=1e-4)


def test_noise_acts_and_can_be_left_out(method, weights):
    X, y = np.random.default_rng(0).normal(size=(24, 6)), np.arange(24) % 2
    model = method(encoder="auto", **method.speakerless)
    noisy, clean = (
        weights(clone(model).set_params(**own).fit(X, y))
        for own in ({}, {"feature_noise": 0})
    )
    assert noisy != clean


@pytest.mark.parametrize("encoder", ["pointwise", "statistics"])
def test_noise_of_a_continued_fit_is_in_the_units_of_its_net(
    method, monkeypatch, encoder
):
    seen = []

    def see(layer, residuals):
        if residuals is not None:  # which the end of a fit forgets
            seen.append(residuals.numpy().std(0))

    monkeypatch.setattr(ClassNoise, "set_residuals", see)
    rng, y = np.random.default_rng(0), np.arange(24) % 2
    X = rng.normal(size=(24, 6, 5 if encoder == "statistics" else 1)) * 3
    params = {"encoder": encoder, "warm_start": True, "feature_noise": 1.0}
    model = method(**params, **method.speakerless, **method.raw)
    for factor in (1, 0.1, 10):
        model.fit(X * factor, y)
    # The net divides by the deviations of its first fit, as it does with the vectors.
    np.testing.assert_allclose(seen[1], 0.1 * seen[0], rtol=1e-3)
    np.testing.assert_allclose(seen[2], 10 * seen[0], rtol=1e-3)
