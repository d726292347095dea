"""Several corpora as one: names of emotions, speakers that stay apart, weights."""

import numpy as np
import pytest
import soundfile
from sklearn.utils import Bunch

from sklearn_ser.datasets import (
    balanced_weights,
    load_corpora,
    load_corpus,
    load_manifest,
)


def bunch(emotions, speakers="ann", start=0, **more):
    """Return a corpus whose files are not there."""
    n = len(emotions)
    data = [f"/nowhere/{start + i}.wav" for i in range(n)]
    return Bunch(data=data, target=emotions, speakers=[speakers] * n, **more)


@pytest.fixture
def folder(tmp_path):
    """A corpus by its name, and two tables of one name in two folders."""
    wave = np.random.default_rng(0).normal(size=800) / 9
    for stem in ("03a01Wa", "03a02Na", "08b02Fa"):
        soundfile.write(tmp_path / f"{stem}.wav", wave, 16000)
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
        rows = ["datei,speaker,emotion"]
        for i, emotion in enumerate(("Angry", "calm", "joy", "bored")):
            soundfile.write(tmp_path / name / f"{i}.wav", wave, 16000)
            rows.append(f"{i}.wav,03,{emotion}")
        (tmp_path / name / "calls.csv").write_text("\n".join(rows))
    return tmp_path


def test_names_and_tables_are_mixed(folder):
    given = ["EMO-DB", str(folder / "home" / "calls.csv"), folder / "work/calls.csv"]
    corpus = load_corpora(given, folder, columns={"file": "datei"})
    assert list(corpus.channels) == ["emodb", "home/calls", "work/calls"]
    assert corpus.table.splitlines() == [
        "emotion    emodb  home/calls  work/calls",
        "anger      1      1 Angry     1 Angry",
        "boredom    -      1 bored     1 bored",
        "calm       -      1           1",
        "happiness  1      1 joy       1 joy",
        "neutral    1      -           -",
    ]
    assert corpus.table in corpus.DESCR
    assert corpus.target.tolist()[:4] == ["anger", "neutral", "happiness", "anger"]
    assert set(corpus.speakers) == {
        *("emodb/03", "emodb/08", "home/calls/03", "work/calls/03")
    }
    np.testing.assert_array_equal(corpus.frame["corpus"], corpus.corpora)
    np.testing.assert_array_equal(corpus.frame["emotion"], corpus.target)
    assert corpus.frame["original emotion"].tolist()[3] == "Angry"
    assert corpus.frame["speaker"].tolist()[3] == "03"
    lengths = {len(c) for c in (corpus.data, corpus.texts, *corpus.frame.values())}
    assert lengths == {11}
    emodb = load_corpus("emodb", folder)
    assert corpus.data[:3] == emodb.data
    assert corpus.texts.tolist()[:3] == [f"emodb/{text}" for text in emodb.texts]


def test_a_table_in_the_folder_above_has_the_name_of_its_folder(folder, monkeypatch):
    monkeypatch.chdir(folder / "work")
    (folder / "work" / "below").mkdir()
    monkeypatch.chdir("below")
    given = ["../calls.csv", "../../home/calls.csv"]
    corpus = load_corpora(given, columns={"file": "datei"})
    assert list(corpus.channels) == ["work/calls", "home/calls"]


def test_missing_sentences_are_not_one_sentence():
    missing = [float("nan"), None, "", "hello"]
    given = bunch(["anger"] * 4, texts=missing), bunch(["anger"], start=4)
    assert load_corpora(given).texts.tolist() == [*[None] * 3, "corpus 1/hello", None]


@pytest.mark.parametrize(
    "corpora", [("la", "la/m"), ("la/m", "la%2Fm"), ("la", "la/m/ann")]
)
def test_slashes_make_no_two_people_one(corpora):
    """Nor two sentences."""
    names = ["ann", "m/ann", "/ann", "m/ann/ann", ""]
    parts = [
        bunch(["anger"] * 5, start=5 * i, corpora=[corpus] * 5, texts=names)
        | {"speakers": [*names[:4], "m"]}
        for i, corpus in enumerate(corpora)
    ]
    joined = load_corpora([Bunch(**part) for part in parts])
    assert len(set(joined.speakers)) == 10
    assert len(set(joined.texts)) == 9  # those of None are one


def test_calm_is_neutral_only_when_asked():
    given = [bunch(["calm", "anger"]), bunch(["neu", "ANGRY"], start=2)]
    assert load_corpora(given).target.tolist() == ["calm", "anger", "neutral", "anger"]
    corpus = load_corpora(given, rename={"calm": "neutral"})
    assert corpus.target.tolist() == ["neutral", "anger"] * 2
    assert "1 calm" in corpus.table
    by_word = load_corpora(given, rename={"Angry": "bad"})
    assert by_word.target.tolist() == ["calm", "anger", "neutral", "bad"]
    by_name = load_corpora(given, rename={"anger": "bad"})
    assert by_name.target.tolist() == ["calm", "bad", "neutral", "bad"]


def test_spellings_of_an_unknown_emotion_are_one():
    given = [bunch(["Mixed feelings"]), bunch(["mixed  FEELINGS"], start=1)]
    assert set(load_corpora(given).target) == {"Mixed feelings"}


def test_emotions_to_keep_have_any_of_their_names():
    given = [bunch(["happy", "fear"]), bunch(["joy", "calm"], start=2)]
    corpus = load_corpora(given, emotions=iter(["happy"]))
    assert corpus.target.tolist() == ["happiness"] * 2
    assert corpus.data == ["/nowhere/0.wav", "/nowhere/2.wav"]
    assert corpus.table.splitlines()[-1] == "left out   1 fear    1 calm"


def test_channels_are_kept_by_corpus():
    given = [bunch(["x"], channel=0), bunch(["x"], start=1)]
    corpus = load_corpora(given)
    assert corpus.channel == "mean"
    assert corpus.channels == {"corpus 1": 0, "corpus 2": "mean"}


def test_a_loaded_corpus_keeps_its_name(folder):
    given = [load_corpus("emodb", folder), bunch(["anger"])]
    assert list(load_corpora(given).channels) == ["emodb", "corpus 2"]
    joined = load_corpora(given)
    with pytest.raises(ValueError, match=r"corpora\[1\] holds 2 corpora"):
        load_corpora([bunch(["x"], start=9), joined])


TWO = [bunch(["anger"]), bunch(["anger", "fear"], start=1)]


def _with(**column):
    return [TWO[0], Bunch(**TWO[1] | column)]


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ("emodb", {}, TypeError, "corpora must be a list"),
        (TWO[:1], {}, ValueError, "two corpora or more, got 1"),
        ([*TWO, "emobd"], {}, ValueError, "corpora has 'emobd', expected a path"),
        ([*TWO, "no.csv"], {}, ValueError, r"corpora\[2\] must be an existing file"),
        ([*TWO, 3], {}, TypeError, r"corpora\[2\] must be a name, a CorpusSpec, a p"),
        ([TWO[0], TWO[0]], {}, ValueError, r"'/nowhere/0.wav'\) of 'corpus 2' is of"),
        (TWO, {"emotions": ["angr"]}, ValueError, r"emotions has \['angr'\]"),
        (TWO, {"emotions": []}, ValueError, r"emotions has \[\]"),
        (TWO, {"emotions": "anger"}, TypeError, "must be a list of names"),
        (TWO, {"emotions": 3}, TypeError, "must be a list of names, got 3"),
        (TWO, {"emotions": ["fear"]}, ValueError, "'corpus 1' has none of the emo"),
        (TWO, {"rename": {"calm": "x"}}, ValueError, r"rename has \['calm'\], but no"),
        (TWO, {"rename": ["calm"]}, TypeError, "rename must be a dict"),
        (TWO, {"rename": {"fear": 1}}, TypeError, "must map names to names"),
        (TWO, {"rename": {"fear": "a", "FEAR": "b"}}, ValueError, "several spellings"),
        ([TWO[0], Bunch(data=[])], {}, ValueError, "has no target and no speakers"),
        (_with(speakers=["ann"]), {}, ValueError, "speakers of 'corpus 2' has 1 ent"),
        (_with(texts=["a"]), {}, ValueError, "texts of 'corpus 2' has 1 entries"),
        (_with(frame={"a": [3]}), {}, ValueError, r"frame\['a'\] of 'corpus 2' has 1"),
    ],
)
def test_wrong_arguments(given, options, error, message):
    with pytest.raises(error, match=message):
        load_corpora(given, **options)


def test_weights_balance_classes_and_corpora():
    y = np.array(list("aaabaabb"))
    corpora = np.array(["one"] * 4 + ["two"] * 2 + ["three"] * 2)
    weights = balanced_weights(y, corpora)
    assert weights.mean() == pytest.approx(1)
    assert weights[y == "a"].sum() == pytest.approx(weights[y == "b"].sum())
    for emotion, names in (("a", ("one", "two")), ("b", ("one", "three"))):
        sums = [weights[(y == emotion) & (corpora == name)].sum() for name in names]
        assert sums[0] == pytest.approx(sums[1])
    with pytest.raises(ValueError, match="corpora has 1 entries"):
        balanced_weights(y, ["one"])


def test_the_columns_of_a_table_are_not_a_corpus_of_its_own(folder):
    table = folder / "home" / "calls.csv"
    alone = load_manifest(table, columns={"file": "datei"})
    corpus = load_corpora([alone, bunch(["anger"])])
    assert list(corpus.channels) == ["corpus 1", "corpus 2"]
    assert corpus.frame["speaker"].tolist() == ["03"] * 4 + ["ann"]


def test_segments_of_one_recording_are_in_one_corpus():
    first, second = bunch(["anger", "calm"]), bunch(["calm", "anger"], start=1)
    parts = [{"path": "/nowhere/1.wav", "start": i, "end": i + 1} for i in (0, 1)]
    first.data, second.data = parts[:1] * 2, [parts[1], "/nowhere/2.wav"]
    message = r"row 0 \('/nowhere/1.wav', from 1 s to 2 s\) of 'corpus 2' is of a"
    with pytest.raises(ValueError, match=message):
        load_corpora([first, second])


def test_a_new_name_is_not_renamed_itself():
    given = [bunch(["calm", "neutral"]), bunch(["calm"], start=2)]
    for new in ("neutral", "neu"):
        with pytest.raises(ValueError, match="rename has 'neutral' as a new name"):
            load_corpora(given, rename={"calm": new, "neutral": "calm"})
    assert load_corpora(given, rename={"Calm": "calm"}).target[0] == "calm"


def test_one_name_twice_and_names_that_would_share_a_folder_are_refused(folder):
    with pytest.raises(ValueError, match=r"names \['emodb'\] more than once"):
        load_corpora(["emodb", "EmoDB"], folder)
    (folder / "home").rename(folder / "a b")
    (folder / "work").rename(folder / "A-b")
    tables = [folder / name / "calls.csv" for name in ("a b", "A-b")]
    with pytest.raises(ValueError, match=r"\['A-b/calls', 'a b/calls'\] more than"):
        load_corpora(tables, columns={"file": "datei"})
