"""Probes: what an embedding knows of speaker and emotion."""

import tracemalloc

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_ser import LogMelTransformer
from sklearn_ser.metrics import emotion_probe_score, speaker_probe_score, uar_score


def embeddings(separation, n_speakers=4, n_texts=6, n_times=3, seed=0):
    """Each speaker says each text some times, somewhere of its own."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(n_speakers), n_texts * n_times)
    texts = np.tile(np.repeat(np.arange(n_texts), n_times), n_speakers)
    centre = rng.normal(size=(n_speakers, 8))
    Z = rng.normal(size=(len(speakers), 8)) + separation * centre[speakers]
    return Z, speakers, texts


@pytest.mark.parametrize(
    "probe", ["linear", pytest.param("mlp", marks=pytest.mark.slow), LinearSVC()]
)
def test_a_speaker_that_is_there_is_found(probe):
    Z, speakers, texts = embeddings(separation=4)
    found = speaker_probe_score(Z, speakers, groups=texts, probe=probe)
    assert found.score > 0.9
    assert found.chance == 0.25
    assert found.above_chance == found.score - 0.25
    assert found.interval[0] <= found.score <= found.interval[1]
    assert speaker_probe_score(Z, speakers, groups=texts, probe=probe) == found


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["linear", "mlp"])
def test_a_speaker_that_is_not_there_is_not(probe):
    Z, speakers, texts = embeddings(separation=0, n_texts=20)
    found = speaker_probe_score(Z, speakers, groups=texts, probe=probe)
    assert found.score < 0.35


def test_texts_are_kept_apart():
    # The embedding knows the utterance's text and nothing of the speaker. In each text
    # one speaker is frequent, so that the text betrays the speaker unless it is new.
    rng = np.random.default_rng(0)
    texts = np.repeat(np.arange(40), 5)
    speakers = np.where(rng.random(200) < 0.1, 1 - texts % 2, texts % 2)
    Z = rng.normal(size=(40, 60))[texts] + 0.01 * rng.normal(size=(200, 60))
    assert speaker_probe_score(Z, speakers).score > 0.75
    assert speaker_probe_score(Z, speakers, groups=texts).score < 0.65


def test_balanced_accuracy_counts_speakers_alike():
    rng = np.random.default_rng(0)
    speakers = np.repeat(["often", "rare"], [190, 10])
    found = speaker_probe_score(rng.normal(size=(200, 2)), speakers)
    assert found.chance == 0.5
    assert abs(found.above_chance) < 0.25  # a guess of "often" is right 19 times of 20


def test_the_emotion_alike():
    Z, speakers, _ = embeddings(separation=1)
    y = np.tile(["anger", "neutral", "sadness"], 24)
    assert emotion_probe_score(Z, y, groups=speakers).score < 0.5
    Z = Z + 5 * np.eye(8)[np.unique(y, return_inverse=True)[1]]
    assert emotion_probe_score(Z, y, groups=speakers).score > 0.9
    found = emotion_probe_score(Z, y, n_bootstrap=0)
    assert found.chance == pytest.approx(1 / 3)
    assert np.isnan(found.interval).all()


@given(st.integers(0, 2**16), st.sampled_from([1e-3, 1.0, 1e3]), st.floats(-5, 5))
def test_scale_offset_and_names_do_not_matter(seed, scale, offset):
    Z, speakers, texts = embeddings(separation=1, seed=seed)
    names = np.array(["ann", "bob", "cem", "dea"])[speakers]
    a = speaker_probe_score(Z, speakers, groups=texts)
    b = speaker_probe_score(scale * Z + offset, names, groups=texts)
    assert a.score == pytest.approx(b.score, abs=0.03)


def test_estimators_and_pipelines(method, corpus, log_mels):
    y, speakers = corpus.y, corpus.speakers
    model = method().fit(log_mels, y, speakers=speakers)
    whole, Z = make_pipeline(LogMelTransformer(n_mels=16), model), model.embed(log_mels)
    expected = speaker_probe_score(Z, speakers, n_bootstrap=9)
    found = speaker_probe_score(model, speakers, X=log_mels, n_bootstrap=9)
    assert found == expected
    by_speaker = {"groups": speakers, "n_bootstrap": 9}
    of_emotion = emotion_probe_score(Z, y, **by_speaker)
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            X = corpus.waveforms
            found = speaker_probe_score(whole, speakers, X=X, n_bootstrap=9)
            assert found == expected
            assert emotion_probe_score(whole, y, X=X, **by_speaker) == of_emotion


def test_the_interval_is_that_of_resampled_utterances():
    Z, speakers, texts = embeddings(separation=0.5, n_texts=7)
    probe = GaussianNB()
    rng = np.random.default_rng(0)
    for groups in (None, texts + 7 * speakers):
        options = {"groups": groups, "probe": probe, "n_bootstrap": 20000}
        found = speaker_probe_score(Z, speakers, confidence_level=0.9, **options)
        units = np.arange(len(Z)) if groups is None else groups
        cv = (StratifiedKFold if groups is None else StratifiedGroupKFold)(
            min(5, len(np.unique(units))), shuffle=True, random_state=0
        )
        folds = list(cv.split(Z, speakers, groups))
        model = make_pipeline(StandardScaler(), probe)
        predicted = cross_val_predict(model, Z, speakers, cv=folds)
        assert found.score == pytest.approx(uar_score(speakers, predicted))
        members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
        scores = []
        for _ in range(1000):
            drawn = rng.integers(0, len(members), len(members))
            rows = np.concatenate([members[i] for i in drawn])
            y, hit = speakers[rows], (predicted == speakers)[rows]
            scores.append(np.mean([hit[y == k].mean() for k in set(y.tolist())]))
        expected = np.quantile(scores, [0.05, 0.95])
        np.testing.assert_allclose(found.interval, expected, atol=0.02)


def test_the_memory_of_a_bootstrap_grows_with_the_utterances_alone():
    # Counts of each utterance, true and predicted speaker would take 147 MB.
    speakers = np.repeat(np.arange(96), 20)
    Z = np.random.default_rng(0).normal(size=(len(speakers), 2))
    tracemalloc.start()
    speaker_probe_score(Z, speakers, probe=DummyClassifier())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"speakers": ["ann"] * 72}, ValueError, "speakers has one class only"),
        ({"speakers": np.arange(72)}, ValueError, "give 1 fold"),
        ({"groups": np.zeros(72)}, ValueError, "give 1 fold"),
        ({"speakers": ["ann", "bob"]}, ValueError, "inconsistent numbers of samples"),
        ({"groups": [1, 2]}, ValueError, "inconsistent numbers of samples"),
        ({"probe": "forest"}, ValueError, 'probe must be "linear"'),
        ({"probe": 3}, ValueError, 'probe must be "linear"'),
        ({"embeddings": np.full((72, 2), np.nan)}, ValueError, "NaN"),
        ({"cv": 1}, ValueError, "cv == 1, must be >= 2"),
        ({"confidence_level": 95}, ValueError, "confidence_level must be between 0"),
        ({"n_bootstrap": -3}, ValueError, "n_bootstrap == -3, must be >= 0"),
        ({"groups": [1.0, np.nan] * 36}, ValueError, r"groups\[1\] is nan, expected"),
        ({"speakers": ["a", None] * 36}, ValueError, r"speakers\[1\] is None"),
        ({"embeddings": LinearSVC()}, TypeError, "X is None"),
        ({"embeddings": LinearSVC(), "X": np.ones((72, 2))}, TypeError, "with embed"),
    ],
)
def test_wrong_arguments(changes, error, message):
    Z, speakers, texts = embeddings(separation=1)
    arguments = {"embeddings": Z, "speakers": speakers, "groups": texts, **changes}
    with pytest.raises(error, match=message):
        speaker_probe_score(**arguments)
