"""SpeakerNormalizer: what it makes of each speaker, in pipelines and before them."""

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from sklearn_ser import (
    DSNetClassifier,
    SpeakerNormalizer,
    SpeakersMissingWarning,
    embed,
)
from sklearn_ser.features.speaker_normalizer import add_voices
from sklearn_ser.metrics import emotion_probe_score, speaker_probe_score
from sklearn_ser.model_selection import speaker_cross_validate

SPEAKERS = np.array(list("aabbbcca"))
# Each speaker alone decides: nothing is shrunk, and the deviation counts.
PLAIN = {"scale": True, "relevance_factor": 0}


def sequences(seed=0, lengths=(3, 9, 4, 20, 7, 5, 11, 6)):
    rng = np.random.default_rng(seed)
    return [rng.normal(5 * i, i + 1, (4, n)) for i, n in enumerate(lengths)]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_center_and_scale_can_be_left_out():
    X = sequences()
    off = SpeakerNormalizer(center=False).fit_transform(X, speakers=SPEAKERS)
    assert_equal(off, [x.astype(np.float32) for x in X])
    scaled = SpeakerNormalizer(center=False, scale=True).fit(X, speakers=SPEAKERS)
    both = SpeakerNormalizer(scale=True).fit(X, speakers=SPEAKERS)
    _, scale = both.speaker_statistics_["b"]
    found = scaled.transform(X[2:3], speakers=["b"])[0]
    np.testing.assert_allclose(found, X[2] / scale[:, None], rtol=1e-5)


@pytest.mark.parametrize("y", [None, list("abcabcab")])
def test_small_features_are_scaled_like_large_ones(y):
    X = sequences()
    small = [(x * 1e-14).astype(np.float32) for x in X]
    large = SpeakerNormalizer(**PLAIN).fit_transform(X, y, speakers=SPEAKERS)
    found = SpeakerNormalizer(**PLAIN).fit_transform(small, y, speakers=SPEAKERS)
    for a, b in zip(found, large, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("values", [(0.1, -0.1, 0.3), (7.0, 7.0, 7.0)])
def test_a_feature_that_only_tells_the_speakers_apart_is_constant(values):
    """What is left of it without the speakers is rounding, and not to be enlarged."""
    X, speakers = np.repeat(values, 4)[:, None], np.repeat(["a", "b", "c"], 4)
    Z = SpeakerNormalizer(**PLAIN).fit_transform(X, speakers=speakers)
    np.testing.assert_allclose(Z, 0, atol=1e-6)


def test_transform_knows_the_speakers_of_the_fit():
    X = sequences()
    normalizer = SpeakerNormalizer().fit(X, speakers=SPEAKERS)
    Z = SpeakerNormalizer().fit_transform(X, speakers=SPEAKERS)
    assert_equal(normalizer.transform(X[2:3], speakers=["b"]), Z[2:3])
    # A new one has no statistics of its own: one recording or many, it is the same.
    assert_equal(normalizer.transform(X, speakers=["new"] * 8), normalizer.transform(X))
    alone = SpeakerNormalizer("utterance").fit(X, speakers=SPEAKERS)
    assert_equal(alone.transform(X, speakers=["new"] * 8), alone.transform(X))
    strict = SpeakerNormalizer(None).fit(X, speakers=SPEAKERS)
    with pytest.raises(ValueError, match=r"Speaker 'new' is neither .* Enroll it"):
        strict.transform(X[:2], speakers=["a", "new"])


def test_without_speakers():
    X = sequences()
    for unseen in ("global", None):
        with pytest.warns(SpeakersMissingWarning, match="needs speakers and got none"):
            normalizer = SpeakerNormalizer(unseen=unseen).fit(X)
    with pytest.raises(ValueError, match=r"SpeakerNormalizer needs speakers.*unseen="):
        normalizer.transform(X)
    alone = SpeakerNormalizer(unseen="utterance").fit(X).transform(X)
    for z, x in zip(alone, X, strict=True):
        np.testing.assert_allclose(z, x - x.mean(axis=1, keepdims=True), atol=1e-4)
    together = SpeakerNormalizer().fit(X, speakers=SPEAKERS).transform(X)
    middle = np.mean([x.mean(axis=1) for x in X], axis=0)
    for z, x in zip(together, X, strict=True):
        np.testing.assert_allclose(z, x - middle[:, None], atol=1e-4)


def plainly(X, y, speakers, factor):
    """What the normaliser makes of recordings, by its definition, one at a time.

    Returns the recordings, centred and scaled, and the means of the speakers.
    """
    means = np.stack([x.mean(axis=1, dtype=float) for x in X])
    variances = np.stack([x.var(axis=1, dtype=float) for x in X])
    names = list(dict.fromkeys(speakers))
    own = {name: [i for i, s in enumerate(speakers) if s == name] for name in names}
    shrink = {name: len(own[name]) / (len(own[name]) + factor) for name in names}
    offsets = dict.fromkeys(names, np.zeros(means.shape[1]))
    y = np.zeros(len(X), int) if y is None else y
    for _ in range(10 if len(set(y)) > 1 else 1):
        centred = [m - offsets[s] for m, s in zip(means, speakers, strict=True)]
        emotions = {
            c: np.mean([m for m, e in zip(centred, y, strict=True) if e == c], axis=0)
            for c in sorted(set(y))
        }
        for name in names:
            gaps = [
                means[[i for i in own[name] if y[i] == c]].mean(axis=0) - emotions[c]
                for c in sorted({y[i] for i in own[name]})
            ]
            offsets[name] = shrink[name] * np.mean(gaps, axis=0)
    middle = np.mean(list(emotions.values()), axis=0)
    centre = {name: middle + offsets[name] for name in names}
    squares = [
        v + (m - centre[s]) ** 2
        for m, v, s in zip(means, variances, speakers, strict=True)
    ]
    average = np.sqrt(np.mean(squares, axis=0))
    Z = []
    for x, name in zip(X, speakers, strict=True):
        k, mean = len(own[name]), means[own[name]].mean(axis=0)
        spread = [variances[i] + (means[i] - mean) ** 2 for i in own[name]]
        scale = np.sqrt((np.sum(spread, axis=0) + factor * average**2) / (k + factor))
        scale = np.where(scale < 1e-6 * np.abs(mean), 1, scale)
        Z.append((x - centre[name][:, None]) / scale[:, None])
    return Z, centre


@given(
    st.integers(0, 2**16),
    st.lists(st.sampled_from("abcdef"), min_size=4, max_size=40),
    st.booleans(),
    st.sampled_from([0, 3]),
    st.sampled_from([1, 4]),
)
def test_many_rows_at_once_are_as_one_at_a_time(
    seed, speakers, with_labels, factor, n_frames
):
    rng = np.random.default_rng(seed)
    level = 10 * rng.normal(size=3)[:, None]
    X = [(rng.normal(size=(3, n_frames)) + level).astype("f4") for _ in speakers]
    y = rng.integers(0, 2, len(X)) if with_labels else None
    if with_labels:
        y[:3] = 0, 1, 1  # at least two classes, and two of a class
    expected, centre = plainly(X, y, speakers, factor)
    batches = [X, np.stack(X)] + [np.stack(X)[:, :, 0]] * (n_frames == 1)
    for batch in batches:
        normalizer = SpeakerNormalizer(scale=True, relevance_factor=factor)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sklearn_ser.features.speaker_normalizer._BLOCK", 7)
            Z = normalizer.fit_transform(batch, y, speakers=speakers)
        for z, wanted in zip(Z, expected, strict=True):
            np.testing.assert_allclose(
                z.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5
            )
        for name, mean in centre.items():
            found = normalizer.speaker_statistics_[name][0]
            np.testing.assert_allclose(found, mean, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings('ignore:unseen="utterance"')
@pytest.mark.parametrize("unseen", ["global", "utterance"])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_vectors_are_sequences_of_one_frame(unseen, center, scale):
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, (700, 4)).astype("f4")
    speakers = rng.choice(list("abcdefg"), len(X))
    normalizer = SpeakerNormalizer(unseen, center=center, scale=scale)
    normalizer.fit(X, speakers=speakers).enroll(X[:5] + 1, list("xxxyy"))
    for names in (None, speakers, rng.choice(list("axy?!"), len(X))):
        found = normalizer.transform(X, speakers=names)
        expected = normalizer.transform(list(X[:, :, None]), speakers=names)
        np.testing.assert_array_equal(found, np.hstack(expected).T)
        assert not np.shares_memory(found, X)


def test_one_frame_is_not_normalised_by_itself():
    X = np.random.default_rng(0).normal(3, 2, (8, 4)).astype("f4")
    normalizer = SpeakerNormalizer("utterance").fit(X, speakers=SPEAKERS)
    expected = SpeakerNormalizer().fit(X, speakers=SPEAKERS).transform(X)
    for batch, names, n in ((X, None, 8), (X[:, :, None], list("abcdabcd"), 2)):
        with pytest.warns(UserWarning, match=f"{n} recording.*have one frame"):
            Z = normalizer.transform(batch, speakers=names)
        np.testing.assert_array_equal(Z[[3, 7]].reshape(2, 4), expected[[3, 7]])
    long = np.hstack([X[:1].T, X[1:2].T])
    with pytest.warns(UserWarning, match="1 recording"):
        one, several = normalizer.transform([X[:1].T, long])
    np.testing.assert_array_equal(one[:, 0], expected[0])
    np.testing.assert_allclose(several.mean(axis=1), 0, atol=1e-6)


def test_forms_in_are_forms_out():
    X = np.random.default_rng(0).normal(size=(8, 4, 5))
    Z = SpeakerNormalizer().fit_transform(X, speakers=SPEAKERS)
    assert isinstance(Z, np.ndarray)
    assert_equal(Z, SpeakerNormalizer().fit_transform(list(X), speakers=SPEAKERS))
    flat = SpeakerNormalizer().fit_transform(X[:, :, 0], speakers=SPEAKERS)
    assert_equal(
        flat, SpeakerNormalizer().fit_transform(X[:, :, :1], speakers=SPEAKERS)[:, :, 0]
    )
    assert flat.shape == (8, 4)


def test_a_data_frame_that_is_asked_for_is_not_made(log_mels, corpus):
    normalizer = SpeakerNormalizer().set_output(transform="pandas")
    Z = normalizer.fit_transform(log_mels, speakers=corpus.speakers)
    assert isinstance(Z, list)
    assert Z[0].shape == log_mels[0].shape


@pytest.mark.parametrize(
    ("speakers", "message"),
    [
        (list("aab"), "X has 8, speakers has 3"),
        ([*"aabbbcc", None], r"speakers\[7\] is None"),
        (np.zeros((8, 2)), "speakers has shape"),
    ],
)
def test_wrong_speakers(speakers, message):
    X = sequences()
    with pytest.raises(ValueError, match=message):
        SpeakerNormalizer().fit(X, speakers=speakers)
    with pytest.raises(ValueError, match=message):
        SpeakerNormalizer().fit(X, speakers=SPEAKERS).transform(X, speakers=speakers)


def test_a_failed_refit_leaves_the_normalizer_as_it_was():
    X = sequences()
    normalizer = SpeakerNormalizer().fit(X, speakers=SPEAKERS)
    before = normalizer.transform(X, speakers=SPEAKERS)
    wider = [np.vstack([x, x]) for x in X]
    for wrong in ([*"aabbbcc", None], list("aab")):
        with pytest.raises(ValueError, match="speakers"):
            normalizer.fit(wider, speakers=wrong)
        assert normalizer.n_features_in_ == 4
        assert_equal(normalizer.transform(X, speakers=SPEAKERS), before)
    normalizer.fit(wider, speakers=SPEAKERS)
    assert normalizer.n_features_in_ == 8


def test_wrong_arguments():
    with pytest.raises(ValueError, match="unseen"):
        SpeakerNormalizer(unseen="guess").fit(sequences())
    normalizer = SpeakerNormalizer().fit(sequences(), speakers=SPEAKERS)
    with pytest.raises(ValueError, match="X has 3 features"):
        normalizer.transform([np.ones((3, 2)), np.ones((3, 4))], speakers=["a", "b"])


# -------------------------------------------------------------------- with classifiers


@pytest.fixture
def classifier():
    return DSNetClassifier(
        encoder="statistics", max_epochs=1, batch_size=8, random_state=0
    )


def test_within_a_cross_validation_by_speaker(classifier, corpus, log_mels):
    y, speakers = corpus.y, corpus.speakers
    model = make_pipeline(SpeakerNormalizer(), classifier)
    arguments = {"cv": 2, "n_bootstrap": 0}
    inductive, transductive = (
        speaker_cross_validate(
            model, log_mels, y, speakers, enrollment=enrollment, **arguments
        )
        for enrollment in (None, "all")
    )
    for fold in inductive.folds:
        train = [log_mels[i] for i in fold.train]
        test = [log_mels[i] for i in fold.test]
        names = {"speakers": speakers[fold.train]}
        normalizer = SpeakerNormalizer().fit(train, y[fold.train], **names)
        Z = normalizer.transform(train, **names)
        fitted = clone(classifier).fit(Z, y[fold.train], **names)
        for result in (inductive, transductive):
            if result is transductive:
                add_voices(normalizer, test, speakers[fold.test])
            Z = normalizer.transform(test, speakers=speakers[fold.test])
            found = result.probabilities[np.isin(result.rows, fold.test)]
            np.testing.assert_array_equal(found, fitted.predict_proba(Z))


def test_in_a_pipeline(method, corpus, log_mels):
    y, speakers = corpus.y, corpus.speakers
    Z = SpeakerNormalizer().fit_transform(log_mels, y, speakers=speakers)
    expected = method().fit(Z, y, speakers=speakers)
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            names = ["speakernormalizer__speakers", f"{method.step}__speakers"]
            metadata = dict.fromkeys(["speakers"] if routing else names, speakers)
            model = make_pipeline(SpeakerNormalizer(), method())
            model.fit(log_mels, y, **metadata)
            if routing:
                found = model.predict_proba(log_mels, speakers=speakers)
                np.testing.assert_array_equal(found, expected.predict_proba(Z))
            by_all = model[0].transform(log_mels)  # by all data of the fit
            assert_equal(model.predict_proba(log_mels), expected.predict_proba(by_all))
            model[0].set_params(unseen=None)
            with pytest.raises(ValueError, match="needs speakers"):
                model.predict(log_mels)


def test_embeddings_of_a_pipeline_are_those_of_its_speakers(
    classifier, corpus, log_mels
):
    y, speakers = corpus.y, corpus.speakers
    Z = SpeakerNormalizer().fit_transform(log_mels, speakers=speakers)
    model = classifier.fit(Z, y, speakers=speakers)
    normalizer = SpeakerNormalizer().fit(log_mels, speakers=speakers)
    pipe = make_pipeline(normalizer, model)
    nested = make_pipeline(make_pipeline("passthrough", normalizer), model)
    expected = model.embed(Z)
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            for found in (pipe, nested):
                found = embed(found, log_mels, speakers=speakers)
                np.testing.assert_array_equal(found, expected)
    with sklearn.config_context(enable_metadata_routing=True):
        found = speaker_probe_score(pipe, speakers, X=log_mels)
        assert found == speaker_probe_score(expected, speakers)
        options = {"groups": speakers, "n_bootstrap": 0}
        found = emotion_probe_score(pipe, y, X=log_mels, **options)
        assert found.score == emotion_probe_score(expected, y, **options).score
    np.testing.assert_array_equal(
        embed(model, Z, speakers=speakers), embed(make_pipeline(model), Z)
    )


def test_cross_val_predict_passes_no_speakers(classifier, corpus, log_mels):
    arguments = {
        "groups": corpus.speakers,
        "cv": GroupKFold(2),
        "params": {
            "speakernormalizer__speakers": corpus.speakers,
            "dsnetclassifier__speakers": corpus.speakers,
        },
    }
    for unseen in ("utterance", "global"):
        model = make_pipeline(SpeakerNormalizer(unseen), classifier)
        found = cross_val_predict(model, log_mels, corpus.y, **arguments)
        assert set(found) <= set(corpus.y)
    model = make_pipeline(SpeakerNormalizer(None), classifier)
    with pytest.raises(ValueError, match="needs speakers"):
        cross_val_predict(model, log_mels, corpus.y, **arguments)


@pytest.mark.parametrize(
    ("known", "later", "told"),
    [
        ([1, 2], ["1", "2"], "'1' for 1"),
        (["1", "2"], [1, 2], "1 for '1'"),
        ([1.0, 2.0], ["01", "2"], "'01' for 1.0"),
        (["1", "2"], ["01", "2"], "'01' for '1'"),
        (["Ann B", "Bo"], ["ann\u00a0b", "Bo"], "'ann\\xa0b' for 'Ann B'"),
        (["S12", "Bo"], ["S\uff11\uff12", "Bo"], "for 'S12'"),
        (["Ann", "Bo"], ["Cem", "Bo"], None),
        ([1, 2], [1.0, 3], None),
    ],
)
def test_known_speakers_written_otherwise_are_told(known, later, told):
    X = np.random.default_rng(0).normal(size=(8, 3))
    normalizer = SpeakerNormalizer().fit(X, speakers=known * 4)
    if told is None:
        normalizer.transform(X[:2], speakers=later)
        return
    with pytest.warns(UserWarning, match="that seem to be known") as caught:
        normalizer.transform(X[:2], speakers=later)
    assert told in str(caught[0].message)
