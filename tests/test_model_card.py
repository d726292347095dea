"""Model cards and notebooks: what a result says of itself."""

import re
import sys

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate

pytest.importorskip("skops")
from sklearn_ser.model_card import escaped, make_model_card


@pytest.fixture
def evaluated():
    rng = np.random.default_rng(0)
    y = np.tile(["anger", "sadness"], 12)
    X = rng.normal(size=(24, 2)) + (y == "anger")[:, None]
    speakers = np.repeat(["ann", "bob", "cem"], 8)
    model = LogisticRegression().fit(X, y)
    return model, speaker_cross_validate(model, X, y, speakers)


def test_a_card_has_figures_by_speaker_and_gender(evaluated, tmp_path):
    model, result = evaluated
    gender = np.repeat(["female", "male", "male"], 8)
    card = make_model_card(model, result, by={"gender": gender})
    card.save(tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text()
    assert f"Unweighted average recall {100 * result.uar:.1f} %" in text
    for who, uar in result.per_speaker().items():
        shown = f"{100 * uar:.1f}".removesuffix(".0")  # older skops write 50.0 as 50
        assert re.search(rf"\| +{re.escape(who)} +\| +{shown}(\.0)? +\|", text)
    male = gender[result.rows] == "male"
    recalls = [
        np.mean(result.predictions[male & (result.y_true == word)] == word)
        for word in ("anger", "sadness")
    ]
    assert re.search(rf"\| +male +\| +{100 * np.mean(recalls):.1f} +\|", text)
    assert "anger, sadness" in text
    assert "The figure is inductive: no recording of a test speaker" in text
    assert "Do not use it for decisions about people" in text
    assert "without a named protocol" in text


def test_a_card_of_a_pipeline_names_its_parameters(corpus):
    model = make_pipeline(
        LogMelTransformer(n_mels=16), DSNetClassifier(max_epochs=1, random_state=0)
    )
    model.fit(corpus.waveforms, corpus.y, dsnetclassifier__speakers=corpus.speakers)
    text = make_model_card(model).render()
    assert "dsnetclassifier__calibration_weight" in text
    assert "Evaluation" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("$x$ [a](b) `c` *d*", r"\$x\$ \[a\](b) \`c\` \*d\*"),
        ("two\nlines", "two lines"),
        ("lr__max_epochs", "lr__max_epochs"),
        ("_a_", r"\_a\_"),
        ("__b", r"\_\_b"),
        ("R&D", "R&amp;D"),
    ],
)
def test_markdown_shows_names_as_they_are(text, expected):
    assert escaped(text) == expected


def test_no_name_makes_markup_of_a_card():
    y = np.tile(["a|b", "<i>"], 6)
    X = np.arange(12.0)[:, None]
    model = LogisticRegression(class_weight={"a|b": 1, "<i>": 2}).fit(X, y)
    speakers = np.repeat(["x|y", "<b>", "z"], 4)
    result = speaker_cross_validate(model, X, y, speakers)
    by = {"a/b|c": np.tile(["<u>", "v|"], 6)}
    text = make_model_card(model, result, by=by).render()
    assert not re.search("<[biu]>", text)
    assert r"# UAR by a&#47;b\|c" in text.splitlines()
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {3}


def test_a_card_of_transfers():
    y, corpora = ["x", "y"] * 8, np.repeat(["one", "two"], 8)
    speakers = np.tile(np.repeat(["ann", "bob"], 4), 2)
    X = np.arange(16.0)[:, None] % 2
    model = LogisticRegression().fit(X, y)
    result = cross_corpus_validate(model, X, y, corpora, speakers)
    text = make_model_card(model, result).render()
    assert "# UAR by speaker, one to two" in text
    assert "The figure is source-only" in text


def test_a_card_has_more_tables(evaluated):
    tables = {"Left out": {"corpus": ["a|b", "mean"], "raw": ["61.0", "[1, 2]"]}}
    text = make_model_card(evaluated[0], tables=tables).render()
    assert "# Left out" in text.splitlines()
    assert re.search(r"\| +a\\\|b +\| +61\.0 +\|", text)
    uneven = {"Left out": {"corpus": ["a"], "raw": []}}
    with pytest.raises(ValueError, match=r"tables\['Left out'\] has columns of"):
        make_model_card(evaluated[0], tables=uneven)


def test_what_a_card_refuses(evaluated):
    model, result = evaluated
    with pytest.raises(ValueError, match=r"by\['gender'\] must have an entry for each"):
        make_model_card(model, result, by={"gender": ["female"]})
    with pytest.raises(ValueError, match="by needs a result"):
        make_model_card(model, by={"gender": ["female"]})
    with pytest.raises(NotFittedError):
        make_model_card(LogisticRegression(), result)


def test_results_show_as_tables_in_notebooks(evaluated):
    _, result = evaluated
    html = result._repr_html_()
    assert html.count("<tr>") == 1 + 3 + 1
    assert f"{100 * result.uar:.1f}" in html
    y, corpora = ["x", "y"] * 4, np.repeat(["one", "two"], 4)
    speakers = ["ann", "ann", "bob", "bob"] * 2
    data = np.arange(8.0)[:, None], y, corpora, speakers
    found = cross_corpus_validate(DummyClassifier(), *data)
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + 2
    assert "mean of 2" in html


def test_without_skops_the_error_says_what_to_install(evaluated, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.card", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn_ser\[skops\]"'):
        make_model_card(evaluated[0])
