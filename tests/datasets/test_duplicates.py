"""The same audio under other names."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_ser import LogMelTransformer
from sklearn_ser.datasets import find_duplicates
from sklearn_ser.model_selection import (
    check_duplicate_leakage,
    cross_corpus_validate,
    speaker_cross_validate,
)
from sklearn_ser.model_selection._leakage import duplicates_in

MODEL = DummyClassifier()
SHARED = "hold the same audio"


def _validate(model, X, y, speakers, **options):
    return speaker_cross_validate(model, X, y, speakers, n_bootstrap=0, **options)


def _validate_corpora(model, X, y, corpora, speakers):
    return cross_corpus_validate(model, X, y, corpora, speakers, n_bootstrap=0)


def _waves(n, seed=0, n_times=800):
    rng = np.random.default_rng(seed)
    return [rng.integers(-20000, 20000, n_times, dtype=np.int16) for _ in range(n)]


def test_copies_are_found_under_other_names_and_containers(tmp_path):
    one, two = _waves(2)
    soundfile.write(tmp_path / "a.wav", one, 16000)
    soundfile.write(tmp_path / "b.flac", one, 16000)
    soundfile.write(tmp_path / "c.wav", two, 16000)
    soundfile.write(tmp_path / "d.wav", one / 2**15, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "e.wav", np.stack([one, one], 1), 16000)
    paths = [tmp_path / f for f in ("a.wav", "c.wav", "b.flac", "d.wav", "e.wav")]
    batch = [
        *paths,
        one,
        {"array": one, "sampling_rate": 16000},
        {"path": str(tmp_path / "a.wav")},
        one[:-1],
    ]
    assert find_duplicates(batch) == [[0, 2, 3, 4, 5, 6, 7]]
    assert find_duplicates(paths[:2]) == []


def test_other_arrays_are_compared_as_they_are():
    rng = np.random.default_rng(0)
    Z = [rng.normal(size=(80, 5)).astype(np.float32) for _ in range(3)]
    assert find_duplicates([Z[0], Z[1], Z[0].copy(), Z[2]]) == [[0, 2]]
    assert find_duplicates(np.stack([Z[1], Z[2], Z[1]])) == [[0, 2]]
    assert find_duplicates(np.stack([Z[1], Z[1]])[:, 0, :]) == []  # 5 values


def test_silence_and_small_vectors_repeat_by_themselves():
    assert find_duplicates([np.zeros(800), np.zeros(800)]) == []
    assert find_duplicates(np.tile(np.arange(10.0), (4, 1))) == []


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
    st.integers(64, 200),
)
def test_groups_are_those_of_equal_content(which, n_times):
    waves = _waves(4, seed=1, n_times=n_times)
    found = find_duplicates([waves[i] for i in which])
    expected = [[r for r, w in enumerate(which) if w == i] for i in range(4)]
    assert found == sorted(rows for rows in expected if len(rows) > 1)


def test_what_cannot_be_compared(tmp_path):
    with pytest.raises(TypeError, match="recordings must be a list"):
        find_duplicates("a.wav")
    with pytest.raises(TypeError, match="must be a list, got one of type int"):
        find_duplicates(7)
    with pytest.raises(ValueError, match=r"recordings\[1\].*is missing"):
        find_duplicates([np.zeros(99), tmp_path / "none.wav"])
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"recordings\[0\].*does not decode"):
        find_duplicates([tmp_path / "bad.wav"])


def test_a_split_that_shares_a_recording_is_refused(tmp_path):
    one, two = _waves(2)
    for name, wave in ("a", one), ("b", two), ("c", one):
        soundfile.write(tmp_path / f"{name}.wav", wave, 16000)
    paths = [str(tmp_path / f"{name}.wav") for name in "abc"]
    with pytest.raises(ValueError, match=r"Fold 2: rows 0 \(train, .*a.wav'\) and 2"):
        check_duplicate_leakage([([0], [1]), ([0, 1], [2])], paths)
    check_duplicate_leakage([([0, 2], [1])], paths)
    check_duplicate_leakage([([0, 1], [2])], paths, unlabelled=[True, False, False])


def test_evaluations_refuse_duplicates():
    X = [wave[i:] for i, wave in enumerate(_waves(8))]
    y, speakers = ["x", "y"] * 4, np.repeat(["ann", "bob", "cem", "dan"], 2)
    corpora = np.repeat(["one", "two"], 4)
    _validate(MODEL, X, y, speakers)
    _validate_corpora(MODEL, X, y, corpora, speakers)
    X[5] = X[0]
    with pytest.raises(ValueError, match=r"rows 5 \(train\) and 0 \(test\) hold"):
        _validate(MODEL, X, y, speakers)
    with pytest.raises(ValueError, match=r"rows 0 \(train\) and 5 \(test\) hold"):
        _validate_corpora(MODEL, X, y, corpora, speakers)
    # Copies of one speaker's recording stay together.
    _validate(MODEL, X, y, [*"abbccadd"])


def test_masks_and_bad_rows_are_treated_as_by_the_other_check():
    x, z, w = _waves(3)
    mask = np.array([True, True, True, False])
    check_duplicate_leakage([(mask, ~mask)], [x, x, z, w])
    with pytest.raises(ValueError, match="Fold 1: test must hold integers from 0 to 1"):
        check_duplicate_leakage([([0], [9])], [x, z])


@pytest.mark.parametrize("form", [list, iter, pd.Series, np.stack, pd.DataFrame])
def test_recordings_come_in_any_form(form):
    def made(*rows):
        X = form([_waves(2)[row] for row in rows])
        return X.rename(columns=str) if isinstance(X, pd.DataFrame) else X

    assert find_duplicates(made(0, 1, 0, 1)) == [[0, 2], [1, 3]]
    check_duplicate_leakage([([0], [1])], made(0, 1))
    with pytest.raises(ValueError, match=r"rows 0 \(train\) and 2 \(test\) hold"):
        check_duplicate_leakage([([0, 1], [2])], made(0, 1, 0))


def test_the_rate_tells_recordings_apart():
    wave = _waves(1)[0]
    batch = [{"array": wave, "sampling_rate": rate} for rate in (8000, 16000, 8000)]
    assert find_duplicates(batch) == [[0, 2]]


@pytest.mark.parametrize(
    "form", [np.asarray, list, np.ndarray.tolist, lambda X: X[:, :, None], pd.DataFrame]
)
def test_equal_rows_of_a_table_are_no_recording_twice(form):
    row = np.random.default_rng(0).normal(size=100)
    X, y = form(np.stack([row, -row] * 4)), [*"xyxyxyxy"]
    corpora, speakers = np.repeat(["one", "two"], 4), [*"aabbccdd"]
    assert _validate(MODEL, X, y, speakers).wa == 0.5
    assert _validate_corpora(MODEL, X, y, corpora, speakers).uar == 0.5


@pytest.mark.parametrize(
    ("form", "nested"),
    [
        *((form, False) for form in (np.asarray, list, np.ndarray.tolist)),
        (pd.DataFrame, True),
    ],
)
def test_waveforms_of_one_length_are_recordings_where_a_step_takes_them(form, nested):
    X, y, speakers = np.stack(_waves(6)), [*"xyxyxy"], [*"aabbcc"]
    model = make_pipeline(LogMelTransformer(n_mels=8), DummyClassifier())
    if nested:
        model = GridSearchCV(make_pipeline(model), {}, cv=2)
    _validate(model, form(X), y, speakers)
    X[5] = X[0]
    with pytest.raises(ValueError, match=r"rows 5 \(train\) and 0 \(test\) hold"):
        _validate(model, form(X), y, speakers)
    with pytest.raises(ValueError, match=SHARED):
        _validate_corpora(model, form(X), y, [*"000111"], speakers)


@pytest.mark.parametrize("step", [DictVectorizer(), CountVectorizer()])
def test_a_step_that_takes_strings_or_mappings_alone_takes_no_recordings(step):
    X = np.stack(_waves(1) * 3)
    assert not duplicates_in(X, step)
    assert duplicates_in(X, LogMelTransformer())


def test_a_class_among_the_parameters_is_no_step():
    class Holder(BaseEstimator):
        def __init__(self, kind=LogMelTransformer):
            self.kind = kind

    assert not duplicates_in(np.stack(_waves(1) * 3), Holder())


def test_sequences_of_the_same_frames_are_a_recording_twice():
    X = list(np.random.default_rng(0).normal(size=(4, 8, 9)))
    X[2] = X[0]
    for form in (X, np.stack(X)):
        with pytest.raises(ValueError, match=SHARED):
            _validate(MODEL, form, [*"xyxy"], [*"aabb"])


def test_mappings_of_features_are_no_recordings():
    X = [{"pitch": float(i), "energy": 1.0} for i in range(4)]
    _validate(make_pipeline(DictVectorizer(), MODEL), X, [*"xyxy"], [*"aabb"])
    with pytest.raises(TypeError, match=r"recordings\[0\] is a mapping with neither"):
        find_duplicates(X)


def test_what_cannot_be_read_hides_no_others_and_is_left_to_the_estimator():
    class Reads(DummyClassifier):
        def fit(self, X, y):
            raise ValueError("the estimator looked at " + X[0])

    with pytest.raises(ValueError, match="the estimator looked at"):
        _validate(Reads(), [f"/no/{i}.wav" for i in range(4)], [*"xyxy"], [*"aabb"])
    model = make_pipeline(LogMelTransformer(n_mels=8), MODEL)
    one, two = (wave / 2**15 for wave in _waves(2))
    broken = np.where(np.arange(800) == 5, np.nan, two)
    for X, told in (
        ([one, two, "/no/none.wav", one.copy()], "is missing"),
        ([one, broken, two, one.copy()], r"\[1\] contains NaN"),  # of one length
    ):
        with pytest.raises(ValueError, match=SHARED):
            _validate(model, X, [*"xyxy"], [*"aabb"])
        with pytest.raises(ValueError, match=told):
            find_duplicates(X)


def test_what_is_no_audio_has_no_duplicates():
    table = csr_array(np.ones((4, 99)))
    uneven = [[[1.0], [2.0, 3.0]]] * 4
    for X in (table, uneven):
        _validate(MODEL, X, [*"xyxy"], [*"aabb"])


def _parts(source, *times):
    return [{**source, "start": start, "end": end} for start, end in times]


OVERLAPS = {
    "half of the shorter": ([(0, 0.2), (0.1, 0.9)], [[0, 1]]),
    "less": ([(0, 0.2), (0.11, 0.9)], []),
    "neighbours": ([(0, 0.2), (0.2, 0.4), (0.4, None)], []),
    "one inside": ([(0, 0.9), (0.3, 0.4)], [[0, 1]]),
    "the whole": ([(None, None), (0.3, 0.4), (0.5, 0.6)], [[0, 1, 2]]),
    "windows": ([(0, 0.4), (0.5, 0.9), (0.2, 0.6), (0.4, 0.8)], [[0, 1, 2, 3]]),
    "to the end": ([(0.8, None), (0.8, 1), (0, 0.8)], [[0, 1]]),
}


@pytest.mark.parametrize("case", OVERLAPS)
def test_segments_that_overlap_are_one_recording(tmp_path, case):
    times, expected = OVERLAPS[case]
    wave = _waves(1, n_times=16000)[0]
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    source = {"bytes": (tmp_path / "a.wav").read_bytes(), "path": "x.wav"}
    for each in (
        {"path": tmp_path / "a.wav"},
        {"array": wave, "sampling_rate": 16000},
        source,
    ):
        assert find_duplicates(_parts(each, *times)) == expected


def test_a_segment_is_a_copy_of_the_file_with_its_samples(tmp_path):
    wave = _waves(1, n_times=16000)[0]
    soundfile.write(tmp_path / "call.flac", wave, 16000)
    soundfile.write(tmp_path / "turn.wav", wave[4000:8000], 16000)
    (part,) = _parts({"path": tmp_path / "call.flac"}, (0.25, 0.5))
    assert find_duplicates([part, tmp_path / "turn.wav", wave[4000:8000]]) == [
        [0, 1, 2]
    ]
    with pytest.raises(ValueError, match=r"^recordings\[0\] .* is beyond the end"):
        find_duplicates([{**part, "end": 2.0}])
    with pytest.raises(ValueError, match=r"^recordings\[0\] has end=nan"):
        find_duplicates([{**part, "end": np.nan}])


def test_splits_that_share_a_segment_are_refused(tmp_path):
    wave = _waves(1, n_times=16000)[0]
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    parts = _parts({"path": tmp_path / "a.wav"}, (0.5, 0.9), (0, 0.2), (0.1, 0.3))
    check_duplicate_leakage([([0], [1, 2])], parts)
    with pytest.raises(
        ValueError,
        match=r"^Fold 1: rows 1 \(train, '.*a.wav', from 0 s to 0.2 s\) and 2 \(test, "
        r"'.*', from 0.1 s to 0.3 s\) are segments of one recording that overlap",
    ):
        check_duplicate_leakage([([0, 1], [2])], parts)


def test_a_test_on_segments_of_trained_recordings_is_told():
    call, other = (
        {"array": wave, "sampling_rate": 16000} for wave in _waves(2, n_times=16000)
    )
    times = [(0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8)]
    y, speakers = ["a", "b"] * 4, np.repeat(["s1", "s2", "s3", "s4"], 2)
    X = np.arange(8.0)[:, None]
    parts = [*_parts(call, *times), *_parts(other, *times)]
    for recordings, groups, told in (
        (parts, None, True),
        (_waves(8), None, False),
        (parts, np.repeat([0, 1], 4), False),
    ):
        result = _validate(MODEL, X, y, speakers, recordings=recordings, groups=groups)
        heard = [text for text in result.caveats if "other segments train" in text]
        assert [text[:17] for text in heard] == ["8 tested segments"] * told
