"""Which encoder "auto" takes, and how features that are no bands are augmented."""

import numpy as np
import pytest
import torch

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    SpeakerAdversarialClassifier,
)
from sklearn_ser.nn.augment import Augment
from sklearn_ser.nn.encoders import ConvEncoder, PointwiseEncoder, UtteranceEncoder


def sequences(n_features, n_frames, n=12):
    rng = np.random.default_rng(0)
    return [
        rng.normal(size=(n_features, n_frames)).astype(np.float32) for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("n_features", "n_frames", "expected"),
    [
        (80, 9, None),
        (256, 9, None),
        (257, 9, "pointwise"),
        (768, 9, "pointwise"),
        (88, 1, "pointwise"),
        (80, 1, "pointwise"),
    ],
)
def test_auto_goes_by_frames_and_features(method, n_features, n_frames, expected):
    X, y = sequences(n_features, n_frames), np.arange(12) % 2
    model = method(encoder="auto", **method.speakerless).fit(X, y)
    spectral = {"didandomainadapter": "conv"}.get(method.step, "conv_lstm")
    found = model.net_.get_params_for("module")["encoder"]
    assert found == (expected or spectral)
    assert model.encoder == "auto"
    assert np.isfinite(model.predict_proba(X)).all()


def test_auto_is_the_default():
    for cls in (DSNetClassifier, SpeakerAdversarialClassifier, DIDANDomainAdapter):
        assert cls().encoder == "auto"


def test_a_table_is_taken_for_functionals(method):
    X, y = np.random.default_rng(0).normal(size=(12, 6)), np.arange(12) % 2
    model = method(encoder="auto", **method.speakerless).fit(X, y)
    assert model.net_.get_params_for("module")["encoder"] == "pointwise"


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
