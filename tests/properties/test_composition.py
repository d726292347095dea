"""Every documented way to compose the classifiers with scikit-learn."""

import copy
import pickle

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import recall_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    LeaveOneGroupOut,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

import sklearn_ser
from sklearn_ser import DSNetClassifier, LogMelTransformer, SpeakersMissingWarning

TWO_FOLDS = GroupKFold(2)


@pytest.fixture(params=[False, True], ids=["routing off", "routing on"])
def routing(request):
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


@pytest.fixture
def recordings(routing, corpus, paths):
    """Both forms, one in each way of routing."""
    return paths if routing else corpus.waveforms


def pipeline(method, /, n_mels=16, **params):
    return make_pipeline(LogMelTransformer(n_mels=n_mels), method(**params))


def named(method, routing):
    """What speakers are called outside of the pipeline."""
    return "speakers" if routing else f"{method.step}__speakers"


@pytest.fixture(scope="module")
def reference(method, corpus):
    """Return a function that fits by hand on some rows of the corpus."""
    fitted = {}

    def fit(rows=range(24), n_mels=16, **params):
        key = tuple(rows), n_mels, *params.items()
        if key not in fitted:
            rows = np.array(rows)
            X = LogMelTransformer(n_mels=n_mels).transform(
                [corpus.waveforms[i] for i in rows]
            )
            fitted[key] = method(**params).fit(
                X, corpus.y[rows], speakers=corpus.speakers[rows]
            )
        return fitted[key]

    return fit


# ---------------------------------------------------------------- the call forms


def test_fit(method, corpus, log_mels, routing, reference, weights):
    model = method().fit(log_mels, corpus.y, speakers=corpus.speakers)
    assert weights(model) == weights(reference())
    assert set(model.classes_) == {"neutral", "anger", "sadness"}
    assert model.n_features_in_ == 16
    probabilities = model.predict_proba(log_mels)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    expected = model.classes_[probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(log_mels), expected)
    assert model.score(log_mels, corpus.y) == (expected == corpus.y).mean()


def metadata(method, routing, corpus, groups):
    """Groups and speakers, as scikit-learn's cross-validation takes them."""
    if routing:
        return {"params": {"groups": groups, "speakers": corpus.speakers}}
    return {
        "groups": groups,
        "params": {f"{method.step}__speakers": corpus.speakers},
    }


def test_pipeline_fit(method, corpus, recordings, routing, reference, weights):
    model = pipeline(method)
    model.fit(recordings, corpus.y, **{named(method, routing): corpus.speakers})
    assert weights(model[-1]) == weights(reference())
    np.testing.assert_array_equal(
        model.predict_proba(recordings),
        reference().predict_proba(model[0].transform(corpus.waveforms)),
    )


@pytest.mark.parametrize(
    ("cv", "groups"), [(TWO_FOLDS, "speakers"), (LeaveOneGroupOut(), "sessions")]
)
def test_cross_validate(
    method, corpus, recordings, routing, reference, weights, cv, groups
):
    """The partners of a recording come from its speaker, not from its session."""
    groups = vars(corpus)[groups]
    found = cross_validate(
        pipeline(method),
        recordings,
        corpus.y,
        cv=cv,
        return_estimator=True,
        return_indices=True,
        error_score="raise",
        **metadata(method, routing, corpus, groups),
    )
    assert np.isfinite(found["test_score"]).all()
    for model, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        assert len(set(groups[train])) == len(set(groups)) // 2
        assert weights(model[-1]) == weights(reference(train))


def test_cross_val_predict(method, corpus, recordings, routing, reference):
    arguments = metadata(method, routing, corpus, corpus.speakers)
    found = cross_val_predict(
        pipeline(method),
        recordings,
        corpus.y,
        cv=TWO_FOLDS,
        **arguments,
    )
    features = LogMelTransformer(n_mels=16).transform(corpus.waveforms)
    for train, test in TWO_FOLDS.split(corpus.y, groups=corpus.speakers):
        expected = reference(train).predict([features[i] for i in test])
        np.testing.assert_array_equal(found[test], expected)


@pytest.mark.parametrize(
    ("routing", "n_jobs"),
    [(False, 1), (True, 1), pytest.param(True, 2, marks=pytest.mark.slow)],
    indirect=["routing"],
)
def test_grid_search(method, corpus, recordings, routing, reference, weights, n_jobs):
    search = GridSearchCV(
        pipeline(method),
        [
            {f"{method.step}__lr": [lr], "logmeltransformer__n_mels": [n_mels]}
            for lr, n_mels in ((1e-3, 8), (1e-2, 16))
        ],
        cv=TWO_FOLDS,
        n_jobs=n_jobs,
        error_score="raise",
    )
    search.fit(
        recordings,
        corpus.y,
        groups=corpus.speakers,
        **{named(method, routing): corpus.speakers},
    )
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_params_
    expected = reference(
        n_mels=best["logmeltransformer__n_mels"], lr=best[f"{method.step}__lr"]
    )
    assert weights(search.best_estimator_[-1]) == weights(expected)
    # Folds run elsewhere and agree with folds that run here.
    for split, (train, test) in enumerate(
        TWO_FOLDS.split(corpus.y, groups=corpus.speakers)
    ):
        n_mels = best["logmeltransformer__n_mels"]
        model = reference(train, n_mels=n_mels, lr=best[f"{method.step}__lr"])
        X = LogMelTransformer(n_mels=n_mels).transform(
            [corpus.waveforms[i] for i in test]
        )
        found = search.cv_results_[f"split{split}_test_score"][search.best_index_]
        assert found == pytest.approx(model.score(X, corpus.y[test]))
    features = search.best_estimator_[0].transform(corpus.waveforms)
    np.testing.assert_array_equal(
        sklearn_ser.embed(search, recordings), expected.embed(features)
    )


# -------------------------------------------------------------- other composites


def test_calibrated(method, corpus, paths, log_mels, routing):
    """A pipeline with routing, a classifier without it."""
    model, X = (pipeline(method), paths) if routing else (method(), log_mels)
    model = CalibratedClassifierCV(model, cv=2)
    model.fit(X, corpus.y, speakers=corpus.speakers)
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (24, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert set(model.predict(X)) <= set(corpus.y)


def test_voting(method, corpus, paths):
    members = [
        (str(seed), pipeline(method, random_state=seed, **method.speakerless))
        for seed in (0, 1)
    ]
    model = VotingClassifier(members, voting="soft").fit(paths, corpus.y)
    expected = np.mean([m.predict_proba(paths) for m in model.estimators_], axis=0)
    np.testing.assert_allclose(model.predict_proba(paths), expected)


# ---------------------------------------------------------------------- copies


def test_copies_of_a_fitted_pipeline_predict_the_same(method, corpus, paths, reference):
    model = make_pipeline(LogMelTransformer(n_mels=16), reference())
    probabilities = model.predict_proba(paths)
    embedding = sklearn_ser.embed(model, paths)
    twin = pickle.loads(pickle.dumps(model))
    for other in (copy.deepcopy(model), twin, pickle.loads(pickle.dumps(twin))):
        np.testing.assert_array_equal(other.predict_proba(paths), probabilities)
        np.testing.assert_array_equal(sklearn_ser.embed(other, paths), embedding)
        np.testing.assert_array_equal(other.classes_, model.classes_)
        assert list(other[-1].history_) == list(model[-1].history_)
        assert other[-1].n_iter_ == model[-1].n_iter_
        assert other[-1].n_features_in_ == 16
    other.fit(paths, corpus.y, **{f"{method.step}__speakers": corpus.speakers})
    np.testing.assert_array_equal(other.predict_proba(paths), probabilities)


def test_a_copy_is_independent(log_mels, reference):
    model = reference()
    before = model.predict_proba(log_mels)
    twin = copy.deepcopy(model)
    for value in twin.net_.module_.parameters():
        value.data.add_(1.0)
    np.testing.assert_array_equal(model.predict_proba(log_mels), before)


def test_clone_of_a_fitted_one_is_unfitted_and_fits_the_same(
    corpus, log_mels, reference, weights
):
    model = reference()
    twin = clone(model)
    assert not hasattr(twin, "classes_")
    with pytest.raises(NotFittedError):
        twin.predict(log_mels)
    with pytest.raises(NotFittedError):
        twin.history_  # noqa: B018
    assert twin.get_params() == model.get_params()
    twin.fit(log_mels, corpus.y, speakers=corpus.speakers)
    assert weights(twin) == weights(model)


def test_embed(paths, log_mels, reference):
    model = make_pipeline(LogMelTransformer(n_mels=16), reference())
    expected = model[-1].embed(log_mels)
    assert expected.shape[0] == 24
    assert expected.dtype == np.float32
    assert np.ptp(expected, axis=0).max() > 0
    for estimator, X in (
        (model[-1], log_mels), (model, paths), (make_pipeline(model), paths)
    ):  # fmt: skip
        np.testing.assert_array_equal(sklearn_ser.embed(estimator, X), expected)
    with pytest.raises(TypeError, match="StandardScaler"):
        sklearn_ser.embed(StandardScaler(), log_mels)


# ------------------------------------------------------------------ parameters


def test_parameters_round_trip(method):
    default = method.cls()
    params = default.get_params()
    assert method.cls(**params).get_params() == params
    changed = default.set_params(lr=0.5, encoder="conv", callbacks=[1])
    assert changed is default
    assert default.get_params() == {
        **params,
        "lr": 0.5,
        "encoder": "conv",
        "callbacks": [1],
    }
    assert clone(default.set_params(callbacks=None)).get_params()["lr"] == 0.5
    with pytest.raises(ValueError, match="Invalid parameter 'leraning_rate'"):
        default.set_params(leraning_rate=1)


def test_parameters_are_keyword_only(method):
    with pytest.raises(TypeError, match="positional"):
        method.cls(1.0)


def test_fit_starts_from_scratch(method, corpus, log_mels, weights, reference):
    model = copy.deepcopy(reference())
    # Other features, classes and rows: nothing of the first fit is left.
    X = [x[:8] for x in log_mels]
    y = np.where(corpus.y == "anger", "neutral", corpus.y)
    model.fit(X, y, speakers=corpus.speakers)
    assert model.n_features_in_ == 8
    assert model.classes_.tolist() == ["neutral", "sadness"]
    assert weights(model) == weights(method().fit(X, y, speakers=corpus.speakers))


def test_fit_leaves_parameters_and_data_alone(method, corpus, log_mels):
    X, y, speakers = (copy.deepcopy(a) for a in (log_mels, corpus.y, corpus.speakers))
    weight = np.linspace(0.5, 2, 24)
    class_weight = {"neutral": 1.0, "anger": 2.0, "sadness": 3.0}
    model = method(
        class_weight=class_weight,
        callbacks=[],
        masking=0.3,
        random_state=np.random.RandomState(0),
    )
    before = {name: id(value) for name, value in model.get_params().items()}
    names = set(vars(model))
    model.fit(X, y, speakers=speakers, sample_weight=weight)
    model.predict_proba(X)
    assert {name: id(value) for name, value in model.get_params().items()} == before
    assert class_weight == {"neutral": 1.0, "anger": 2.0, "sadness": 3.0}
    assert model.callbacks == []
    assert all(name.endswith("_") for name in set(vars(model)) - names)
    assert all(map(np.array_equal, X, log_mels))
    np.testing.assert_array_equal(y, corpus.y)
    np.testing.assert_array_equal(speakers, corpus.speakers)
    np.testing.assert_array_equal(weight, np.linspace(0.5, 2, 24))


# ------------------------------------------------------------------ warm start


def test_warm_start_continues(method, corpus, log_mels, weights, reference):
    data = {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}
    model = method(warm_start=True, max_epochs=2).fit(**data)
    once = weights(model)
    assert once == weights(reference(max_epochs=2))
    trained = {k: v.clone() for k, v in model.net_.module_.named_parameters()}
    still = {name for name in ("lr", "adversary_lr") if name in model.get_params()}
    model.set_params(max_epochs=1, **dict.fromkeys(still, 1e-12)).fit(**data)
    assert len(model.history_) == model.n_iter_ == 1  # of the new fit alone
    for name, value in model.net_.module_.named_parameters():
        if not name.startswith("SC."):  # the adversary starts anew
            torch.testing.assert_close(value, trained[name], atol=1e-6, rtol=0)
    # The statistics of the features belong to the weights that were trained on them.
    for name, value in weights(model).items():
        if "standardize" in name:
            assert value == once[name]


def test_warm_start_refuses_other_data(corpus, log_mels, reference):
    model = copy.deepcopy(reference()).set_params(warm_start=True)
    with pytest.raises(ValueError, match=r"'joy'.*warm_start=True.*'anger'"):
        model.fit(
            log_mels,
            np.where(corpus.y == "anger", "joy", corpus.y),
            speakers=corpus.speakers,
        )
    message = "encoder is 'conv_lstm' now, but warm_start=True continues .* 'conv'"
    with pytest.raises(ValueError, match=message):
        copy.deepcopy(model).set_params(encoder="conv_lstm").fit(
            log_mels, corpus.y, speakers=corpus.speakers
        )
    with pytest.raises(ValueError, match=r"X has 8 features.*expecting 16"):
        model.fit([x[:8] for x in log_mels], corpus.y, speakers=corpus.speakers)
    assert model.predict(log_mels).shape == (24,)


# ------------------------------------------------- callbacks, validation, verbose


class Witness(Callback):
    """Keeps the first cell of each sample of each epoch's batches."""

    def __init__(self):
        self.seen = {True: [], False: []}

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.seen[training] += batch[0].x[:, 0, 0].tolist()


def witness(model):
    (found,) = (cb for _, cb in model.net_.callbacks_ if isinstance(cb, Witness))
    return found.seen


def test_callbacks_are_copied(method, corpus, log_mels):
    callback = Witness()
    model = method(callbacks=[callback, ("named", Witness)], max_epochs=2)
    model.fit(log_mels, corpus.y, speakers=corpus.speakers)
    assert callback.seen == {True: [], False: []}
    copied = [cb for _, cb in model.net_.callbacks_ if isinstance(cb, Witness)]
    assert len(copied) == 2
    assert all(len(cb.seen[True]) == 48 for cb in copied)
    assert copied[0] is not callback


class Spoiler(Callback):
    """From the fourth epoch on, makes the network answer one class only."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) > 3:
            last = [p for n, p in net.module_.named_parameters() if n.endswith("bias")]
            sizes = [p.numel() for p in last]
            last[sizes.index(3)].data[0] += 1e3


def spread_out(corpus, n_speakers=4):
    """Easy one-frame samples whose first feature tells the speaker."""
    rng = np.random.default_rng(0)
    y = np.tile(["neutral", "anger", "sadness"], 40)
    speakers = np.repeat(np.arange(n_speakers), len(y) // n_speakers)
    X = rng.normal(size=(len(y), 4)).astype(np.float32)
    X[:, 1] += 6 * (y == "anger")
    X[:, 2] += 6 * (y == "sadness")
    X[:, 0] = speakers
    return X, y, speakers


def test_validation_sets_whole_speakers_aside(method, corpus):
    X, y, speakers = spread_out(corpus)
    model = method(
        validation_fraction=0.25, callbacks=[Witness()], max_epochs=2, **method.raw
    )
    model.fit(X, y, speakers=speakers)
    seen = witness(model)
    assert len(set(seen[False])) == 1
    assert set(seen[True]) == set(range(4)) - set(seen[False])
    assert len(seen[True]) == 2 * 90
    assert len(seen[False]) == 2 * 30
    assert all(0 <= row["valid_uar"] <= 1 for row in model.history_)


@pytest.mark.slow
def test_the_best_epoch_on_the_validation_speakers_is_kept(method, corpus):
    X, y, speakers = spread_out(corpus)
    model = method(
        validation_fraction=0.25,
        callbacks=[Witness(), Spoiler()],
        max_epochs=6,
        **method.raw,
    )
    model.fit(X, y, speakers=speakers)
    uars = [row["valid_uar"] for row in model.history_]
    assert max(uars[:3]) > 0.5
    assert uars[3:] == pytest.approx([1 / 3] * 3)
    valid = np.isin(speakers, witness(model)[False])
    found = recall_score(y[valid], model.predict(X[valid]), average="macro")
    assert found == pytest.approx(max(uars))
    assert len(model.history_) == 6


def test_validation_without_speakers_is_stratified_and_warns(method, corpus):
    X, y, _ = spread_out(corpus)
    X[:, 0] = np.arange(len(X))
    model = method(
        validation_fraction=0.25,
        callbacks=[Witness()],
        **{**method.speakerless, **method.raw},
    )
    with pytest.warns(SpeakersMissingWarning, match="validation_fraction") as caught:
        model.fit(X, y)
    assert [warning.filename for warning in caught] == [__file__]
    seen = witness(model)
    assert sorted(seen[True] + seen[False]) == list(range(len(X)))
    counts = np.unique(y[np.array(seen[False], int)], return_counts=True)[1]
    assert counts.tolist() == [10, 10, 10]


def test_verbose_shows_a_bar_on_stderr(method, corpus, log_mels, capsys):
    data = log_mels, corpus.y
    method(verbose=0).fit(*data, speakers=corpus.speakers)
    assert capsys.readouterr() == ("", "")
    method(verbose=1, max_epochs=2).fit(*data, speakers=corpus.speakers)
    out, err = capsys.readouterr()
    assert out == ""
    for part in ("0/2", "epoch/s", "loss="):
        assert part in err


# -------------------------------------------------------------------- speakers


@pytest.mark.parametrize("dtype", [list, object, "S4", np.int8, float, "category"])
def test_speakers_of_any_type(method, corpus, log_mels, weights, reference, dtype):
    numbers = np.array([int(name[1:]) for name in corpus.speakers])
    if dtype is list:
        speakers = corpus.speakers.tolist()
    elif dtype == "category":
        pd = pytest.importorskip("pandas")
        speakers = pd.Series(corpus.speakers, index=np.arange(24)[::-1]).astype(dtype)
    else:
        source = corpus.speakers if dtype in (object, "S4") else numbers
        speakers = source.astype(dtype)
    model = method().fit(log_mels, corpus.y, speakers=speakers)
    assert weights(model) == weights(reference())


def test_missing_speakers_are_told_with_the_call_forms(method, corpus, log_mels):
    if not method.uses_speakers:
        pytest.skip("needs no speakers")
    with pytest.warns(SpeakersMissingWarning) as caught:
        model = method().fit(log_mels, corpus.y)
    (warning,) = caught
    text = str(warning.message)
    step = method.step
    for form in (
        f"{method.cls.__name__} needs speakers for",
        "fit(X, y, speakers=s)",
        f"{step}__speakers=s",
        f"params={{'{step}__speakers': s}}",
        "speaker_cross_validate",
        "params={'speakers': s}",
    ):
        assert form in text
    assert warning.filename == __file__
    assert model.predict(log_mels).shape == (24,)


def test_no_warning_where_speakers_have_no_use(
    method, corpus, log_mels, weights, reference
):
    model = method(**method.speakerless).fit(log_mels, corpus.y)  # warnings raise
    # Then they have no influence either.
    assert weights(model) == weights(reference(**method.speakerless))


def test_the_papers_setting_is_one_call(log_mels, corpus):
    plateau = LRScheduler(
        "ReduceLROnPlateau", monitor="valid_uar", mode="max", patience=0, factor=0.1
    )
    stop = EarlyStopping(monitor="valid_uar", lower_is_better=False, patience=3)
    clf = DSNetClassifier(
        encoder="conv",
        max_epochs=40,
        lr=1e-6,  # nothing improves, so that both callbacks act
        weight_decay=0,
        schedule=None,
        label_smoothing=0,
        class_weight=None,
        speed_perturbation=0,
        vocal_tract_perturbation=0,
        masking=0,
        validation_fraction=0.25,
        callbacks=[plateau, stop],
        random_state=0,
    )
    clf.fit(log_mels, corpus.y, speakers=corpus.speakers)
    assert clf.n_iter_ < 40
    assert clf.history_[-1, "event_lr"] < 1e-6
    assert clf.predict(log_mels).shape == corpus.y.shape
