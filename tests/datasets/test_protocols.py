"""Frozen protocols: the same folds and hash, everywhere and always."""

import copy
import hashlib
import json
import pickle
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from sklearn_ser.datasets import Protocol, apply_protocol, list_protocols
from sklearn_ser.datasets.corpora import CORPORA
from sklearn_ser.datasets.protocols import PROTOCOLS
from sklearn_ser.model_selection import check_speaker_leakage, speaker_cross_validate


def _corpus(rows, **more):
    """Return the corpus of rows of a name, an emotion and a speaker."""
    stems, target, speakers = zip(*rows, strict=True)
    data = [f"{stem}.wav" for stem in stems]
    return Bunch(data=data, target=target, speakers=speakers, **more)


def _ravdess():
    emotions = CORPORA["ravdess"].codes["emotion"].items()
    return _corpus(
        (f"03-01-{code}-01-01-01-{actor:02d}", word, f"{actor:02d}")
        for actor in range(1, 25)
        for code, word in emotions
    )


def _emodb():
    rows = [("03a01Wa", "anger"), ("03a02Nc", "neutral"), ("08a01Fd", "happiness")]
    rows += [("16a01Ta", "sadness"), ("16a01La", "boredom")]
    return _corpus((stem, word, stem[:2]) for stem, word in rows)


def _crema_d():
    return _corpus((f"{i}_DFA_ANG_XX", "anger", str(i)) for i in range(1001, 1092))


def _iemocap():
    rows = [
        (f"Ses0{session}F_impro01_{who}000", word, f"Ses0{session}{who}")
        for session in range(1, 6)
        for who, word in (("F", "excitement"), ("M", "anger"))
    ]
    return _corpus(rows, frame={"session": [who[4] for _, _, who in rows]})


@pytest.mark.parametrize(
    ("name", "make", "starts", "sizes"),
    [
        (
            *("ravdess-emobox-6fold", _ravdess),
            "01 11 20 21, 04 10 12 14, 08 09 19 23, "
            "03 05 07 24, 02 15 16 18, 06 13 17 22",
            [32] * 6,
        ),
        (
            *("crema-d-grouped-5fold", _crema_d),
            "1001 1006, 1002 1007, 1003 1008, 1004 1009, 1005 1010",
            [19, 18, 18, 18, 18],
        ),
    ],
)
def test_the_folds_of_emobox_and_actors_dealt_in_turn(name, make, starts, sizes):
    corpus = apply_protocol(name, make())
    folds = [test for _, test in corpus.protocol.split(corpus.data, corpus.target)]
    assert [len(test) for test in folds] == sizes
    for test, start in zip(folds, starts.split(", "), strict=True):
        assert " ".join(np.unique(corpus.speakers[test])).startswith(start)


@pytest.mark.parametrize(
    ("name", "make", "n_folds", "hash"),
    [
        ("ravdess-emobox-6fold", _ravdess, 6, "d243f4dabf7ebea3"),
        ("emodb-loso", _emodb, 3, "5705a4aad7b9f5ec"),
        ("crema-d-grouped-5fold", _crema_d, 5, "35799fe25f90cfc5"),
        ("iemocap-4class-loso", _iemocap, 10, "08f253d448e93e46"),
    ],
)
def test_folds_and_hash_are_pinned(name, make, n_folds, hash):
    corpus = make()
    found = apply_protocol(name, corpus)
    assert found.protocol.hash == hash
    assert found.protocol.get_n_splits() == n_folds
    splits = check_speaker_leakage(found.protocol.split(), found.speakers)
    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested.tolist()) == list(range(len(found.data)))

    order = np.random.default_rng(0).permutation(len(corpus.data))
    shuffled = Bunch(
        data=[f"/elsewhere/{corpus.data[i].upper()}" for i in order],
        target=[corpus.target[i] for i in order],
        speakers=[corpus.speakers[i] for i in order],
        frame={k: [v[i] for i in order] for k, v in corpus.get("frame", {}).items()},
    )
    again = apply_protocol(name, shuffled)
    assert again.protocol.hash == hash
    pairs = zip(found.protocol.split(), again.protocol.split(), strict=True)
    for (_, test), (_, other) in pairs:
        assert sorted(order[other].tolist()) == sorted(test.tolist())


def test_classes_and_folds_of_all_frozen_protocols_are_pinned():
    told = [
        (
            *(name, spec.corpora, sorted(spec.classes.items())),
            *(spec.folds or (), spec.validation, spec.version),
        )
        for name, spec in sorted(PROTOCOLS.items())
    ]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    assert digest.startswith("f50cb7ba61c56548")


def test_the_hash_tells_files_labels_folds_and_validation_apart():
    base = {
        "utterances": ["a", "b", "c"],
        "labels": ["x", "y", "x"],
        "folds": [0, 1, 1],
    }
    changes = [
        {},
        {"utterances": ["a", "b", "d"]},
        {"labels": ["x", "y", "y"]},
        {"folds": [1, 0, 0]},
        {"validation": [[1], [0]]},
        {"validation": [[2], [0]]},
    ]
    hashes = {Protocol("p", **base | change).hash for change in changes}
    assert len(hashes) == len(changes)
    assert Protocol("q", **base, version=2).hash in hashes
    assert Protocol("p", **base | {"folds": [0.0, 1.0, 1.0]}).hash in hashes


@given(st.permutations(range(5)))
def test_the_order_of_rows_does_not_matter(order):
    rows = [("a", "x", 0), ("b", "y", 0), ("c", "x", 1), ("d", "y", 1), ("e", "x", 2)]
    columns = zip(*(rows[i] for i in order), strict=True)
    assert Protocol("p", *columns).hash == "f4db326121ef9b04"


def test_a_protocol_is_a_splitter():
    corpus = apply_protocol("ravdess-emobox-6fold", _ravdess())
    X, y = np.zeros((len(corpus.data), 1)), corpus.target
    scores = cross_validate(DummyClassifier(), X, y, cv=corpus.protocol)["test_score"]
    assert len(scores) == 6
    grid = {"strategy": ["prior", "uniform"]}
    search = GridSearchCV(DummyClassifier(), grid, cv=corpus.protocol).fit(X, y)
    assert search.n_splits_ == 6
    for twin in (
        copy.deepcopy(corpus.protocol),
        pickle.loads(pickle.dumps(corpus.protocol)),
    ):
        assert twin.hash == corpus.protocol.hash
        assert repr(twin) == repr(corpus.protocol)


def test_results_carry_the_hash():
    corpus = apply_protocol("ravdess-emobox-6fold", _ravdess())
    X = np.zeros((len(corpus.data), 1))
    y, who = corpus.target, corpus.speakers
    result = speaker_cross_validate(DummyClassifier(), X, y, who, cv=corpus.protocol)
    assert result.protocol == repr(corpus.protocol)
    assert corpus.protocol.hash in repr(result)
    plain = speaker_cross_validate(DummyClassifier(), X, y, who, cv=3)
    assert plain.protocol is None
    assert "Protocol" not in repr(plain)


class Validating(DummyClassifier):
    """Remembers the rows that it trained on and those that it was to validate on."""

    __metadata_request__fit: ClassVar = {"validation": True}

    def fit(self, X, y, validation=None):
        self.rows_, self.validation_ = np.asarray(X)[:, 0], validation
        return super().fit(X, y)


class Declining(Validating):
    """Knows of validation rows and does not request them."""

    __metadata_request__fit: ClassVar = {"validation": False}


@pytest.fixture
def validated():
    """Five speakers of three rows; two folds validate on the next speaker."""
    speakers = np.random.default_rng(0).permutation(np.repeat([*"abcde"], 3))
    y = np.array(["x", "y", "z"] * 5)
    folds = np.select([speakers == "a", speakers == "b"], [0, 1], -1)
    rows = [f"u{i}" for i in range(15)], y, folds
    validation = [np.flatnonzero(speakers == who) for who in "bc"]
    protocol = Protocol("mine", *rows, validation=validation)

    def fitted(model, cv=protocol, **options):
        """Yield the training rows of each fold, and the model of it."""
        result = speaker_cross_validate(
            model, X, y, speakers, cv=cv, return_estimator=True, **options
        )
        for fold, one in zip(result.folds, result.estimators, strict=True):
            yield fold.train, one

    X = np.arange(15.0)[:, None]
    return Bunch(protocol=protocol, rows=rows, X=X, speakers=speakers, fitted=fitted)


def wrapped(model):
    return make_pipeline(StandardScaler(with_mean=False, with_std=False), model)


@pytest.mark.parametrize("wrap", [lambda model: model, wrapped])
def test_the_validation_rows_of_a_protocol_reach_who_requests_them(validated, wrap):
    for who, (train, model) in zip(
        "bc", validated.fitted(wrap(Validating())), strict=True
    ):
        model = model[-1] if hasattr(model, "steps") else model
        assert model.rows_.tolist() == train.tolist()
        assert model.validation_.dtype == bool
        assert model.validation_.tolist() == (validated.speakers[train] == who).tolist()


def test_a_search_slices_the_validation_rows(validated):
    search = GridSearchCV(Validating(), {}, cv=GroupKFold(2))
    for who, (train, model) in zip("bc", validated.fitted(search), strict=True):
        expected = validated.speakers[train] == who
        assert model.best_estimator_.validation_.tolist() == expected.tolist()


def test_others_train_on_the_validation_rows(validated):
    for train, model in validated.fitted(Declining()):
        assert model.validation_ is None
        assert len(model.rows_) == len(train) == 12
    bare = Protocol("bare", *validated.rows)
    none = Protocol("none", *validated.rows, validation=[[], []])
    for cv in (bare, none, None):
        models = [model for _, model in validated.fitted(Validating(), cv)]
        assert all(model.validation_ is None for model in models)


def test_validation_rows_of_the_caller_come_first(validated):
    mask = validated.speakers == "e"
    for train, model in validated.fitted(Validating(), fit_params={"validation": mask}):
        assert model.validation_.tolist() == mask[train].tolist()


def test_recordings_of_any_form_are_split(validated):
    protocol, X = validated.protocol, validated.X
    expected = [test.tolist() for _, test in protocol.split()]
    waveforms = [np.zeros(100 + i) for i in range(15)]
    sequences = [np.zeros((2, 3 + i)) for i in range(15)]
    mappings = [{"array": wave, "sampling_rate": 16000} for wave in waveforms]
    series, frame = pd.Series(waveforms), pd.DataFrame(X)
    for form in (X, X.tolist(), frame, waveforms, sequences, mappings, series):
        assert [test.tolist() for _, test in protocol.split(form)] == expected


def test_other_rows_are_refused():
    corpus = apply_protocol("emodb-loso", _emodb())
    protocol = corpus.protocol
    with pytest.raises(ValueError, match="X has 3 entries, but the protocol"):
        list(protocol.split(corpus.data[:3]))
    with pytest.raises(ValueError, match=r"X differs from the data of .* row 0 is"):
        list(protocol.split(corpus.data[::-1]))
    with pytest.raises(ValueError, match=r"y differs from the data of .* row 0 is"):
        list(protocol.split(corpus.data, corpus.target[::-1]))
    numbers = np.unique(corpus.target, return_inverse=True)[1]
    assert len(list(protocol.split(corpus.data, numbers))) == 3


def test_a_name_with_an_unknown_code_is_an_utterance_as_it_stands():
    """RAVDESS has no emotion 99, but the caller's labels decide."""
    names = [f"03-01-{emotion}-01-01-01-01.wav" for emotion in ("03", "99")]
    corpus = Bunch(data=names, target=["happiness", "calm"], speakers=["01", "01"])
    protocol = apply_protocol("ravdess-emobox-6fold", corpus).protocol
    assert protocol.get_n_splits() == 1


def test_what_a_protocol_cannot_be_applied_to():
    with pytest.raises(ValueError, match="protocol must be one of"):
        apply_protocol("emodb", _emodb())
    with pytest.raises(ValueError, match=r"Speakers \['03', '08', '16'\] are in no"):
        apply_protocol("crema-d-grouped-5fold", _emodb())
    strange = _emodb() | {"target": ["calm"] * 5}
    with pytest.raises(ValueError, match=r"the corpus has \['calm'\]"):
        apply_protocol("emodb-loso", Bunch(**strange))
    twice = _emodb() | {"data": ["a.wav", "b/A.wav", "c.wav", "d.wav", "e.wav"]}
    with pytest.raises(ValueError, match=r"Several recordings have the names \['a'\]"):
        apply_protocol("emodb-loso", Bunch(**twice))
    with pytest.raises(ValueError, match="needs a column 'session'"):
        apply_protocol("iemocap-4class-loso", _emodb())
    with pytest.raises(ValueError, match="'corpora' with the corpus of each"):
        apply_protocol("didan-emodb-casia", _emodb())
    other = Bunch(**_emodb(), corpora=["emodb"] * 5)
    with pytest.raises(ValueError, match=r"of \['casia'\], not of \['emodb'\]"):
        apply_protocol("casia-loso", other)
    with pytest.raises(ValueError, match="corpus must be one of"):
        list_protocols("EmoDB")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["x"]}, r"same length and not be empty; got \[2, 1, 2\]"),
        ({"data": ["a.wav"]}, r"same length and not be empty; got \[2, 2, 2, 1\]"),
        ({"folds": [0, 2]}, r"must hold the number 0, 1, \.\.\."),
        ({"folds": [0, -7]}, r"must hold the number 0, 1, \.\.\."),
        ({"folds": [[0], [1]]}, r"must hold the number 0, 1, \.\.\."),
        ({"folds": [-1, -1]}, r"must hold the number of at least one test fold"),
        ({"validation": [[1]]}, "must hold the rows of 2 folds, got 1"),
        ({"validation": [[5], [0]]}, r"validation\[0\] must hold training rows"),
        ({"validation": [[0], [0]]}, r"validation\[0\] must hold training rows"),
        ({"utterances": ["a", "A"]}, "Several recordings have the names"),
    ],
)
def test_wrong_protocols_of_ones_own(change, message):
    base = {"utterances": ["a", "b"], "labels": ["x", "y"], "folds": [0, 1]}
    with pytest.raises(ValueError, match=message):
        Protocol("p", **base | change)


def test_what_a_copy_lacks_is_said():
    protocol = apply_protocol("emodb-loso", _emodb()).protocol
    assert protocol.missing["anger"] == (126, 127)
    assert protocol.missing["disgust"] == (46, 46)
    assert "missing='126 of 127 anger, 80 of 81 boredom, 46 of 46 d" in repr(protocol)
    merged = apply_protocol("iemocap-4class-loso", _iemocap()).protocol
    assert merged.missing["happiness"] == (1041 + 595 - 5, 1041 + 595)
    whole = _ravdess()
    whole = {k: [v for v in values for _ in range(8)] for k, values in whole.items()}
    whole["data"] = [f"{i}.wav" for i in range(len(whole["data"]))]
    protocol = apply_protocol("ravdess-emobox-6fold", Bunch(**whole)).protocol
    assert protocol.missing == {}
    assert repr(protocol).endswith(f"n_folds=6, hash='{protocol.hash}')")
    assert pickle.loads(pickle.dumps(merged)).missing == merged.missing


def test_what_a_transfer_lacks_is_said_by_corpus():
    words = ["anger", "happiness", "neutral", "sadness"]
    rows = [(c, w) for c, n in (("emodb", 3), ("casia", 200)) for w in words * n]
    corpora, target = map(np.array, zip(*rows, strict=True))
    names = [f"{i}.wav" for i in range(len(rows))]
    texts = np.array([f"t{i}" for i in range(len(rows))], dtype=object)
    corpus = Bunch(
        data=names, target=target, speakers=names, corpora=corpora, texts=texts
    )
    found = apply_protocol("cross-emodb-casia", corpus)
    assert set(found.protocol.missing) == {f"emodb/{word}" for word in words}
    assert found.protocol.missing["emodb/anger"] == (124, 127)
    assert found.texts.tolist() == texts.tolist()


def test_rows_are_told_apart_by_their_folders():
    # As in CASIA, whose files are numbers.
    data = [f"/x/{who}/angry/201.wav" for who in ("liuchanhg", "wangzhe")]
    corpus = Bunch(data=data, target=["anger"] * 2, speakers=["liuchanhg", "wangzhe"])
    protocol = apply_protocol("casia-loso", corpus).protocol
    assert len(list(protocol.split(data))) == 2
    for wrong in (data[::-1], np.array(data[::-1]), pd.Series(data[::-1])):
        with pytest.raises(ValueError, match="X differs from the data of the protocol"):
            list(protocol.split(wrong))
    flat = [f"/y/{who}_angry_201.flac" for who in corpus.speakers]
    again = apply_protocol("casia-loso", Bunch(**corpus | {"data": flat}))
    assert again.protocol.hash == protocol.hash


def test_the_named_protocols_are_there():
    names = list_protocols()
    assert len(names) == 9 + 6 + 12
    assert {"msp-improv-loso", "didan-casia-enterface05", "cross-emovo-emodb"} < {
        *names
    }
