"""What a result says: its verdict, baseline, doubts, draws and views."""

import csv
import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_ser import SpeakerNormalizer
from sklearn_ser.metrics import uar_score
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate

EMOTIONS = np.array(["anger", "joy", "sadness"])
CORPORA = np.repeat(["casia", "emodb"], 60)
VOICED = make_pipeline(SpeakerNormalizer(), LogisticRegression())


@pytest.fixture(scope="module")
def data():
    """Four speakers of thirty recordings, and three emotions."""
    rng, codes = np.random.default_rng(0), np.arange(120) % 3
    X = rng.normal(size=(120, 4))
    X[np.arange(120), codes] += 2
    return X, EMOTIONS[codes], np.repeat(["ann", "bob", "cem", "dan"], 30)


class Says(ClassifierMixin, BaseEstimator):
    """Predicts the true emotion in some of the rows, which the feature tells."""

    def __init__(self, right=1.0):
        self.right = right

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        codes = X[:, 0].astype(int) + (X[:, 1] >= self.right)
        return EMOTIONS[codes % 3]


class NeverFit(Says):
    def fit(self, X, y):
        pytest.fail("fitted")


def told(data):
    _, y, speakers = data
    shares = np.random.default_rng(0).permutation(120) / 120
    return np.column_stack([np.searchsorted(EMOTIONS, y), shares]), y, speakers


def within(data, model=None, **options):
    model = LogisticRegression() if model is None else model
    return speaker_cross_validate(model, *data, **options)


def transfer(data, model=None, **options):
    X, y, speakers = data
    model = LogisticRegression() if model is None else model
    return cross_corpus_validate(model, X, y, CORPORA, speakers, **options)


# --- the verdict --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "judgement"),
    [
        (0.9, "it beats guessing"),
        (0.0, "it is worse than guessing"),
        (0.33, "the data do not show that it beats guessing"),
    ],
)
@pytest.mark.parametrize("evaluate", [within, transfer])
def test_a_result_opens_with_its_verdict(data, right, judgement, evaluate):
    result = evaluate(told(data), Says(right))
    low, high = (100 * end for end in result.uar_interval)
    first = str(result).splitlines()[0]
    assert first == (
        f"UAR {100 * result.uar:.1f} % [{low:.1f}, {high:.1f}], chance 33.3 %: "
        f"{judgement}."
    )
    assert result.verdict() == [first] == result.to_dict()["verdict"]
    assert result.summary().verdict == (first,)


@pytest.mark.parametrize(
    ("own", "other", "judgement"),
    [
        (0.9, 0.5, "better than the baseline"),
        (0.5, 0.9, "worse than the baseline"),
        (0.5, 0.5, "the data do not show a difference to the baseline"),
    ],
)
@pytest.mark.parametrize("evaluate", [within, transfer])
def test_a_baseline_is_compared_by_speaker(data, own, other, judgement, evaluate):
    result, base = (evaluate(told(data), Says(right)) for right in (own, other))
    both = result.against(base)
    difference = result.uar - base.uar
    said = both.verdict()[1]
    assert said.startswith(f"Baseline {100 * base.uar:.1f} % [")
    assert f", difference {100 * difference:+.1f} points [" in said
    assert said.endswith(f"]: {judgement}.")
    assert str(both).splitlines()[1] == said
    values = both.to_dict()["baseline"]
    assert values["difference"] == pytest.approx(difference)
    low, high = values["difference_interval"]
    assert low <= difference <= high
    parts = both.summary().parts
    assert len(parts) == (1 if evaluate is within else 2)
    for part in parts:
        assert part.baseline.difference == pytest.approx(part.uar - part.baseline.uar)
    if own == other:  # paired, since the spread of either is wider
        assert (low, high) == (0, 0)


def test_a_baseline_of_another_kind_or_of_other_rows_is_refused(data):
    quick = {"n_bootstrap": 0}
    plain = within(data, VOICED, **quick)
    enrolled = within(data, VOICED, enrollment=3, **quick)
    across = transfer(data, **quick)
    for result, base, message in (
        (plain, enrolled, r"kind 'enrolled \(3\)', but result is of the kind 'induct"),
        (enrolled, plain, "kind 'inductive', but result is of the kind 'enrolled"),
        (
            enrolled,
            within(data, VOICED, enrollment="all", **quick),
            "kind 'transductive', but",
        ),
        (plain, within(data, cv=2, **quick), "on the same rows"),
        (plain, across, "same rows as result, a SpeakerCVResult"),
        (across, transfer(data, mode="inductive", **quick), "on the same rows"),
    ):
        with pytest.raises(ValueError, match=message):
            result.against(base)
    texts = np.arange(len(data[1])) % 4
    both = within(data, texts=texts, **quick)
    with pytest.raises(
        ValueError, match="of unheard sentences, but result is of heard"
    ):
        plain.against(both.unheard_texts)
    with pytest.raises(
        ValueError, match="of heard sentences, but result is of unheard"
    ):
        both.unheard_texts.against(plain)
    assert "Baseline" in str(both.against(plain))
    again = within(data, VOICED, enrollment=3, **quick)
    assert "Baseline" in str(enrolled.against(again))


# --- doubts -------------------------------------------------------------------------


def utterances(speakers, y):
    return np.arange(len(y))


def nearly_utterances(speakers, y):
    return np.r_[np.zeros(4, int), np.arange(len(y) - 4)]


def emotions(speakers, y):
    return np.unique(y, return_inverse=True)[1]


def emotions_of_speakers(speakers, y):
    return np.char.add(np.char.add(speakers, " "), y)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (utterances, "120 of 120 speakers have one recording only.*random split"),
        (nearly_utterances, "115 of 116 speakers have one recording only"),
        (emotions, "3 of 3 speakers .* one emotion only"),
        (emotions_of_speakers, "12 of 12 speakers .* one emotion only"),
    ],
)
@pytest.mark.parametrize("by_corpus", [False, True])
def test_a_column_that_names_no_speakers_is_told(data, column, said, by_corpus):
    X, y, speakers = data
    evaluate = transfer if by_corpus else within
    match = "speakers with|recording only" if by_corpus else said
    with pytest.warns(UserWarning, match=match):
        result = evaluate((X, y, column(speakers, y)), DummyClassifier(), n_bootstrap=0)
    assert result.remarks()[0].startswith("speakers: ")
    assert result.caveats[0] in result.summary().remarks
    assert result.caveats[0] in result.to_dict()["remarks"]


@pytest.mark.parametrize("by_corpus", [False, True])
def test_swapped_columns_are_told_before_a_fit(data, by_corpus):
    X, y, speakers = data
    evaluate = transfer if by_corpus else within
    names = np.char.title(y) if by_corpus else y
    with pytest.raises(ValueError, match=r"(?i)speakers holds .* emotions, \['anger'"):
        evaluate((X, speakers, names), NeverFit())
    one = np.where(speakers == "ann", "Joy", speakers)  # which is a name, too
    assert len(evaluate((X, y, one)).remarks()) == len(evaluate(data).remarks())


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("ann b", "ann\u00a0b"),
        ("ann b", "Ann  B"),
        ("ann b", "\uff21nn b"),
        ("O'Neil", "O\u2019Neil"),
        ("spk-1", "spk\u20131"),
        ("01", "1"),
        ("7", "7.0"),
    ],
)
def test_spellings_of_a_speaker_are_told(data, name, twin):
    X, y, speakers = data
    who = np.unique(speakers)
    told = speakers.astype("U9")
    told[speakers == who[0]], told[speakers == who[1]] = name, twin
    with pytest.warns(UserWarning, match="several spellings.*the same voice"):
        result = within((X, y, told))
    assert "1 name(s) have several spellings" in result.remarks()[0]


@pytest.mark.parametrize("twin", ["Anger", "anger\u200b"])
def test_spellings_of_an_emotion_are_told(data, twin):
    X, y, speakers = data
    told = y.astype("U9")
    told[np.flatnonzero(y == "anger")[::2]] = twin
    with pytest.warns(UserWarning, match="y: 1 name.* several .* of its own"):
        result = within((X, told, speakers))
    assert "y: 1 name(s) have several spellings" in result.remarks()[0]


def test_a_corpus_with_one_speaker_is_told(data):
    X, y, speakers = data
    alone = np.where(CORPORA == "emodb", "eve", speakers)
    result = transfer((X, y, alone))
    assert "emodb has one speaker only, emodb/eve" in result.remarks()[0]


@pytest.mark.parametrize("cv", [None, 2])
def test_an_emotion_that_one_speaker_alone_has_is_told_with_its_fold(data, cv):
    X, y, speakers = data
    y = np.where((speakers == "cem") & (y == "joy"), "fear", y)
    result = speaker_cross_validate(LogisticRegression(), X, y, speakers, cv=cv)
    (number,) = [
        i for i, fold in enumerate(result.folds, 1) if "cem" in fold.test_speakers
    ]
    (said,) = result.remarks()
    assert said.startswith(f"Fold {number}: no training recording has the emotion")
    assert "'fear', which only cem has. Its 10 recordings cannot be rec" in said
    assert speaker_cross_validate(LogisticRegression(), *data).remarks() == []


def test_only_one_class_and_chance_are_told(data):
    (said,) = speaker_cross_validate(DummyClassifier(), *data).remarks()
    assert said.startswith("All 120 recordings were predicted as 'anger'")
    found = transfer(data, DummyClassifier()).remarks()
    assert [each.partition(": ")[0] for each in found] == [
        *["casia to emodb"] * 2,
        *["emodb to casia"] * 2,
    ]
    assert found[1].endswith("the data do not show that it beats guessing.")


def test_probabilities_of_a_guess_are_told(data):
    model = LogisticRegression(C=1e-6)
    (said,) = within(data, model).remarks()
    assert said.startswith("No answer has a probability above 33.")
    assert within(data).remarks() == []


# --- draws --------------------------------------------------------------------------


@pytest.mark.parametrize("enrollment", [5, 15])
def test_draws_are_no_recordings(data, enrollment, tmp_path):
    result = speaker_cross_validate(VOICED, *data, enrollment=enrollment)
    n_rows = 3 * 4 * (30 - enrollment)
    assert f"120 recordings, 3 draws: {n_rows} predictions" in str(result)
    (part,) = result.summary().parts
    assert (part.n_recordings, part.n_draws, len(part.rows)) == (120, 3, n_rows)
    assert [group.n_recordings for group in part.groups(part.speakers)] == [30] * 4
    assert [group.n_recordings for group in part.groups(part.y_true)] == [40] * 3
    values = result.to_dict()
    assert [fold["n"] for fold in values["folds"]] == [30] * 4
    assert [values[f"n_{what}"] for what in ("recordings", "draws", "predictions")] == [
        *(120, 3, n_rows)
    ]
    result.save(tmp_path)
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = {(row["row"], row["draw"]) for row in rows}
    assert len(pairs) == len(rows) == n_rows
    for fold, numbers in zip(result.folds, np.split(part.draws, 4), strict=True):
        assert numbers.tolist() == np.repeat([1, 2, 3], 30 - enrollment).tolist()
        for number, enrolled in enumerate(fold.enrolled, 1):
            assert not set(fold.test[numbers == number]) & set(enrolled)


def test_kinds_are_the_numbers_that_were_enrolled(data):
    kept = (data[2] != "dan") | (np.arange(120) < 95)  # five of them
    result = speaker_cross_validate(
        VOICED, *(column[kept] for column in data), enrollment=100
    )
    assert result.kind == "enrolled (2 to 15)"


@pytest.mark.parametrize("copy", [1, 7])  # of the same speaker, of another
@pytest.mark.parametrize("as_features", [False, True])
def test_a_copy_of_an_enrolled_recording_is_not_scored(copy, as_features):
    rng = np.random.default_rng(0)
    waves = list(rng.normal(size=(24, 2, 400)))
    waves[copy] = waves[0]
    X, known = (waves, {})
    if as_features:  # computed before the call
        X, known = rng.normal(size=(24, 3)), {"recordings": [w[0] for w in waves]}
    speakers, y = np.repeat(["ann", "bob", "cem", "dan"], 6), np.tile(["a", "b"], 12)
    cv = [(range(12, 24), range(12)), (range(12), range(12, 24))]
    model = make_pipeline(SpeakerNormalizer(), DummyClassifier())
    pair = rf"Fold 1: rows (0|{copy}) \(enrolled\) and (0|{copy}) \(scored\) hold the"
    with pytest.raises(ValueError, match=pair):
        speaker_cross_validate(model, X, y, speakers, cv=cv, enrollment=3, **known)
    for texts in (None, np.arange(24) // 2 % 3):
        known |= {"enrollment": "all", "texts": texts}
        speaker_cross_validate(model, X, y, speakers, cv=cv, **known)


@pytest.mark.parametrize("evaluate", [within, transfer])
def test_copies_of_recordings_are_found_behind_features(data, evaluate):
    waves = list(np.random.default_rng(0).normal(size=(120, 800)))
    evaluate(data, recordings=waves)
    with pytest.raises(ValueError, match=r"rows .*\b119 .*hold the same audio"):
        evaluate(data, recordings=[*waves[:-1], waves[0]])
    with pytest.raises(ValueError, match="recordings has 3"):
        evaluate(data, recordings=waves[:3])


# --- views --------------------------------------------------------------------------


def test_left_out_classes_and_names_of_corpora_are_told(data):
    X, y, speakers = data
    y = np.where((CORPORA == "emodb") & (y == "joy"), "fear", y)
    result = transfer((X, y, speakers))
    lines = [
        f"{pair} leaves out 40 recordings of classes that not all of its corpora have: "
        "fear (20), joy (20)"
        for pair in ("casia to emodb", "emodb to casia")
    ]
    assert str(result).splitlines()[-2:] == lines
    assert list(result.summary().notes[-2:]) == lines
    left = [each["left_out"] for each in result.to_dict()["transfers"]]
    assert left == [{"fear": 20, "joy": 20}] * 2
    assert "leaves out" not in str(transfer(data))


@pytest.mark.parametrize("by_corpus", [False, True])
def test_a_summary_has_what_a_page_shows(data, by_corpus):
    result = transfer(data) if by_corpus else speaker_cross_validate(VOICED, *data)
    view = result.summary()
    assert view.kind == ("source-only" if by_corpus else "inductive")
    assert f"{view.kind}: {view.about_kind}" in str(result).splitlines()
    assert all("  ".join(row).split() for row in view.table)
    assert view.settings == result.settings
    names = ["casia to emodb", "emodb to casia"] if by_corpus else [""]
    assert [part.name for part in view.parts] == names
    for part in view.parts:
        assert part.uar == uar_score(part.y_true, part.predictions)
        assert part.confusion.sum() == len(part.rows)
        assert part.chance == pytest.approx((1 / 3, 1 / 3))
        (numbers,) = part.pick({"n": np.arange(120)}).values()
        assert numbers.tolist() == part.rows.tolist()
        for group in part.groups(part.speakers):
            own = part.speakers == group.value
            assert group.uar == uar_score(part.y_true[own], part.predictions[own])
    assert [fold.test_speakers for fold in view.folds] == (
        [] if by_corpus else [("ann",), ("bob",), ("cem",), ("dan",)]
    )
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values["kind"] == view.kind


def test_no_column_takes_the_place_of_a_probability(data):
    result = speaker_cross_validate(LogisticRegression(), *data)
    assert {"p_anger", "p_joy", "p_sadness"} < set(result.to_frame())
    for name in ("p_anger", "fold", "prediction"):
        with pytest.raises(ValueError, match=rf"columns \['{name}'\], but"):
            result.to_frame(by={name: np.arange(120)})
