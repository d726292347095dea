"""Enrolment: voices that are known by a few recordings, and their evaluation."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_ser import (
    LogMelTransformer,
    OneSidedEnrollmentWarning,
    SpeakerNormalizer,
    enroll,
)
from sklearn_ser.baseline import EqualPriorsLDA, FrameStatistics, make_baseline
from sklearn_ser.features.speaker_normalizer import add_voices
from sklearn_ser.model_selection import speaker_cross_validate
from sklearn_ser.persistence import load, save
from sklearn_ser.sequences import CachedSequence

EMOTIONS = np.array(["anger", "happiness", "neutral", "sadness"])


def additive(seed, n_speakers=8, n_each=5, n_features=6, classes=EMOTIONS):
    """Recordings x = emotion + speaker + noise, and the speakers' offsets."""
    rng = np.random.default_rng(seed)
    emotions = rng.normal(scale=3, size=(len(classes), n_features))
    offsets = rng.normal(size=(n_speakers, n_features))
    speakers, codes = np.divmod(
        np.arange(n_speakers * n_each * len(classes)), n_each * len(classes)
    )
    codes %= len(classes)
    noise = rng.normal(scale=0.7, size=(len(codes), n_features))
    X = emotions[codes] + offsets[speakers] + noise
    return X, classes[codes], speakers, offsets


def fitted(seed=0, **options):
    """A normaliser fitted without the last speaker, and that speaker's recordings."""
    X, y, speakers, _ = additive(seed)
    new = speakers == speakers.max()
    normalizer = SpeakerNormalizer(**options).fit(
        X[~new], y[~new], speakers=speakers[~new]
    )
    return normalizer, X[new], y[new]


def voice(normalizer, X, name="new"):
    """The mean that is enrolled for some recordings."""
    normalizer = copy.copy(normalizer)
    add_voices(normalizer, X, [name] * len(X))
    return normalizer.speaker_statistics_[name][0]


def quiet(X):
    """Recordings as sequences of three frames each."""
    wave = np.array([-0.5, 0.0, 0.5], np.float32)
    return [np.asarray(x, np.float32)[:, None] + wave for x in X]


# ------------------------------------------------------------------- the estimate


@pytest.mark.parametrize("factor", [0, 3, 17])
def test_one_recording_moves_by_its_share_of_the_gap(factor):
    X, _, speakers, _ = additive(0)
    normalizer = SpeakerNormalizer(relevance_factor=factor).fit(X, speakers=speakers)
    new = X[:1] + 5
    mean = normalizer.mean_
    expected = mean + (new[0] - mean) / (1 + factor)
    np.testing.assert_allclose(voice(normalizer, new), expected, rtol=1e-5)


@pytest.mark.parametrize("drawn", ["mixed", "calm"])
def test_an_additive_offset_is_told_better_than_by_the_plain_mean(drawn):
    errors = {True: [], False: []}
    for seed in range(6):
        X, y, speakers, offsets = additive(seed, n_speakers=12, n_each=8)
        train, rng = speakers < 8, np.random.default_rng(seed)
        # What is true is known up to the mean of the training speakers.
        truth = offsets - offsets[:8].mean(axis=0)
        for with_labels in (True, False):
            normalizer = SpeakerNormalizer().fit(
                X[train], y[train] if with_labels else None, speakers=speakers[train]
            )
            for new in range(8, 12):
                own = speakers == new
                rows = np.flatnonzero(own & ((y == "neutral") | (drawn == "mixed")))
                rows = rng.permutation(rows)[:4]
                found = voice(normalizer, X[rows]) - normalizer.mean_
                errors[with_labels].append(np.square(found - truth[new]).mean())
    # Four mixed recordings rarely have equal shares. The plain mean of calm ones has
    # the whole emotion in it.
    margin = {"mixed": 0.8, "calm": 0.3}[drawn]
    assert np.mean(errors[True]) < margin * np.mean(errors[False])


@given(st.integers(0, 2**16), st.permutations(range(10)))
def test_the_order_of_recordings_does_not_matter(seed, order):
    normalizer, X, _ = fitted(seed % 7)
    names = np.array(list("aabbbbbccc"))
    there = copy.copy(normalizer)
    back = copy.copy(normalizer)
    add_voices(there, X[:10], names)
    add_voices(back, X[:10][order], names[order])
    for name in "abc":
        pair = (each.speaker_statistics_[name] for each in (there, back))
        for a, b in zip(*pair, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)


@given(st.integers(1, 19), st.booleans())
def test_a_row_is_transformed_alike_alone_and_with_others(cut, scale):
    normalizer, X, _ = fitted(scale=scale)
    add_voices(normalizer, X[:9], ["new"] * 4 + ["other"] * 5)
    names = np.array(["new", "other", "nobody"] * 7)[:20]
    whole = normalizer.transform(X, speakers=names)
    parts = [
        normalizer.transform(X[rows], speakers=names[rows])
        for rows in (slice(cut), slice(cut, None))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    single = normalizer.transform(X[:1], speakers=names[:1])
    np.testing.assert_array_equal(single, whole[:1])


def test_rows_are_sequences_of_one_frame(tmp_path):
    X, y, speakers, _ = additive(1)
    flat = SpeakerNormalizer().fit(X, y, speakers=speakers)
    frames = SpeakerNormalizer().fit(X[:, :, None], y, speakers=speakers)
    new = X[:4] + 1
    np.testing.assert_array_equal(voice(flat, new), voice(frames, new[:, :, None]))
    # Fitted on several frames and enrolled with one each, or the reverse.
    several = SpeakerNormalizer().fit(quiet(X), y, speakers=speakers)
    np.testing.assert_allclose(voice(flat, quiet(new)), voice(flat, new), rtol=1e-5)
    assert voice(several, new).shape == (6,)
    # On disk they stay there, also after a second normaliser.
    for i, x in enumerate(quiet(X)):
        np.save(tmp_path / f"{i}.npy", x)
    cached = [CachedSequence(str(tmp_path / f"{i}.npy")) for i in range(len(X))]
    lazy = SpeakerNormalizer(scale=True).fit(cached, y, speakers=speakers)
    Z = lazy.transform(cached, speakers=speakers)
    assert all(isinstance(z, CachedSequence) for z in Z)
    own = SpeakerNormalizer(scale=True).fit(quiet(X), y, speakers=speakers)
    expected = own.transform(quiet(X), speakers=speakers)
    np.testing.assert_allclose(np.stack([np.asarray(z) for z in Z]), expected)
    again = lazy.transform(Z, speakers=speakers)
    expected = own.transform(expected, speakers=speakers)
    found = np.stack([np.asarray(z) for z in again])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: y.tolist(),
        lambda y: y.astype(object),
        lambda y: np.unique(y, return_inverse=True)[1],
        lambda y: np.unique(y, return_inverse=True)[1].astype(float),
        lambda y: y == "anger",
    ],
    ids=["list", "objects", "integers", "floats", "two"],
)
def test_labels_of_any_type(labels):
    X, y, speakers, _ = additive(2)
    y = labels(y)
    normalizer = SpeakerNormalizer().fit(X, y, speakers=speakers)
    assert normalizer.emotions_.tolist() == sorted(set(np.asarray(y).tolist()))
    plain = SpeakerNormalizer().fit(X, speakers=speakers)
    assert not np.allclose(voice(normalizer, X[:3]), voice(plain, X[:3]))


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(lambda y: None, id="none"),
        pytest.param(lambda y: np.where(y == "anger", -1, 2), id="masked"),
        pytest.param(
            lambda y: np.where(y == "anger", -1, y.astype(object)).tolist(),
            id="masked text",
        ),
        pytest.param(lambda y: np.where(y == "anger", "", y), id="marked text"),
        pytest.param(lambda y: np.zeros(len(y), int), id="one"),
        pytest.param(lambda y: np.arange(len(y)), id="all"),
        pytest.param(lambda y: np.linspace(0, 1, len(y)), id="numbers"),
        pytest.param(lambda y: np.zeros((len(y), 2)), id="two columns"),
    ],
)
def test_labels_that_tell_nothing_are_left_out(labels):
    X, y, speakers, _ = additive(2)
    y = labels(y)
    normalizer = SpeakerNormalizer().fit(X, y, speakers=speakers)
    assert normalizer.emotions_ is None
    plain = SpeakerNormalizer().fit(X, speakers=speakers)
    np.testing.assert_array_equal(voice(normalizer, X[:3]), voice(plain, X[:3]))


def test_rare_emotions_and_constant_features():
    X, y, speakers, _ = additive(3)
    X[:, 2] = 7.0
    kept = (y != "anger") | (np.arange(len(y)) < 1)  # one recording only
    kept &= (speakers != 1) | (y == "neutral")  # a speaker with one emotion
    X, y, speakers = X[kept], y[kept], speakers[kept]
    normalizer = SpeakerNormalizer(scale=True).fit(X, y, speakers=speakers)
    Z = normalizer.enroll(X[:3], ["new"] * 3).transform(X, speakers=speakers)
    assert np.isfinite(Z).all()
    np.testing.assert_array_equal(Z[:, 2], 0)
    np.testing.assert_allclose(normalizer.speaker_statistics_["new"][0][2], 7)
    # The calm speaker is compared with others in calm speech.
    calm = X[(y == "neutral") & (speakers != 1)].mean(axis=0)
    gap = X[speakers == 1].mean(axis=0) - calm
    found = normalizer.speaker_statistics_[1][0] - normalizer.mean_
    assert np.abs(found - 5 / 8 * gap).max() < 0.6


def test_recordings_of_one_emotion_are_told():
    normalizer, X, y = fitted(4)
    with pytest.warns(OneSidedEnrollmentWarning, match=r"'ann' .* mostly 'sadness'"):
        normalizer.enroll(X[y == "sadness"], ["ann"] * 5)
    assert "ann" in normalizer.speaker_statistics_
    normalizer.enroll(X, ["ann"] * 20)  # of all emotions; warnings are errors here
    normalizer.enroll(X[y == "sadness"][:2], ["bob"] * 2)  # too few to tell
    two = np.isin(y, ["anger", "sadness"])
    X, y, speakers, _ = additive(4)
    kept = np.isin(y, ["anger", "sadness"])
    normalizer.fit(X[kept], y[kept], speakers=speakers[kept])
    assert two.any()
    with pytest.warns(OneSidedEnrollmentWarning, match="'anger'"):
        normalizer.enroll(X[(y == "anger") & (speakers == 7)], ["ann"] * 5)


# --------------------------------------------------------------- kept and refused


def test_a_failed_enrolment_changes_nothing():
    normalizer, X, _ = fitted()
    before = pickle.dumps(normalizer)
    for wrong, names, message in (
        (X[:, :3], ["a"] * 20, "X has 3 features"),
        (X, ["a"] * 3, "X has 20, speakers has 3"),
        (X, ["a"] * 19 + [None], r"speakers\[19\] is None"),
        (X, None, "speakers is None, expected a speaker for each recording"),
        (X[:0], [], "0 sample"),
        (np.full((1, 6), np.nan), ["a"], "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            normalizer.enroll(wrong, names)
    assert pickle.dumps(normalizer) == before


@pytest.mark.parametrize("factor", [-1, "much"])
def test_wrong_settings(factor):
    X, y, speakers, _ = additive(0)
    with pytest.raises(ValueError, match="relevance_factor"):
        SpeakerNormalizer(relevance_factor=factor).fit(X, y, speakers=speakers)


def test_voices_are_kept(tmp_path):
    pytest.importorskip("skops")
    X, y, speakers, _ = additive(5)
    model = make_pipeline(StandardScaler(), SpeakerNormalizer(), LogisticRegression())
    model.fit(X, y, speakernormalizer__speakers=speakers)
    enroll(model, X[:8] + 3, ["ann"] * 4 + ["bob"] * 4)
    save(model, tmp_path / "model.skops")
    names = ["ann", "bob"] * 4
    with sklearn.config_context(enable_metadata_routing=True):
        expected = model.predict_proba(X[:8] + 3, speakers=names)
        for again in (
            load(tmp_path / "model.skops"),
            pickle.loads(pickle.dumps(model)),
            copy.deepcopy(model),
        ):
            found = again.predict_proba(X[:8] + 3, speakers=names)
            np.testing.assert_array_equal(found, expected)
            assert enroll(again, X[:3], [1] * 3) is again  # numbers, too
    options = {"unseen": None, "scale": True, "relevance_factor": 1.5, "center": False}
    assert clone(SpeakerNormalizer(**options)).get_params() == options


# ------------------------------------------------------------------- in pipelines


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("kind", ["log-mels", "vectors", "nested", "search"])
def test_enrolment_in_a_pipeline(corpus, log_mels, kind, routing):
    y, speakers = corpus.y, corpus.speakers
    new = speakers == "s03"
    svm = LogisticRegression(max_iter=1000)
    vectors = FrameStatistics().fit(log_mels).transform(log_mels)
    X = corpus.waveforms
    model = make_pipeline(
        LogMelTransformer(n_mels=16), FrameStatistics(), SpeakerNormalizer(), svm
    )
    path = "speakernormalizer__speakers"
    if kind == "log-mels":
        normalized, inputs = SpeakerNormalizer(), log_mels
        model = make_pipeline(
            LogMelTransformer(n_mels=16), normalized, FrameStatistics(), svm
        )
    else:
        normalized, inputs = SpeakerNormalizer(), vectors
    if kind == "vectors":
        X, model = vectors, make_pipeline(normalized, svm)
    elif kind == "nested":
        front = make_pipeline(FrameStatistics(), "passthrough", SpeakerNormalizer())
        model = make_pipeline(LogMelTransformer(n_mels=16), front, svm)
        path = "pipeline__speakernormalizer__speakers"
    elif kind == "search":
        model = GridSearchCV(model, {"logisticregression__C": [1.0]}, cv=GroupKFold(2))
    train = [X[i] for i in np.flatnonzero(~new)]
    test = [X[i] for i in np.flatnonzero(new)]
    groups = {"groups": speakers[~new]} if kind == "search" else {}
    with sklearn.config_context(enable_metadata_routing=routing):
        names = {"speakers" if routing else path: speakers[~new]}
        model.fit(train, y[~new], **names, **groups)
        assert enroll(model, test[:3], ["s03"] * 3) is model
    by_hand = SpeakerNormalizer().fit(
        [inputs[i] for i in np.flatnonzero(~new)], y[~new], speakers=speakers[~new]
    )
    own = [inputs[i] for i in np.flatnonzero(new)]
    by_hand.enroll(own[:3], ["s03"] * 3)
    found = getattr(model, "best_estimator_", model)
    found = found[1][-1] if kind == "nested" else found.named_steps["speakernormalizer"]
    found, expected = (m.speaker_statistics_["s03"] for m in (found, by_hand))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_enroll_refuses():
    X, y, speakers, _ = additive(0)
    bare = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    for model in (bare, LogisticRegression(), 3):
        with pytest.raises(TypeError, match=r"a SpeakerNormalizer.*expected a p"):
            enroll(model, X, speakers)
    model = make_pipeline(SpeakerNormalizer(), LogisticRegression())
    search = GridSearchCV(model, {})
    for unfitted in (SpeakerNormalizer(), model, search):
        with pytest.raises(NotFittedError):
            enroll(unfitted, X, speakers)


# ------------------------------------------------------------------ its evaluation


class Counter(TransformerMixin, BaseEstimator):
    """Pass all on, and count the rows of each call."""

    calls: list = []  # noqa: RUF012

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        self.calls.append(len(X))
        return X

    def __sklearn_is_fitted__(self):
        return True


MODEL = make_pipeline(SpeakerNormalizer(), make_baseline(of_frames=False))


def evaluate(enrollment, model=MODEL, data=None, **options):
    X, y, speakers, _ = additive(6)
    X, y, speakers = (X, y, speakers) if data is None else data
    options = {"cv": 4, "n_bootstrap": 0} | options
    return speaker_cross_validate(
        model, X, y, speakers, enrollment=enrollment, **options
    )


@pytest.mark.parametrize("label", [None, "neutral"])
def test_enrolled_recordings_are_never_scored(label):
    _, y, speakers, _ = additive(6)
    result = evaluate(3, enrollment_label=label)
    n_enrolled = 3 if label is None else 2  # half of five
    for fold in result.folds:
        of_fold = np.flatnonzero(np.isin(speakers, fold.test_speakers))
        assert len(fold.enrolled) == 3
        parts = np.split(fold.test, 3)
        for enrolled, scored in zip(fold.enrolled, parts, strict=True):
            assert not np.isin(enrolled, scored).any()
            assert sorted([*enrolled, *scored]) == of_fold.tolist()
            _, counts = np.unique(speakers[enrolled], return_counts=True)
            assert counts.tolist() == [n_enrolled] * len(fold.test_speakers)
            assert label is None or set(y[enrolled]) == {label}
        assert len({tuple(enrolled) for enrolled in fold.enrolled}) > 1
    assert len(result.rows) == sum(len(fold.test) for fold in result.folds)
    np.testing.assert_array_equal(result.y_true, y[result.rows])


def test_figures_are_those_of_a_loop_by_hand():
    X, y, speakers, _ = additive(6)
    result = evaluate(5, n_draws=2)
    found = []
    for fold in result.folds:
        model = clone(MODEL)
        train = {"speakernormalizer__speakers": speakers[fold.train]}
        model.fit(X[fold.train], y[fold.train], **train)
        for enrolled, scored in zip(fold.enrolled, np.split(fold.test, 2), strict=True):
            voiced = copy.deepcopy(model)
            add_voices(voiced[0], X[enrolled], speakers[enrolled])
            with sklearn.config_context(enable_metadata_routing=True):
                found.append(voiced.predict(X[scored], speakers=speakers[scored]))
    np.testing.assert_array_equal(np.concatenate(found), result.predictions)


@pytest.mark.slow
def test_the_more_is_enrolled_the_better():
    X, y, speakers, offsets = additive(7)
    X = X + offsets[speakers] + np.random.default_rng(0).normal(scale=2, size=X.shape)
    data = X, y, speakers
    uars = [evaluate(k, data=data).uar for k in (None, 1, 3, 10)]
    assert uars == sorted(uars)
    assert uars[0] + 0.05 < uars[3]
    assert uars[0] + 0.05 < evaluate("all", data=data).uar


@pytest.mark.parametrize("enrollment", [None, 4, "all"])
def test_labels_of_test_speakers_have_no_influence(enrollment):
    X, y, speakers, _ = additive(6)
    new = np.isin(speakers, [6, 7])
    cv = [(np.flatnonzero(~new), np.flatnonzero(new))]
    turned = y.copy()
    turned[new] = np.random.default_rng(0).permutation(y[new])
    first = evaluate(enrollment, cv=cv)
    second = evaluate(enrollment, cv=cv, data=(X, turned, speakers))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert (first.y_true != second.y_true).any()


@pytest.mark.parametrize(
    ("enrollment", "label", "kind"),
    [
        (None, None, "inductive"),
        (10, None, "enrolled (10)"),
        (np.int64(100), None, "enrolled (10)"),
        (np.int64(10), "neutral", 'enrolled (2, "neutral")'),
        ("all", None, "transductive"),
    ],
)
def test_a_result_says_its_kind(enrollment, label, kind):
    result = evaluate(enrollment, enrollment_label=label)
    assert result.kind == kind
    assert str(result).splitlines()[1].startswith(f"{kind}: ")
    assert f"<p>{kind.split()[0]}" in result._repr_html_()
    assert (result.summary().kind, result.to_dict()["kind"]) == (kind, kind)
    assert [len(fold.enrolled) for fold in result.folds] == [
        {"inductive": 0, "transductive": 1}.get(kind, 3)
    ] * 4


def test_steps_in_front_transform_the_test_rows_once():
    Counter.calls.clear()
    model = make_pipeline(Counter(), SpeakerNormalizer(), LogisticRegression())
    counted = evaluate(2, model=model, n_draws=4)
    assert Counter.calls == [120, 40] * 4  # training and test rows of each fold
    plain = evaluate(2, model=make_pipeline(model[1], model[2]), n_draws=4)
    np.testing.assert_array_equal(counted.probabilities, plain.probabilities)


def test_forms_of_estimators():
    expected = evaluate(3, cv=2)
    search = GridSearchCV(MODEL, {}, cv=GroupKFold(2))
    nested = make_pipeline(make_pipeline("passthrough", MODEL))
    with joblib.parallel_config("threading"):
        for model, n_jobs in ((search, None), (nested, None), (MODEL, 2)):
            found = evaluate(3, model=model, n_jobs=n_jobs, cv=2)
            np.testing.assert_array_equal(found.rows, expected.rows)
            np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    model = make_pipeline(SpeakerNormalizer(), LinearSVC())
    assert evaluate(3, model=model, cv=2).probabilities is None


@pytest.mark.slow
def test_the_seed_decides_what_is_drawn():
    first, again, other = (evaluate(3, random_state=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.rows, again.rows)
    assert (first.rows != other.rows).any()
    for generator in (np.random.RandomState(0), np.random.default_rng(0), None):
        evaluate(3, random_state=generator, n_bootstrap=5)


def test_a_fitted_estimator_keeps_no_test_voice_and_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluate(10, enrollment_label="neutral", return_estimator=True)
    for fold, model in zip(result.folds, result.estimators, strict=True):
        assert not set(fold.test_speakers) & set(model[0].speaker_statistics_)


def test_a_speaker_with_one_recording_is_scored():
    X, y, speakers, _ = additive(6)
    kept = (speakers != 7) | (np.arange(len(y)) == len(y) - 1)
    result = evaluate(3, data=(X[kept], y[kept], speakers[kept]))
    assert (result.speakers == 7).sum() == 3
    assert not any(
        (speakers[kept][rows] == 7).any()
        for fold in result.folds
        for rows in fold.enrolled
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"enrollment": "some"}, "enrollment must be None, 'all' or a number"),
        ({"enrollment": 0}, "enrollment == 0, must be >= 1"),
        ({"enrollment": True}, "enrollment must be a number or 'all', got True"),
        ({"enrollment": 2.5}, "enrollment must be an instance of int"),
        ({"enrollment": [3]}, "enrollment must be an instance of int"),
        ({"enrollment": np.array([3, 4])}, "enrollment must be an instance of int"),
        ({"enrollment": 2, "n_draws": 0}, "n_draws == 0, must be >= 1"),
        (
            {"enrollment": 2, "enrollment_label": "calm"},
            r"enrollment_label='calm' is not a label of y: \['anger'",
        ),
        ({"enrollment_label": "neutral"}, "needs a number as enrollment"),
        (
            {"enrollment": "all", "enrollment_label": "neutral"},
            "got enrollment='all'",
        ),
        (
            {"enrollment": 2, "model": make_baseline(False)},
            r"needs a SpeakerNormalizer.*Pipeline has none.*make_pipeline\(Speaker",
        ),
        ({"enrollment": "all", "model": LinearSVC()}, "LinearSVC has none"),
    ],
)
def test_wrong_enrolments(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        evaluate(**{"enrollment": None} | options)


# ------------------------------------------------------------- the linear baseline


def test_pieces_of_the_baseline_that_are_not_fitted_say_so():
    X = np.zeros((3, 2))
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(NotFittedError, match="EqualPriorsLDA"):
            getattr(EqualPriorsLDA(), name)(X)
    with pytest.raises(NotFittedError, match="FrameStatistics"):
        FrameStatistics().transform(X)
    with pytest.raises(NotFittedError):
        make_baseline(of_frames=True).predict(X)


def test_the_baseline_has_logarithms_of_probabilities():
    rng, y = np.random.default_rng(0), np.arange(30) % 3
    X = rng.normal(size=(30, 2)) + y[:, None]
    model = make_baseline(of_frames=False).fit(X, y)
    expected = np.log(model.predict_proba(X))
    np.testing.assert_allclose(model.predict_log_proba(X), expected)
