"""Odd and hostile inputs, drawn from a seed, and what must come of them.

A family draws an input and says what to do with it. Doing it gives a sound result or
one clear error: a ValueError or TypeError whose message names the argument. Anything
else is a fault: another exception, a message that names nothing, an unsound result.
`tests/test_fuzz.py` runs some of each family, `benchmarks/fuzz.py` as many as wanted.
"""

import io
import json
import re
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    LogMelTransformer,
    SpeakerAdversarialClassifier,
)
from sklearn_ser._columns import as_column, check_column
from sklearn_ser.baseline import EqualPriorsLDA
from sklearn_ser.datasets import load_manifest
from sklearn_ser.datasets._spec import LabelLines, LabelVotes, SpeakerTable
from sklearn_ser.domain_data import check_mixed_labels, check_sample_domain
from sklearn_ser.exceptions import TrainingDivergedError
from sklearn_ser.features import load_audio
from sklearn_ser.model_selection import check_speaker_leakage
from sklearn_ser.persistence import load, save
from sklearn_ser.sequences import check_labels, check_sequences, check_speakers

ERRORS = (ValueError, TypeError, TrainingDivergedError)
LONGEST_MESSAGE = 5000


class Fault(Exception):
    """Neither a sound result nor a clear error."""


@dataclass(frozen=True)
class Family:
    """A kind of inputs.

    Attributes
    ----------
    draw : callable
        ``draw(rng, folder)`` returns a callable that uses the input and returns None,
        or text that says why the result is unsound.
    told : str
        A regular expression that the message of an error must contain.
    share : float
        Of the inputs of a run.
    """

    draw: object
    told: str
    share: float


def attempt(name, seed, number, folder):
    """Try one input of a family; return "clean" or the name of the error's class.

    Raises
    ------
    Fault
        The message says what happened.
    """
    family = FAMILIES[name]
    index = list(FAMILIES).index(name)
    rng = np.random.default_rng([seed, index, number])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", ResourceWarning)
        use = family.draw(rng, Path(folder))
        try:
            unsound = use()
        except ERRORS as error:
            message = str(error)
            if not re.search(family.told, message) or len(message) > LONGEST_MESSAGE:
                text = message[:300]
                raise Fault(f"unclear {type(error).__name__}: {text}") from error
            return type(error).__name__
        except Exception as error:
            raise Fault(f"raw {type(error).__name__}: {str(error)[:300]}") from error
    if unsound:
        raise Fault(f"unsound: {unsound}")
    return "clean"


def pick(rng, things):
    """Return one of some things, as it is: NumPy would make an array of them."""
    return things[rng.integers(len(things))]


# ------------------------------------------------------------ labels, speakers, domains

ODD = (
    *(
        None,
        np.nan,
        float("inf"),
        -np.inf,
        0,
        1,
        -1,
        2,
        1.5,
        -0.0,
        1e30,
        2**70,
        -(2**40),
    ),
    *("a", "b", "", " ", "nan", "1", "é", "e\u0301", "\0", "x" * 300, b"a", b"\xff"),
    *(True, False, np.bool_(True), np.float32(1), np.int8(3), np.str_("a"), 1j),
    *(Decimal("1"), pd.NA, pd.NaT, np.datetime64("2020-01-01"), object(), [1], (), {}),
)
PLAIN = (
    ["a", "b", "c"],
    [0, 1, 2],
    [0.0, 1.0],
    [-1, 0, 1],
    [-1, 1, "a"],
    [True, False],
)


def draw_column(rng, n):
    """Draw one value a row, mostly of one kind, in some container."""
    pool = pick(rng, PLAIN)
    values = [pick(rng, pool) for _ in range(n)]
    for _ in range(pick(rng, [0, 0, 1, 1, 2])):
        if values:
            values[rng.integers(len(values))] = pick(rng, ODD)
    return draw_container(rng, values)


def draw_container(rng, values):
    """Put values into a container that may or may not be one of columns."""
    kind = rng.integers(16)
    if kind in (0, 1):
        return tuple(values) if kind else pd.Series(values, dtype=object)
    if kind in (2, 3, 4):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array[:, None] if kind == 4 else array
    if kind in (5, 6):
        try:
            return np.array(values)
        except (ValueError, TypeError, OverflowError):
            return values
    if kind == 7:
        strange = (None, 3, "abc", b"ab", 1.5, {}, range(len(values)), iter(values))
        return pick(rng, strange)
    if kind == 8:
        return dict(enumerate(values))
    if kind == 9:
        return [values, values]
    return values


def draw_labels(rng, folder):
    n = int(rng.integers(0, 7))
    column = draw_column(rng, n if rng.random() < 0.9 else n + 1)
    what = rng.integers(5)

    def use():
        if what == 0:
            found = check_labels(column, n, estimator=BaseEstimator())
        elif what == 1:
            found = check_speakers(column, n)
        elif what == 2:
            y = check_mixed_labels(column, n, estimator=BaseEstimator())
            found = check_sample_domain(None, y)
        elif what == 3:
            found = check_sample_domain(column, np.zeros(n))
        else:
            as_column(column, "y")
            found = check_column(column, "y")
            return None if found.ndim == 1 else f"shape {found.shape}"
        if found is None:
            return None if what == 1 and column is None else "None"
        return None if np.shape(found) == (n,) else f"shape {np.shape(found)} of {n}"

    return use


def draw_splits(rng, folder):
    n = int(rng.integers(0, 7))
    speakers = draw_column(rng, n) if rng.random() < 0.3 else list("aabbcc")[:n]

    def part():
        size = rng.integers(0, 4)
        rows = [int(row) for row in rng.integers(-1, n + 1, size)]
        kinds = (rows, np.array(rows), np.array(rows, float), rows[:1], None, "ab")
        mask = rng.random(n) < 0.4
        return mask if rng.random() < 0.4 else pick(rng, kinds)

    def pair():
        if rng.random() < 0.3:
            return part(), part()
        at = 2 * int(rng.integers(4))  # a speaker has two rows
        return list(range(at)), list(range(at, n))

    splits = [pair() for _ in range(rng.integers(0, 4))]
    if sound := rng.random() < 0.3:
        n, speakers = 6, list("aabbcc")
        splits = [([0, 1, 2, 3], [4, 5]), pair()]
    if not sound and rng.random() < 0.1:
        splits = [pick(rng, (None, 3, (), (part(),), "abc"))]
    unlabelled = pick(rng, (None, None, rng.random(n) < 0.5, [1] * n, "a"))

    def use():
        found = check_speaker_leakage(splits, speakers, unlabelled=unlabelled)
        names = np.asarray(speakers, dtype=object)
        hidden = np.zeros(n, bool) if unlabelled is None else np.asarray(unlabelled)
        for train, test in found:
            shared = set(names[train[~hidden[train]]]) & set(names[test])
            if shared:
                return f"{shared} on both sides"
        return None

    return use


# ---------------------------------------------------------------------------- sequences


def draw_sequence(rng, n_features):
    """Draw a sequence, mostly sound."""
    shape = (n_features, int(rng.integers(1, 6)))
    x = rng.normal(size=shape).astype(pick(rng, ["f4", "f4", "f8", "f2", ">f4", "i2"]))
    fault = rng.integers(24)
    if fault == 0:
        x = x.astype(float)
        x[0, 0] = pick(rng, [np.nan, np.inf, 1e30, 1e39, -1e300, 5e-324])
    elif fault == 1:
        other = ((), (0, 3), (3, 0), (2, 3, 4), (n_features + 1, 2), (5,))
        x = np.ones(pick(rng, other), pick(rng, ["f4", "c8", "U1", "O", "M8[s]", "?"]))
    elif fault == 2:
        x = pick(rng, [None, "a.wav", b"", {}, x.tolist(), 3, Path("a"), [[1], [1, 2]]])
    elif fault == 3:
        x = csr_array(x.astype("f4"))
    elif fault == 4:
        x = np.asfortranarray(x)[:, ::-1]
    return x


class Fitted(BaseEstimator):
    n_features_in_ = 3


def draw_sequences(rng, folder):
    n_features = int(rng.integers(1, 5))
    kind = rng.integers(8)
    if kind == 0:
        shape = tuple(rng.integers(0, 5, rng.integers(0, 5)))
        X = rng.normal(size=shape).astype(pick(rng, ["f4", "f8", "i4", "O", "c16"]))
        if X.size and rng.random() < 0.3:
            X.flat[0] = pick(rng, [0, 1, 7])
    elif kind == 1:
        X = pick(rng, [None, 3, "a", b"a", {}, set(), iter([]), [], (), range(3), [[]]])
    else:
        X = [draw_sequence(rng, n_features) for _ in range(rng.integers(1, 5))]
        if kind == 2:
            objects = np.empty(len(X), dtype=object)
            for i, x in enumerate(X):
                objects[i] = x
            X = objects
    reset = bool(rng.random() < 0.6)

    def use():
        found = check_sequences(X, estimator=Fitted(), reset=reset)
        for x in found:
            if x.ndim != 2 or x.dtype != np.float32 or not np.isfinite(x).all():
                return f"{x.dtype} of shape {x.shape}"
        return None if len(found) == len(X) else f"{len(found)} of {len(X)}"

    return use


# -------------------------------------------------------------------------------- audio

AUDIO = {
    "wav": ("WAV", "PCM_16"), "wave": ("WAV", "FLOAT"), "gsm": ("WAV", "GSM610"),
    "adpcm": ("WAV", "IMA_ADPCM"), "wavex": ("WAVEX", "PCM_24"),
    "flac": ("FLAC", "PCM_16"),
    "rf64": ("RF64", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_16"), "au": ("AU", "ULAW"),
    "caf": ("CAF", "PCM_16"), "w64": ("W64", "PCM_16"), "nist": ("NIST", "PCM_16"),
    "voc": ("VOC", "PCM_U8"),
}  # fmt: skip
EXTREME = (0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)


@cache
def whole_file(name):
    """The bytes of a sound file of a format."""
    format, subtype = AUDIO[name]
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 700)
    stream = io.BytesIO()
    soundfile.write(stream, wave, 16000, format=format, subtype=subtype)
    return stream.getvalue()


def damaged(rng, data):
    """Flip, cut, lie, repeat or add, once or more."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data))) if data else 0
        kind = rng.integers(6)
        if kind == 0 and data:
            data[at] ^= 1 << rng.integers(8)
        elif kind == 1:
            del data[at:]
        elif kind in (2, 3):  # a number in the header
            at, width = int(rng.integers(64)), pick(rng, [1, 2, 4, 8])
            order = pick(rng, ["little", "big"])
            value = pick(rng, EXTREME) % 256**width
            data[at : at + width] = value.to_bytes(width, order)
        elif kind == 4:
            data[at:at] = rng.bytes(rng.integers(1, 40))
        else:
            data += data[at : at + 200]
    return bytes(data)


def draw_audio(rng, folder):
    path = folder / "a.bin"
    path.write_bytes(damaged(rng, whole_file(pick(rng, list(AUDIO)))))

    def use():
        wave = load_audio(path, name="X[0]")
        sound = wave.dtype == np.float32 and wave.ndim == 1 and len(wave)
        return (
            None if sound and np.isfinite(wave).all() else f"{wave.dtype} {wave.shape}"
        )

    return use


def draw_waveform(rng, folder):
    """A waveform of extreme values, types, rates, lengths and numbers of channels."""
    n = int(pick(rng, [0, 1, 2, 63, 64, 65, 500]))
    wave = rng.normal(size=n)
    kind = rng.integers(9)
    if kind == 1:
        wave = np.full(n, pick(rng, [0.0, 1.0, -1.0, 0.3, 1e11, 1e13, 1e30, 1e-300]))
    elif kind == 2 and n:
        wave[rng.integers(n)] = pick(rng, [np.nan, np.inf, -np.inf, 1e39, 1e300])
    elif kind == 3:
        wave = np.clip(100 * wave, -1, 1)
    elif kind == 4:
        wave = wave * pick(rng, [5e-324, 1e-45, 1e-38, 1e-20, 1e10]) + pick(rng, [0, 1])
    types = [
        "f4",
        "f8",
        "f2",
        "g",
        ">f4",
        "i1",
        "i2",
        "i4",
        "i8",
        "u1",
        "u2",
        "?",
        "c8",
    ]
    dtype = pick(rng, types) if rng.random() < 0.5 else "f4"
    wave = (wave if np.dtype(dtype).kind in "fc" else 50 * wave).astype(dtype)
    if rng.random() < 0.5:
        channels = int(pick(rng, [1, 2, 32, 64, 65]))
        rates = (
            8000,
            16000,
            192000,
            1,
            0.5,
            0,
            -1,
            1e6,
            1e9,
            np.nan,
            "16000",
            None,
            True,
        )
        wave = np.tile(wave, (channels, 1)) if rng.random() < 0.6 else wave
        wave = {"array": wave, "sampling_rate": pick(rng, rates)}
    elif rng.random() < 0.1:
        wave = pick(rng, [wave.tolist(), wave[:, None], None, 3, "", b"", {}, [["a"]]])
    options = {
        "normalize": pick(rng, [None, "utterance", "level"]),
        "trim": pick(rng, [None, 30]),
        "duration": pick(rng, [None, 0.02]),
        "channel": pick(rng, ["mean", "mean", 0, 1]),
    }
    sizes = {"n_mels": 8, "n_fft": 64, "win_length": 64, "hop_length": 32}

    def use():
        found = LogMelTransformer(**sizes, **options).transform([wave])
        x = np.asarray(found[0])
        sound = x.ndim == 2 and len(x) == 8 and x.shape[1] and np.isfinite(x).all()
        return None if sound else f"{x.dtype} of shape {x.shape}"

    return use


# ------------------------------------------------------------- tables and label files

CELLS = (
    *("a.wav", "b.wav", "./a.wav", "../x/a.wav", "/etc/passwd", "c.wav", "", " ", "\0"),
    *(
        "03",
        "ann",
        "ANN",
        "e\u0301",
        "é",
        "\u200bann",
        "=1+1",
        '"',
        '""',
        '"a',
        "a,b",
        "'",
    ),
    *("anger", "x" * 250, "x" * 140000, "\r", "\ufeff", "\u2028", "a" * 5000 + ".wav"),
)


def draw_table(rng):
    """The bytes of a table in CSV."""
    names = ["file", "speaker", "emotion", "note"]
    if rng.random() < 0.3:
        names[rng.integers(4)] = pick(rng, [*names, "FILE ", "", "é", "\0", "x" * 300])
    rows = [names, ["a.wav", "03", "anger", ""], ["b.wav", "04", "sad", '"long, note"']]
    for _ in range(pick(rng, [0, 0, 1, 2, 3])):
        row = rows[rng.integers(len(rows))]
        if row:
            row[rng.integers(len(row))] = str(pick(rng, CELLS))
    if rng.random() < 0.1:
        rows.append([str(pick(rng, CELLS)) for _ in range(pick(rng, [0, 1, 5, 3000]))])
    newline = pick(rng, ["\n", "\n", "\r\n", "\r"])
    delimiter = pick(rng, [",", ",", ",", ";", "\t"])
    text = newline.join(delimiter.join(row) for row in rows) + newline
    encoding = pick(rng, ["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
    data = text.encode(encoding, errors="replace")
    return damaged(rng, data) if rng.random() < 0.3 else data


def draw_manifest(rng, folder):
    for name in ("a.wav", "b.wav"):
        if not (folder / name).exists():
            (folder / name).touch()
    path = folder / "corpus.csv"
    path.write_bytes(draw_table(rng))

    def use():
        corpus = load_manifest(path)
        n = len(corpus.data)
        sound = n and len(corpus.target) == len(corpus.speakers) == n
        same = len(set(map(str, corpus.speakers))) == len(set(corpus.speakers.tolist()))
        return None if sound and same else f"{n} rows"

    return use


LABELS = (
    "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"
    "[6.29 - 8.23]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n"
    "C-E2:\tNeutral;\t()\nC-E3:\tAnger; Sadness;\t()\n"
)
READERS = (
    LabelLines(
        files="*.txt",
        line=r"\[.+\]\t(?P<utterance>\S+)\t(?P<emotion>\w+)",
        rater=r"(?P<rater>C-\w+):\t(?P<label>.*);\t",
    ),
    LabelVotes(files="*.csv", utterance=(("file",),), votes={"anger": ("emotion",)}),
    SpeakerTable(files="*.csv", speaker="speaker", columns={"emotion": "gender"}),
)


def draw_label_file(rng, folder):
    path = folder / "labels.txt"
    kind = int(rng.integers(3))
    data = draw_table(rng) if kind else damaged(rng, LABELS.encode())
    path.write_bytes(data)

    def use():
        reader = READERS[kind]
        for name, *_ in reader.read(path if kind == 2 else [path]):
            if not isinstance(name, str):
                return f"an utterance {name!r}"
        return None

    return use


# --------------------------------------------------------------------- saved models

NAMES = (
    *(
        "../../evil.npy",
        "/etc/passwd",
        "schema.json",
        "0.npy",
        "\\\\host\\x",
        "a" * 300,
    ),
    *("os.system", "builtins.eval", "sklearn_ser.cli.main", "sklearn.base.clone"),
)


@cache
def whole_model():
    """The parts of a saved model, and the words of its schema."""
    X = np.random.default_rng(0).normal(size=(20, 3))
    model = make_pipeline(StandardScaler(), EqualPriorsLDA()).fit(X, np.arange(20) % 2)
    stream = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.skops")
        save(model, path)
        stream.write(path.read_bytes())
    with zipfile.ZipFile(stream) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = parts["schema.json"].decode()
    words = sorted({*re.findall(r'"[^"]+"|\d+|null|true|false|[{}\[\]]', schema)})
    return stream.getvalue(), parts, [*words, *map(json.dumps, NAMES), "1e400", "NaN"]


def draw_model(rng, folder):
    path = folder / "model.skops"
    data, parts, words = whole_model()
    kind = rng.integers(5)
    if kind == 0:
        data = damaged(rng, data)
    else:
        parts = dict(parts)
        if kind == 4:
            name = pick(rng, [name for name in parts if name != "schema.json"])
            parts[name] = damaged(rng, parts[name])
        else:
            schema = parts["schema.json"].decode()
            for _ in range(rng.integers(1, 4)):
                old, new = pick(rng, words), pick(rng, words)
                count = int(pick(rng, [1, 1, -1]))
                schema = schema.replace(old, new, count)
            parts["schema.json"] = schema.encode()
        if rng.random() < 0.2:
            parts[str(pick(rng, NAMES))] = bytes(int(pick(rng, [0, 10, 2**22])))
        stream = io.BytesIO()
        method = pick(rng, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
        data = stream.getvalue()
    path.write_bytes(data)

    def use():
        model = load(path)
        return None if isinstance(model, BaseEstimator) else f"a {type(model)}"

    return use


# ------------------------------------------------------------------------- estimators

QUICK = {"max_epochs": 1, "batch_size": 8, "random_state": 0, "encoder": "pointwise"}
PARAMETERS = {
    "lr": (1e-3, 1e30, 0, -1, np.nan, "a", None),
    "batch_size": (2, 1, 0, 8.0, None),
    "weight_decay": (0, 1e30, -1),
    "class_weight": (None, {"a": 0}, {"a": 1e30}, "even", {}),
    "validation_fraction": (None, 0.5, 0.999, 1, 0),
    "feature_noise": (0, 1e30, np.inf),
    "encoder": ("pointwise", "lstm", None, 3, "statistics"),
    "device": ("cpu", "tpu", "cuda:99", 3),
    "random_state": (0, None, -1, "a"),
}


def draw_estimator(rng, folder):
    n = 8
    X = rng.normal(size=(n, 3)).astype(np.float32)
    if rng.random() < 0.3:
        X[rng.integers(n), 0] = pick(rng, [np.nan, np.inf, 1e30, 1e38, 1e-40])
    cls = pick(rng, (DSNetClassifier, SpeakerAdversarialClassifier, DIDANDomainAdapter))
    columns = {"y": list("aabbccab")}
    if rng.random() < 0.5:
        columns["y"] = draw_column(rng, n)
    if rng.random() < 0.7:
        sound = list("sstttsst")
        columns["speakers"] = draw_column(rng, n) if rng.random() < 0.5 else sound
    if rng.random() < 0.2:
        weights = (
            [1.0] * n,
            [0] * n,
            [-1] * n,
            [1e30] + [1] * (n - 1),
            "a",
            [np.nan] * n,
        )
        columns["sample_weight"] = pick(rng, weights)
    if rng.random() < 0.1:
        columns["validation"] = pick(
            rng, ([True] * n, [False] * n, [1] * n, rng.random(n) < 0.4)
        )
    if cls is DIDANDomainAdapter and rng.random() < 0.8:
        sound = [1, 1, 1, 1, 1, 1, -1, -1]
        odd = rng.random() < 0.3
        columns["sample_domain"] = draw_column(rng, n) if odd else sound
    params = dict(QUICK)
    if rng.random() < 0.3:
        name = pick(rng, list(PARAMETERS))
        params[name] = pick(rng, PARAMETERS[name])

    def use():
        model = cls(**params).fit(X, **columns)
        found = model.predict_proba(X)
        sound = np.isfinite(found).all() and np.allclose(found.sum(axis=1), 1)
        return None if sound else f"probabilities {found[:2].tolist()}"

    return use


ANY_COLUMN = r"\by\b|speakers|sample_domain"
FAMILIES = {
    "labels, speakers, domains": Family(draw_labels, ANY_COLUMN, 0.60),
    "splits": Family(draw_splits, r"Fold \d|speakers|splits|unlabelled", 0.09),
    "sequences": Family(draw_sequences, r"\bX\b", 0.20),
    "audio files": Family(draw_audio, r"^X\[0\] \('", 0.06),
    "waveforms": Family(draw_waveform, r"\bX\b|channel", 0.01),
    "manifests": Family(draw_manifest, r"^csv ", 0.02),
    "label files": Family(draw_label_file, r"labels\.txt", 0.016),
    "saved models": Family(draw_model, r"model\.skops", 0.002),
    "fits": Family(
        draw_estimator, rf"{ANY_COLUMN}|\bX\b|{'|'.join(PARAMETERS)}|sample_weight|"
        "validation|class|loss term", 0.002,
    ),
}  # fmt: skip
