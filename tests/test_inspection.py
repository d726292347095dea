"""Displays draw what they are given."""

import sys
from copy import deepcopy

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    LogMelTransformer,
    SpeakerAdversarialClassifier,
)
from sklearn_ser.inspection import (
    EmbeddingDisplay,
    EmotionTimelineDisplay,
    HistoryDisplay,
    LogMelDisplay,
    SpeakerRecallDisplay,
    TransferMatrixDisplay,
)
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def no_figure_stays_open(plt):
    """Draw to no screen in all tests of this file."""


def _drawn(display):
    display.figure_.canvas.draw()
    return display


@pytest.fixture(scope="module")
def dsnet(log_mels, corpus):
    model = DSNetClassifier(max_epochs=2, encoder="conv", random_state=0)
    return model.fit(log_mels, corpus.y, speakers=corpus.speakers)


@pytest.fixture(scope="module")
def menan(log_mels, corpus):
    model = SpeakerAdversarialClassifier(max_epochs=2, encoder="conv", random_state=0)
    return model.fit(log_mels, corpus.y, speakers=corpus.speakers)


DSNET_TERMS = ["loss", "task", "calibration", "orthogonality", "reconstruction"]

# --------------------------------------------------------------------------- log-mel


def test_a_spectrogram_is_that_of_the_transformer(corpus):
    mel = LogMelTransformer(n_mels=40, top_db=50)
    for estimator in (mel, make_pipeline(mel, DummyClassifier())):
        display = _drawn(LogMelDisplay.from_estimator(estimator, corpus.waveforms[0]))
        expected = mel.transform(corpus.waveforms[:1])[0]
        np.testing.assert_array_equal(display.log_mel, expected)
        drawn = display.image_.get_array().reshape(expected.shape)
        np.testing.assert_array_equal(drawn, expected)


def test_the_transformer_may_stand_anywhere_in_a_pipeline(corpus):
    halve = FunctionTransformer(lambda X: [x[: len(x) // 2] for x in X])
    mel = LogMelTransformer(n_mels=20, top_db=50)
    wave = corpus.waveforms[0]
    expected = mel.transform([wave[: len(wave) // 2]])[0]
    nested = make_pipeline(make_pipeline("passthrough", halve), mel)
    for estimator in (
        make_pipeline(halve, mel, DummyClassifier()),
        make_pipeline(nested, DummyClassifier()),
    ):
        display = LogMelDisplay.from_estimator(estimator, wave)
        np.testing.assert_array_equal(display.log_mel, expected)
    search = GridSearchCV(estimator, {}, cv=2).fit(corpus.waveforms, corpus.y)
    display = LogMelDisplay.from_estimator(search, wave)
    np.testing.assert_array_equal(display.log_mel, expected)


def test_a_tone_lies_at_its_frequency():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    display = _drawn(LogMelDisplay.from_estimator(LogMelTransformer(), tone))
    loudest = display.log_mel.mean(axis=1).argmax()
    assert display.frequencies[loudest] == pytest.approx(1000, rel=0.05)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    mark = display.ax_.get_yticks()[labels.index("1000")]
    assert mark == pytest.approx(loudest, abs=1)
    assert display.hop * display.log_mel.shape[1] == pytest.approx(1.0, abs=0.02)


# --------------------------------------------------------------------------- history


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        ("dsnet", DSNET_TERMS),
        ("menan", ["loss", "speaker", "task", "adversary"]),
    ],
)
def test_every_term_is_drawn(request, model, terms):
    model = request.getfixturevalue(model)
    display = _drawn(HistoryDisplay.from_estimator(make_pipeline(model)))
    assert list(display.terms) == terms
    for line, values in zip(display.lines_, display.terms.values(), strict=True):
        assert line.get_ydata().tolist() == values
    assert display.terms["loss"] == [epoch["train_loss"] for epoch in model.history_]
    assert len(display.axes_) == len(terms)


def test_no_term_is_hidden_by_its_name(dsnet):
    model, names = deepcopy(dsnet), ["duration", "best_guess", "batch_size", "epochs"]
    for number, epoch in enumerate(model.history_):
        epoch |= {f"train_{name}": number / 2 for name in names}
        epoch |= {f"train_{name}_best": True for name in names} | {"dur": 0.1}
    terms = HistoryDisplay.from_estimator(model).terms
    assert [terms.pop(name) for name in names] == [[0.0, 0.5]] * 4
    assert list(terms) == DSNET_TERMS


def test_the_alignment_of_domains_is_drawn(log_mels, corpus):
    domain = np.where(corpus.speakers == corpus.speakers[0], -1, 1)
    model = DIDANDomainAdapter(max_epochs=1, random_state=0)
    model.fit(log_mels, corpus.y, sample_domain=domain)
    terms = HistoryDisplay.from_estimator(model).terms
    assert {"alignment", "alignment_residual"} <= set(terms)


def test_what_cannot_be_drawn_is_told(plt):
    with pytest.raises(TypeError, match="must be a LogMelTransformer"):
        LogMelDisplay.from_estimator(DummyClassifier(), np.ones(9))
    with pytest.raises(TypeError, match="expected a classifier of sklearn_ser"):
        HistoryDisplay.from_estimator(DummyClassifier())
    with pytest.raises(NotFittedError):
        HistoryDisplay.from_estimator(DSNetClassifier())
    with pytest.raises(ValueError, match="ax must hold 2 axes, got 1"):
        SpeakerRecallDisplay.from_predictions(["x"], ["x"], ["ann"], ax=plt.gca())


# ------------------------------------------------------------------------- embedding


def test_each_embedding_is_drawn_by_emotion_and_by_speaker(
    dsnet, menan, log_mels, corpus
):
    data = log_mels, corpus.y, corpus.speakers
    display = _drawn(EmbeddingDisplay.from_estimator(dsnet, *data))
    assert list(display.points) == ["r (relevant)", "u (irrelevant)"]
    assert display.axes_.shape == (2, 2)
    for axis, labels in zip(display.axes_[0], data[1:], strict=True):
        assert len(axis.collections) == len(np.unique(labels))
        drawn = sum(len(points.get_offsets()) for points in axis.collections)
        assert drawn == len(labels)
    display = EmbeddingDisplay.from_estimator(make_pipeline(menan), *data)
    assert display.axes_.shape == (1, 2)


def test_the_plane_is_that_of_the_largest_variance():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(50, 5)) * [0.1, 9, 0.1, 3, 0.1]
    y = np.repeat(["x", "y"], 25)
    points = EmbeddingDisplay.from_embeddings(Z, y, y).points["embedding"]
    assert abs(np.corrcoef(points[:, 0], Z[:, 1])[0, 1]) > 0.95
    assert abs(np.corrcoef(points[:, 1], Z[:, 3])[0, 1]) > 0.95
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EmbeddingDisplay.from_embeddings(Z, y[1:], y)


def test_embeddings_that_are_all_the_same_are_one_point():
    y = np.repeat(["x", "y"], 3)
    display = _drawn(EmbeddingDisplay.from_embeddings(np.ones((6, 4)), y, y))
    assert not display.points["embedding"].any()


# ---------------------------------------------------------------------------- recall


def test_recall_by_speaker_and_emotion(plt):
    y_true = ["x", "x", "y", "x", "x", "x"]
    y_pred = ["x", "y", "y", "y", "y", "x"]
    speakers = ["ann"] * 3 + ["bob"] * 3
    figure, axes = plt.subplots(1, 2)
    display = SpeakerRecallDisplay.from_predictions(y_true, y_pred, speakers, ax=axes)
    assert display.figure_ is figure
    np.testing.assert_allclose(display.recall, [[0.5, 1.0], [1 / 3, np.nan]])
    texts = [text.get_text() for text in display.axes_[0].texts]
    assert texts == ["50", "100", "33", ""]
    names = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    assert names == ["ann (75)", "bob (33)"]
    confusion = [text.get_text() for text in display.axes_[1].texts]
    assert confusion == ["40", "60", "0", "100"]


def test_recall_of_a_cross_validation():
    X, y = np.arange(12.0)[:, None], ["x", "y"] * 6
    speakers = np.repeat(["ann", "bob", "cem"], 4)
    result = speaker_cross_validate(DummyClassifier(), X, y, speakers)
    display = _drawn(SpeakerRecallDisplay.from_result(result))
    assert display.confusions.sum() == 12
    np.testing.assert_array_equal(display.confusions.sum(axis=0), result.confusion)


STRANGE = ["_a", "$x", "$5$6", "\\frac{"]


def test_names_are_shown_as_they_are():
    """A $ makes no formula, and a name that starts with _ does not vanish."""
    y = np.repeat(STRANGE, 4)
    speakers = np.tile(["_s", "$t"], 8)
    display = SpeakerRecallDisplay.from_predictions(y, y, speakers)
    rows = [label.get_text() for label in _drawn(display).axes_[0].get_yticklabels()]
    assert rows == ["$t (100)", "_s (100)"]
    Z = np.random.default_rng(0).normal(size=(16, 3))
    display = EmbeddingDisplay.from_embeddings({"$r": Z}, y, speakers)
    texts = _drawn(display).axes_[0, 0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == sorted(STRANGE)
    table = {"$a": {"$b$": 0.5}, "_c": {"$b$": 0.4}}
    _drawn(TransferMatrixDisplay(table, title="$a$ to $").plot())
    _drawn(HistoryDisplay({"$loss$ $": [1, 2]}).plot())
    display = EmotionTimelineDisplay(
        np.full((2, 4), 0.25),
        edges=np.array([0, 1, 2]),
        classes=np.array(STRANGE),
        title="call $1$2.wav",
    )
    texts = _drawn(display.plot()).ax_.get_legend().get_texts()
    assert [text.get_text() for text in texts] == STRANGE
    assert display.ax_.get_title() == "call $1$2.wav"


# ------------------------------------------------------------------------- transfers


def test_the_matrix_is_that_of_the_result():
    y = np.tile(["x", "y"], 12)
    X = np.random.default_rng(0).normal(size=(24, 3)) + (y == "x")[:, None]
    corpora = np.repeat(["a", "b", "c"], 8)
    speakers = np.tile(["ann", "ann", "bob", "bob"], 6)
    data = LogisticRegression(), X, y, corpora, speakers
    result = cross_corpus_validate(*data)
    for display in (
        TransferMatrixDisplay.from_result(result),
        TransferMatrixDisplay.from_estimator(*data),
    ):
        _drawn(display)
        assert display.table == result.table()
        texts = [text.get_text() for text in display.ax_.texts]
        assert texts[0] == texts[4] == texts[8] == "-"
        assert texts[1] == f"{100 * result.table()['a']['b']:.0f}"
        assert "source-only" in display.ax_.get_title()


def test_without_matplotlib_it_says_what_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"plot requires matplotlib"):
        SpeakerRecallDisplay.from_predictions(["x"], ["x"], ["ann"])
