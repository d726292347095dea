"""An odd or hostile input ends in a sound result or in one clear error.

An error is clear if it is a ValueError, a TypeError or a TrainingDivergedError, and if
its message names the argument. The thorough profile draws five times as many inputs.
Parameters out of range are in test_sequences.py, damaged models in test_persistence.py.
"""

import io
import re
import warnings
from contextlib import contextmanager

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from sklearn_ser import LogMelTransformer
from sklearn_ser._validation import check_column
from sklearn_ser.datasets import load_manifest
from sklearn_ser.datasets._spec import LabelLines, LabelVotes, SpeakerTable
from sklearn_ser.domains import check_mixed_labels, check_sample_domain
from sklearn_ser.exceptions import TrainingDivergedError
from sklearn_ser.features import load_audio
from sklearn_ser.model_selection import check_speaker_leakage
from sklearn_ser.sequences import check_labels, check_sequences, check_speakers

N = 6  # rows of a column
pick = st.sampled_from


def tries(times):
    """Draw a multiple of the examples of the profile."""
    n = times * settings().max_examples
    return settings(max_examples=n, suppress_health_check=list(HealthCheck))


@contextmanager
def one_clear_error(told):
    """Let nothing pass but a short error whose message has the pattern."""
    message = None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            yield
        except (ValueError, TypeError, TrainingDivergedError) as error:
            message = str(error)
    if message is not None:
        assert re.search(told, message), message[:300]
        assert len(message) < 5000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    (folder / "a.wav").touch()
    (folder / "b.wav").touch()
    return folder


def objects(values):
    return np.fromiter(values, object, len(values))


OTHER = [pd.NA, pd.NaT, np.datetime64("2020"), np.float32(1), np.str_("a"), -(2**70)]
OTHER += [None, True, 1j, object(), [1], (), {}, b"a", b"\xff", "\0", "x" * 300]
VALUES = st.one_of(pick(OTHER), st.integers(-2, 2), st.floats(), st.text(max_size=3))
PLAIN = [list("abc"), [0, 1, 2], [0.0, 1.0], [-1, 0, 1], [-1, 1, "a"], [True, False]]
CONTAINERS = [list, tuple, pd.Series, objects, lambda column: objects(column)[:, None]]
CONTAINERS += [iter, lambda column: dict(enumerate(column)), lambda column: [column]]
CONTAINERS += [lambda column: None, lambda column: "abc", lambda column: range(N)]


@st.composite
def columns(draw, n=N):
    """One value a row, mostly of one kind, mostly in a container of columns."""
    n += draw(pick([0, 0, 0, 0, 1]))
    column = draw(st.lists(pick(draw(pick(PLAIN))), min_size=n, max_size=n))
    for row in draw(st.lists(st.integers(0, n - 1), max_size=2)):
        column[row] = draw(VALUES)
    return draw(pick(CONTAINERS if draw(st.booleans()) else CONTAINERS[:2]))(column)


ARRAYS = hnp.arrays(
    pick(["f4", "f8", "f2", ">f4", "i2", "?", "c8", "U1", "M8[s]"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@st.composite
def batches(draw):
    """Sequences of one width, of which one may be odd, or something else."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.one_of(ARRAYS, VALUES, st.lists(VALUES, max_size=3)))
    shapes = st.tuples(st.just(draw(st.integers(1, 3))), st.integers(1, 4))
    sequences = hnp.arrays("f4", shapes, elements=st.floats(-9, 9, width=16))
    X = draw(st.lists(sequences, min_size=1, max_size=4))
    if draw(st.booleans()):
        X[draw(st.integers(0, len(X) - 1))] = draw(st.one_of(ARRAYS, VALUES))
    return draw(pick([list, objects]))(X)


NUMBERS = [0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**63 - 1]


@st.composite
def damaged(draw, whole):
    """Flip bits, cut, overwrite a number, insert or repeat, once or more."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(pick(["flip", "cut", "number", "insert", "repeat"]))
        if kind == "flip":
            data[at : at + 1] = [b ^ draw(st.integers(1, 255)) for b in data[at:][:1]]
        elif kind == "cut":
            del data[at:]
        elif kind == "number":  # mostly in a header
            number = draw(pick(NUMBERS)).to_bytes(8, draw(pick(["little", "big"])))
            number = number.strip(b"\0") or bytes(draw(pick([1, 2, 4, 8])))
            data[at % 64 : at % 64 + len(number)] = number
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=40))
        else:
            data += data[at:][:200]
    return bytes(data)


CELLS = ["./a.wav", "../x/a.wav", "b.wav", "=1+1", '"', '""', '"a', "a,b", "\0", "\r"]
CELLS += ["\ufeff", "e\u0301", "\u200bann", "x" * 250, "x" * 140000, "", " "]
CELLS = st.one_of(pick(CELLS), st.text(max_size=5))


@st.composite
def tables(draw):
    """The bytes of a table in CSV, as some program may write it."""
    rows = ["file speaker emotion note", "a.wav 03 anger x", "b.wav 04 sad y"]
    rows = [row.split() for row in rows] + draw(st.lists(st.lists(CELLS), max_size=1))
    for row in draw(st.lists(st.integers(0, 2), max_size=3)):
        rows[row][draw(st.integers(0, 3))] = draw(CELLS)
    newline, delimiter = draw(pick(["\n", "\r\n", "\r"])), draw(pick(",,;\t"))
    text = newline.join([*map(delimiter.join, rows), ""])
    encoding = draw(pick(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    whole = st.just(text.encode(encoding, errors="replace"))
    return draw(damaged(whole) if draw(st.booleans()) else whole)


MIXED = {"estimator": BaseEstimator()}
COLUMN_CHECKS = {
    "y": lambda column: check_labels(column, N, **MIXED),
    "speakers": lambda column: check_speakers(column, N),
    "domains": lambda column: check_sample_domain(column, np.zeros(N)),
    "domains of y": lambda column: check_sample_domain(
        None, check_mixed_labels(column, N, **MIXED)
    ),
    "any": lambda column: check_column(column, "y")[:N],
}


@pytest.mark.parametrize("what", COLUMN_CHECKS)
@tries(20)
@given(column=columns())
def test_odd_columns(what, column):
    with one_clear_error(r"\by\b|speakers|sample_domain"):
        found = COLUMN_CHECKS[what](column)
        if what == "speakers" and column is None:
            assert found is None
        else:
            assert np.ndim(found) == 1
            assert len(found) == N or what == "any"


ROWS = st.one_of(
    st.lists(st.integers(-1, N + 1), max_size=4),
    st.lists(st.integers(0, N - 1), max_size=4).map(np.array),
    hnp.arrays(bool, N),
    pick([None, "ab", 3]),
)
# The speakers of these sides differ: each has two rows.
WHOLE = st.integers(0, 3).map(lambda k: (range(2 * k), range(2 * k, N)))
SPEAKERS = st.one_of(st.just(list("aabbcc")), columns())
UNLABELLED = st.one_of(st.none(), hnp.arrays(bool, N), pick([[1] * N, "a"]))


@tries(40)
@given(st.lists(WHOLE | st.tuples(ROWS, ROWS), max_size=3), SPEAKERS, UNLABELLED)
def test_odd_splits_never_share_a_speaker(splits, speakers, unlabelled):
    with one_clear_error(r"Fold \d|speakers|splits|unlabelled"):
        found = check_speaker_leakage(splits, speakers, unlabelled=unlabelled)
        names = np.asarray(speakers, dtype=object)
        hidden = np.zeros(N, bool) if unlabelled is None else np.asarray(unlabelled)
        for train, test in found:
            assert not {*names[train[~hidden[train]]]} & {*names[test]}


@tries(40)
@given(batches())
def test_odd_sequences(X):
    with one_clear_error(r"\bX\b"):
        found = check_sequences(X, estimator=BaseEstimator(), reset=True)
        assert len(found) == len(X)
        assert {(x.ndim, x.dtype) for x in found} == {(2, np.dtype("f4"))}
        assert all(np.isfinite(x).all() for x in found)


FORMATS = "PCM_16 WAV FLAC RF64 AIFF CAF W64 NIST, OPUS OGG, VORBIS OGG, PCM_U8 VOC, "
FORMATS += (
    "PCM_24 WAVEX, ULAW AU, FLOAT WAV, GSM610 WAV, IMA_ADPCM WAV, MPEG_LAYER_III MP3"
)
FORMATS = [line.split() for line in FORMATS.split(",")]
FORMATS = [(name, line[0]) for line in FORMATS for name in line[1:]]


def sound_file(what):
    stream, (name, subtype) = io.BytesIO(), what
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 700)
    soundfile.write(stream, wave, 16000, format=name, subtype=subtype)
    return stream.getvalue()


@tries(40)
@given(data=damaged(pick(FORMATS).map(sound_file)))
def test_damaged_audio_files(folder, data):
    (folder / "a.bin").write_bytes(data)
    with one_clear_error(r"^X\[0\] \('"):
        wave = load_audio(folder / "a.bin", name="X[0]")
        assert (wave.dtype, wave.ndim, wave.size > 0) == (np.float32, 1, True)
        assert np.isfinite(wave).all()


WAVES = hnp.arrays(
    pick(["f4", "f8", "f2", ">f4", "i1", "i2", "i8", "u1", "?", "c8"]),
    pick([0, 1, 2, 63, 64, 65, 500, (64, 90), (65, 90), (2, 0), (90, 2)]),
)
RATES = [8000, 16000, 192000, 1, 0.5, 0, -1, 1e6, 1e9, np.nan, "16000", None, True]
OPTIONS = {"normalize": pick([None, "utterance", "level"]), "trim": pick([None, 30])}
OPTIONS |= {"duration": pick([None, 0.02]), "channel": pick(["mean", 0, 1])}


@tries(40)
@given(
    st.one_of(WAVES, VALUES), st.none() | pick(RATES), st.fixed_dictionaries(OPTIONS)
)
def test_odd_waveforms(wave, rate, options):
    recording = wave if rate is None else {"array": wave, "sampling_rate": rate}
    sizes = {"n_mels": 8, "n_fft": 64, "win_length": 64, "hop_length": 32}
    with one_clear_error(r"\bX\b|channel"):
        (x,) = LogMelTransformer(**sizes, **options).transform([recording])
        assert x.ndim == 2
        assert len(x) == 8
        assert x.size > 0
        assert np.isfinite(x).all()


@tries(30)
@given(data=tables())
def test_odd_manifests(folder, data):
    (folder / "corpus.csv").write_bytes(data)
    with one_clear_error("^csv "):
        corpus = load_manifest(folder / "corpus.csv")
        assert 0 < len(corpus.data) == len(corpus.target) == len(corpus.speakers)
        assert len({*map(str, corpus.speakers)}) == len({*corpus.speakers})


LINES = b"[6.29 - 8.23]\tSes01F_F000\tneu\t[2.5, 2.5]\nC-E2:\tAnger; Sad;\t()\n"
LINE = r"\[.+\]\t(?P<utterance>\S+)\t(?P<emotion>\w+)"
RATER = r"(?P<rater>C-\w+):\t(?P<label>.*);\t"
VOTES = {"utterance": (("file",),), "votes": {"anger": ("emotion",)}}
READERS = [
    LabelLines(files="*.txt", line=LINE, rater=RATER),
    LabelVotes(files="*.csv", **VOTES),
    SpeakerTable(files="*.csv", speaker="speaker", columns={"emotion": "gender"}),
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
@tries(10)
@given(data=tables() | damaged(st.just(LINES)))
def test_odd_label_files(folder, reader, data):
    path = folder / "labels.txt"
    path.write_bytes(data)
    with one_clear_error(r"labels\.txt"):
        rows = reader.read(path if isinstance(reader, SpeakerTable) else [path])
        assert all(isinstance(name, str) for name, *_ in rows)


@tries(2)
@given(what=pick(["X", "y", "speakers"]), column=columns(8), value=st.floats(width=32))
def test_fits_on_odd_data(method, what, column, value):
    X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    data = {"y": list("aabbccab"), "speakers": list("sstttsst")}
    if not method.uses_speakers:
        data["sample_domain"] = [1] * 6 + [-1] * 2
    if what == "X":
        X = np.where(np.eye(8, 3) == 1, np.float32(value), X)
    elif what == "y" or method.uses_speakers:
        data[what] = column
    else:
        data["sample_domain"] = column
    with one_clear_error(r"\by\b|speakers|sample_domain|\bX\b|class|loss term"):
        found = method(encoder="pointwise").fit(X, **data).predict_proba(X)
        np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("text", ["3 rows", "y" * 5000])
def test_a_message_without_a_name_or_without_an_end_is_not_clear(text):
    with pytest.raises(AssertionError), one_clear_error("y"):
        raise ValueError(text)
