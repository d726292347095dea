"""What a result is written to: a frame, JSON, CSV and one page of HTML."""

import csv
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from sklearn_ser.baseline import EqualPriorsLDA
from sklearn_ser.datasets import Protocol
from sklearn_ser.metrics import uar_score
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate
from sklearn_ser.report import make_report

EMOTIONS = np.array(["=anger", "<joy>", "sadness"])


@pytest.fixture(scope="module")
def data():
    """Sixty rows of five speakers, with names that HTML and spreadsheets may read."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    X = rng.normal(size=(60, 4))
    X[np.arange(60), codes] += 1.5
    return X, EMOTIONS[codes], np.repeat(["ann", "bob", "cem", "-dan", "eve"], 12)


@pytest.fixture(scope="module")
def result(data):
    return speaker_cross_validate(LogisticRegression(), *data)


@pytest.fixture(scope="module")
def transfers(data):
    X, y, speakers = data
    corpora = np.tile(["east", "west"], 30)
    y = np.where((corpora == "west") & (np.arange(60) > 50), "fear", y)
    return cross_corpus_validate(LogisticRegression(), X, y, corpora, speakers)


class Page(HTMLParser):
    """Refuses tags that do not match; collects the text and what is fetched."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.fetched, self.tags = [], [], [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        self.fetched += [values[k] for k in ("src", "href") if k in values]
        if tag not in ("meta", "br", "rect", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def __contains__(self, text):
        return text in " ".join(" ".join(self.text).split())


# --- values -------------------------------------------------------------------------


def test_frame_of_folds(result, data):
    frame = result.to_frame(by={"text": np.arange(60) % 7})
    names = ["row", "fold", "speaker", "y_true", "prediction", "text"]
    assert list(frame) == [*names, "p_<joy>", "p_=anger", "p_sadness"]
    np.testing.assert_array_equal(frame["y_true"], data[1][frame["row"]])
    np.testing.assert_array_equal(frame["text"], frame["row"] % 7)
    for number, rows in frame.groupby("fold"):
        fold = result.folds[number - 1]
        assert rows["row"].tolist() == fold.test.tolist()
        assert uar_score(rows["y_true"], rows["prediction"]) == fold.uar
    np.testing.assert_allclose(frame[list(frame)[-3:]].sum(axis=1), 1)


def test_frame_of_transfers(transfers):
    frame = transfers.to_frame()
    assert list(frame)[:6] == [
        *("row", "source", "target", "speaker", "y_true", "prediction")
    ]
    for transfer in transfers.transfers:
        rows = frame[frame["target"] == transfer.target]
        assert rows["row"].tolist() == transfer.test.tolist()
        assert uar_score(rows["y_true"], rows["prediction"]) == transfer.uar
        known = rows[[f"p_{name}" for name in transfer.classes]]
        np.testing.assert_array_equal(known, transfer.probabilities)


@pytest.mark.parametrize("kind", ["result", "transfers"])
def test_dicts_are_json(kind, request):
    result = request.getfixturevalue(kind)
    values = result.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["uar"] == result.uar
    assert values["uar_interval"] == list(result.uar_interval)
    assert values["settings"]["estimator.C"] == "1.0"
    assert values["settings"]["version of numpy"] == np.__version__
    assert values["settings"]["random_state"] == "0"


def test_dict_of_folds(result, data):
    values = result.to_dict()
    assert values["chance"] == {"uar": 1 / 3, "wa": 1 / 3}
    assert values["confusion"] == result.confusion.tolist()
    assert values["per_speaker"] == result.per_speaker()
    assert [fold["speakers"] for fold in values["folds"]] == [
        fold.test_speakers.tolist() for fold in result.folds
    ]
    assert values["protocol"] is None


def test_a_dict_tells_the_protocol_and_what_is_not_known(data):
    protocol = Protocol("mine", list(map(str, range(60))), data[1], np.arange(60) // 12)
    result = speaker_cross_validate(LinearSVC(), *data, cv=protocol, n_bootstrap=0)
    values = result.to_dict()
    assert f"hash='{protocol.hash}'" in values["protocol"]
    assert values["uar_interval"] == [None, None]
    assert list(result.to_frame())[-1] == "prediction"  # it has no probabilities
    assert "Calibration" not in Page(make_report(result))


def test_saved_cells_are_no_formulas(result, tmp_path):
    files = np.array([f"@{i}.wav" for i in range(60)], dtype=object)
    result.save(tmp_path / "new" / "folder", by={"file": files})
    (folder,) = tmp_path.glob("new/folder")
    assert json.loads((folder / "result.json").read_text()) == result.to_dict()
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    for row in rows:
        texts = row["speaker"], row["y_true"], row["prediction"], row["file"]
        assert not any(text.startswith(("=", "+", "-", "@")) for text in texts)
    assert {row["speaker"] for row in rows} == {"ann", "bob", "cem", "'-dan", "eve"}
    shares = [float(row["p_sadness"]) for row in rows]
    np.testing.assert_array_equal(shares, result.probabilities[:, 2])


def test_bad_columns_are_refused(result):
    with pytest.raises(ValueError, match=r"by\['text'\] must have .* 60; got 3"):
        result.to_frame(by={"text": [1, 2, 3]})


def test_without_pandas_it_is_told(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"sklearn_ser\[datasets\]"):
        result.to_frame()


# --- the page -----------------------------------------------------------------------


def test_the_page(result, data):
    base = speaker_cross_validate(EqualPriorsLDA(), *data)
    by = {"gender": np.where(data[2] < "c", "f", "m"), "id": np.arange(60)}
    by |= {"<u>": np.tile(["<i>", "|"], 30)}
    text = make_report(result, title="<q>", what="A <b> & c", baseline=base, by=by)
    page = Page(text)
    assert result.remarks() == []
    assert page.fetched == []
    assert "http" not in text
    for said in (
        *("<q>", "A <b> & c", "By <u>", "<i>"),
        "Baseline ",
        "points [",
        f"{100 * result.uar:.1f}%",
        f"[{100 * result.uar_interval[0]:.1f}, {100 * result.uar_interval[1]:.1f}]",
        "chance 33.3%",
        f"UAR of the linear baseline {100 * base.uar:.1f}%",
        "baseline UAR %",
        "By speaker",
        "By gender",
        "expected calibration error",
        "Do not use it for decisions about people",
        "estimator.C",
    ):
        assert said in page, said
    assert "By id" not in page  # more values than can be read
    assert "Training" not in page
    assert not {"joy", "q", "u"} & page.tags
    assert text.count("prefers-color-scheme: dark") == 1
    for count in result.confusion.ravel():
        assert f"<small>{count}</small>" in text


def test_calibration_is_right():
    y = np.array(["a", "b"] * 10)
    result = speaker_cross_validate(
        LogisticRegression(), np.arange(20)[:, None], y, np.repeat([1, 2], 10)
    )
    p = np.tile([0.85, 0.15], (20, 1))
    fixed = replace(result, probabilities=p, predictions=np.full(20, "a"))
    page = Page(make_report(fixed))
    assert "expected calibration error is 35.0 points" in page
    assert "probability of 85.0%, and 50.0% of them were right: the model was" in page
    assert "was too sure. " in page
    for share, said in (0.6, "not sure enough"), (0.85, "about as sure as it was"):
        changed = replace(fixed, probabilities=np.tile([share, 1 - share], (20, 1)))
        hits = np.where(np.arange(20) < 17, y, np.where(y == "a", "b", "a"))
        page_of_hits = Page(make_report(replace(changed, predictions=hits)))
        assert f"the model was {said}" in page_of_hits
    assert "80–90% 20 85.0 50.0" in page


def test_mistakes_are_named_and_played(result, paths, corpus):
    lengths = [[len(wave)] for wave in corpus.waveforms]
    result = speaker_cross_validate(
        LogisticRegression(), lengths, corpus.y, corpus.speakers
    )
    text = make_report(result, recordings=paths, audio=True)
    page = Page(text)
    wrong = np.flatnonzero(result.predictions != result.y_true)
    worst = wrong[result.probabilities[wrong].max(axis=1).argmax()]
    mistakes = " ".join(page.text).partition("Most confident mistakes")[2]
    names = re.findall(r"\d\d\.wav", mistakes)
    assert names[0] == f"{result.rows[worst]:02d}.wav"
    assert len(page.fetched) == len(names) == min(10, len(wrong))
    assert all(src.startswith("data:audio/wav;base64,") for src in page.fetched)
    assert not Page(make_report(result, recordings=paths)).fetched
    parts = [{"path": path, "start": 0, "end": 0.25} for path in paths]
    assert f"{names[0]} from 0 s to 0.25 s" in make_report(result, recordings=parts)
    for index in (np.random.default_rng(0).permutation(len(paths)), map(str, paths)):
        series = pd.Series([*map(str, paths)], index=list(index))
        assert make_report(result, recordings=series, audio=True) == text


def test_training_is_drawn(result):
    history = [{"epoch": i, "train_loss": 1 / i} for i in (1, 2, 3)]
    folds = tuple(fold._replace(history=history) for fold in result.folds)
    text = make_report(replace(result, folds=folds))
    assert text.count("<polyline") == 5
    assert "train_loss" in Page(text)


def test_a_page_of_transfers(transfers):
    page = Page(make_report(transfers))
    for said in ("source-only", "Confusion: east to west", "Calibration: west to east"):
        assert said in page


def test_a_page_tells_that_one_class_was_predicted(data):
    page = Page(make_report(speaker_cross_validate(DummyClassifier(), *data)))
    assert "predicted one class only" in page
    assert "chance 33.3 %: the data do not show that it beats guessing" in page


def test_bad_recordings_are_refused(result):
    with pytest.raises(ValueError, match="audio=True needs recordings"):
        make_report(result, audio=True)
    with pytest.raises(ValueError, match="at least 60; got 1"):
        make_report(result, recordings=["a.wav"])


def test_a_browser_shows_it(browse, result, data, tmp_path):
    base = speaker_cross_validate(EqualPriorsLDA(), *data)
    result.to_html(tmp_path / "report.html", baseline=base)
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<iframe id="f" src="report.html" width="400" height="800"></iframe><script>'
        "f.onload = () => { const d = f.contentDocument.documentElement;"
        "document.title = d.scrollWidth + ' of ' + d.clientWidth }</script>"
    )
    title = re.search(r"<title>(\d+) of (\d+)", browse(frame))
    width, room = title.groups()
    assert 300 < int(width) <= int(room) <= 400  # nothing reaches beyond the page
