"""Probabilities that are right as often as they say, for new voices."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sklearn_ser import DIDANDomainAdapter, SpeakerAdversarialClassifier
from sklearn_ser.baseline import EqualPriorsLDA
from sklearn_ser.calibration import (
    discriminant,
    left_out_temperature,
    nearest_temperature,
    remark_on,
)
from sklearn_ser.metrics import expected_calibration_error
from sklearn_ser.model_selection import speaker_cross_validate
from sklearn_ser.persistence import load, save


def voices(n_speakers, seed, n_features=60):
    """Vectors in which a speaker shifts what tells the emotions apart."""
    rng = np.random.default_rng(seed)
    y = np.tile(np.arange(3), 8 * n_speakers)
    speakers = np.repeat(np.arange(n_speakers), 24)
    emotions = 0.3 * np.random.default_rng(0).normal(size=(3, n_features))
    offsets = rng.normal(size=(n_speakers, 3)) @ emotions
    X = emotions[y] + offsets[speakers] + rng.normal(size=(len(y), n_features))
    return X.astype(np.float32), y, speakers


TRAIN, TEST = voices(8, 1), voices(30, 2)


def error(model, X=TEST[0], y=TEST[1]):
    return expected_calibration_error(y, model.predict_proba(X), model.classes_)


def fits(make, **params):
    """A model with a temperature of "auto", and the one without."""
    X, y, speakers = TRAIN
    return [
        make(temperature=how, **params).fit(X, y, speakers=speakers)
        for how in ("auto", None)
    ]


def check_that_it_helps(model, plain):
    X = TEST[0]
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert plain.temperature_ == 1
    assert model.temperature_ > 1
    assert error(plain) > 0.2
    assert error(model) < error(plain) / 2


def test_the_baseline_is_as_sure_as_it_is_right():
    check_that_it_helps(*fits(EqualPriorsLDA))


def test_networks_are_as_sure_as_they_are_right(method):
    own = {"encoder": "pointwise", "max_epochs": 20, "batch_size": 96, "lr": 0.01}
    own["feature_noise"] = 0
    if method.uses_speakers:
        own |= method.speakerless
        check_that_it_helps(*fits(method, label_smoothing=0, **own))
    else:  # the nearest distribution is unsure instead of sure
        model, plain = fits(method, **own)
        np.testing.assert_array_equal(model.predict(TEST[0]), plain.predict(TEST[0]))
        assert error(model) < error(plain) - 0.05


def test_without_speakers_recordings_are_left_out():
    X, y, speakers = TRAIN
    by_speaker, by_recording = (
        EqualPriorsLDA().fit(X, y, speakers=given).temperature_
        for given in (speakers, None)
    )
    assert 1 < by_recording < by_speaker
    one = EqualPriorsLDA().fit(X, y, speakers=["ann"] * len(y))
    assert one.temperature_ == by_recording


def test_the_temperature_is_kept(method, corpus, log_mels, tmp_path):
    model = method(warm_start=True)
    model.fit(log_mels, corpus.y, speakers=corpus.speakers)
    expected = model.predict_proba(log_mels)
    save(model, tmp_path / "model.skops")
    for twin in (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        load(tmp_path / "model.skops"),
    ):
        assert twin.temperature_ == model.temperature_ != 1
        np.testing.assert_array_equal(twin.predict_proba(log_mels), expected)
        logits = model._outputs(log_mels, "logits")
        np.testing.assert_array_equal(twin.net_.decide(logits), expected)
    again = method().fit(log_mels, corpus.y, speakers=corpus.speakers)
    assert again.temperature_ == model.temperature_
    first = model.temperature_
    model.fit(log_mels, corpus.y, speakers=corpus.speakers)
    assert model.temperature_ != first  # of the weights that went on
    fixed = model.set_params(temperature=2.5)
    fixed.fit(log_mels, corpus.y, speakers=corpus.speakers)
    assert fixed.temperature_ == 2.5


def test_the_labels_of_a_target_change_no_temperature(corpus, log_mels):
    found = []
    for labels in (corpus.y, corpus.y[::-1]):
        domain = np.where(corpus.speakers == "s03", -1, 1)
        y = np.where(domain < 0, labels, corpus.y)
        model = DIDANDomainAdapter(encoder="conv", max_epochs=1, random_state=0)
        model.fit(log_mels, y, sample_domain=domain, speakers=corpus.speakers)
        found.append(model.temperature_)
    assert found[0] == found[1] != 1


@pytest.mark.parametrize("temperature", [0, -1, "warm", np.nan, np.inf, [2]])
def test_what_is_no_temperature(temperature):
    X, y, _ = TRAIN
    for kind in (EqualPriorsLDA, SpeakerAdversarialClassifier):
        with pytest.raises(ValueError, match="temperature"):
            kind(temperature=temperature).fit(X, y)


def test_one_class_is_named_as_it_is_written():
    with pytest.raises(ValueError, match=r"one class only \('joy'\), expected"):
        EqualPriorsLDA().fit(np.eye(4), ["joy"] * 4)


def test_speakers_reach_the_baseline_in_an_evaluation():
    X, y, speakers = TRAIN
    found = speaker_cross_validate(EqualPriorsLDA(), X, y, speakers, n_bootstrap=0)
    plain = speaker_cross_validate(
        EqualPriorsLDA(temperature=None), X, y, speakers, n_bootstrap=0
    )
    np.testing.assert_array_equal(found.predictions, plain.predictions)
    good, bad = (
        expected_calibration_error(y, one.probabilities, one.classes)
        for one in (found, plain)
    )
    assert good < bad / 2


# ------------------------------------------------------------------- the discriminant


@pytest.mark.parametrize("n_features", [5, 60, 200])
def test_the_discriminant_is_that_of_scikit_learn(n_features):
    X, y, _ = voices(4, 3, n_features)
    X[:, 0] = 1  # a feature without a variance
    X, rest = X[:80].astype(float), X[80:]
    priors = np.full(3, 1 / 3)
    lda = LinearDiscriminantAnalysis("lsqr", shrinkage="auto", priors=priors)
    expected = lda.fit(X, y[:80]).decision_function(rest)
    coef, intercept = discriminant(X, y[:80], 3)
    gap = rest @ coef + intercept - expected
    np.testing.assert_allclose(gap - gap.mean(axis=1, keepdims=True), 0, atol=1e-6)


def test_a_class_of_one_speaker_and_one_recording_is_no_error():
    X, y, speakers = (values.copy() for values in TRAIN)
    y[speakers == 1] = 3  # left out, nobody shows it
    y[0] = 4
    assert np.isfinite(left_out_temperature(X.astype(float), y, speakers))
    X, y = np.eye(4), np.array([0, 0, 1, 1])
    assert np.isfinite(left_out_temperature(X, y, np.array([0, 0, 1, 1])))
    assert np.isfinite(left_out_temperature(X * 0, y))


@pytest.mark.parametrize("unit", [1e-40, 1e-30, 1e-16, 1e-6, 1e30])
def test_the_temperature_does_not_depend_on_the_unit(unit):
    X, y, speakers = (values[:96] for values in TRAIN)
    X = X[:, :10].astype(float)
    expected = left_out_temperature(X, y, speakers)
    assert 1.0 < expected < 100
    found = left_out_temperature(X * unit, y, speakers)
    assert found == pytest.approx(expected, rel=1e-6)


def test_classes_that_are_never_confused_do_not_become_certain():
    y = np.arange(40) % 2
    X = np.random.default_rng(0).normal(size=(40, 2)) + 50 * y[:, None]
    p = EqualPriorsLDA().fit(X, y, speakers=np.arange(40) // 10).predict_proba(X)
    assert 0.9 < p.max() < 1


def test_the_nearest_temperature_is_found_again():
    scores = np.random.default_rng(0).normal(scale=4, size=(500, 5))
    p = np.exp(scores / 3.7)
    p /= p.sum(axis=1, keepdims=True)
    assert nearest_temperature(scores, p) == pytest.approx(3.7, rel=1e-3)


# -------------------------------------------------------------------------- the metric


def test_the_error_of_a_calibrated_guess_is_small_and_of_a_sure_one_large():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=20000)
    y = (rng.random(len(p))[:, None] > p.cumsum(axis=1)).sum(axis=1)
    names = np.array(["anger", "joy", "sadness"])
    assert expected_calibration_error(names[y], p, names) < 0.02
    sure = np.eye(3)[p.argmax(axis=1)]
    wrong = (p.argmax(axis=1) != y).mean()
    for n_bins in (1, 15):
        found = expected_calibration_error(names[y], sure, names, n_bins)
        assert found == pytest.approx(wrong)


@pytest.mark.parametrize(
    ("proba", "n_bins", "message"),
    [
        ([[0.5, 0.5]] * 3, 15, "inconsistent"),
        ([[0.5, 0.3, 0.2]] * 2, 15, r"proba has shape \(2, 3\)"),
        ([0.5, 0.5], 15, r"proba has shape \(2,\)"),
        ([[np.nan, 0.5]] * 2, 15, "between 0 and 1"),
        ([[0.5, 0.5]] * 2, 0, "n_bins must be at least 1"),
    ],
)
def test_what_is_no_table_of_probabilities(proba, n_bins, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(["a", "b"], proba, ["a", "b"], n_bins)


def test_a_temperature_at_its_bound_is_told():
    right = np.eye(2)[[0, 1] * 5]
    for scores, said in (
        (-right, "did not confirm the scores"),
        (1e-3 * right, "confuses no class"),
        (right + np.random.default_rng(0).normal(size=right.shape), None),
    ):
        remark = remark_on(nearest_temperature(scores, right))
        assert (remark is None) == (said is None)
        assert (said or "") in (remark or "")
