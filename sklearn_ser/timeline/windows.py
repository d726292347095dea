"""Windows of a recording: cut, predicted in batches, summed up; voices from them."""

import os
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from sklearn import config_context
from sklearn.pipeline import make_pipeline

from .._validation import import_or_raise
from ..exceptions import OneSidedEnrollmentWarning, SilentRecordingWarning, warn_caller
from ..features._audio_stream import cut_windows, read_blocks
from ..features.audio import times_of
from ..features.speaker_normalizer import MANY, ONE_SIDED, add_voices, variety
from ..pipeline import before_normalizer, find_normalizer, flat_steps
from ..sequences import frame_moments

_RATE = 16000  # of a model that tells none
_KEPT = 2**26  # bytes of features that are not computed again
BATCH = 60.0
"""How many seconds of windows are predicted at once."""

COLUMNS = ("file", "start", "end", "emotion")
"""The columns of a table of windows, in front of the probabilities."""

_COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"),
    *("#999999", "#332288", "#aa4499", "#117733", "#882255"),
)


class EmotionTable:
    """What windows and turns share: rows of times and probabilities, as a table."""

    _columns: tuple[str, ...] = COLUMNS

    def to_frame(self):
        """Return the windows, or the turns, as a table.

        Returns
        -------
        frame : pandas DataFrame
            The columns are ``file``, ``start``, ``end``, ``emotion``, and one for the
            probability of each emotion. Turns also have ``speaker``, ``seconds``,
            ``overlap`` and ``kind``. An emotion with the name of another column, such
            as "start", gets ``p_`` before it.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_or_raise("pandas", "datasets", "to_frame needs")
        columns = *columns_of(self, self._columns), *self.probabilities.T
        names = column_names(self.classes, self._columns)
        return pandas.DataFrame(dict(zip(names, columns, strict=True)))


@dataclass(frozen=True)
class EmotionTimeline(EmotionTable):
    """The probabilities of a recording's emotions over time.

    Each window stands for the time that is nearest to its centre. So overlapping
    windows count no moment twice.

    Attributes
    ----------
    name : str
        The path of the recording, or ``"recording"``.
    starts, ends : ndarray of shape (n_windows,)
        Start and end of each window, in seconds.
    probabilities : ndarray of shape (n_windows, n_classes)
        The probability of each emotion in each window.
    classes : ndarray of shape (n_classes,)
        The emotions, in the order of the columns.

    See Also
    --------
    emotion_timeline : Predict a timeline.
    sklearn_ser.inspection.EmotionTimelineDisplay : Draw a timeline.
    """

    name: str
    starts: np.ndarray
    ends: np.ndarray
    probabilities: np.ndarray
    classes: np.ndarray

    @property
    def emotions(self):
        """The most probable emotion of each window."""
        return self.classes[self.probabilities.argmax(axis=1)]

    @property
    def edges(self):
        """The starts of the times that the windows stand for, and the last end."""
        return edges_of(self.starts, self.ends)

    @property
    def shares(self):
        """The share of the time in which each emotion is the most probable."""
        best = self.probabilities.argmax(axis=1)
        times = np.diff(self.edges)
        return np.bincount(best, times, len(self.classes)) / times.sum()

    @property
    def mean_probabilities(self):
        """The mean probability of each emotion over the time."""
        return np.average(self.probabilities, axis=0, weights=np.diff(self.edges))

    def __str__(self):
        names = ["emotion", *map(str, self.classes)]
        wide = max(map(len, names))
        lines = [
            f"{self.name}: {told_times(self)} in {len(self.starts)} window(s)",
            f"{'emotion':<{wide}}  share of time (%)  mean probability",
        ]
        for i in np.argsort(-self.shares, kind="stable"):
            share, mean = 100 * self.shares[i], self.mean_probabilities[i]
            lines.append(f"{self.classes[i]!s:<{wide}}  {share:17.1f}  {mean:16.2f}")
        return "\n".join(lines)


def check_times(window, hop):
    """Return window and hop in seconds; without `hop`, it is half a window."""
    hop = window / 2 if hop is None else hop
    if not 0.1 <= window <= 3600:
        raise ValueError(f"window must be between 0.1 s and 3600 s, got {window!r}.")
    if not 0.01 <= hop <= window:
        raise ValueError(
            f"hop must be between 0.01 s and the window of {window:g} s, got {hop!r}."
        )
    return window, hop


def colours_of(classes):
    """Return colours that most people who see few of them can tell apart."""
    return list(islice(cycle(_COLOURS), len(classes)))


def column_names(classes, columns=COLUMNS):
    """Return the names of a table's columns; no emotion takes another's name."""
    names = [*columns]
    for emotion in map(str, classes):
        while emotion in names:
            emotion = f"p_{emotion}"
        names.append(emotion)
    return names


def columns_of(timeline, names):
    """Return the first columns of a timeline's table; those of its classes follow.

    `names` are those of the columns, and the attributes have them in the plural.
    """
    plural = {"file": "name", "seconds": "seconds"}
    found = [getattr(timeline, plural.get(name, f"{name}s")) for name in names]
    return [np.full(len(timeline.starts), found[0], object), *found[1:]]


def first_step(model):
    """Return the step of an estimator that takes the recordings."""
    return next(s for s in flat_steps(model) if s not in (None, "passthrough"))


def sampling_rate(model):
    """Return the rate at which the first step of a model reads recordings."""
    return getattr(first_step(model), "sampling_rate", _RATE)


def _channel(model):
    return getattr(first_step(model), "channel", "mean")


def open_recording(model, recording, channel=None):
    """Return a recording's blocks, at the rate and of the channel of a model."""
    channel = _channel(model) if channel is None else channel
    return read_blocks(recording, sampling_rate(model), channel)


def as_recording(model, wave):
    """Return a part of a waveform as a model takes it.

    A first step that takes one channel of several looks for it in each part, too.
    """
    channel = _channel(model)
    n_channels = () if channel == "mean" else (channel + 1,)
    wave = np.broadcast_to(wave, (*n_channels, len(wave)))
    return {"array": wave, "sampling_rate": sampling_rate(model)}


def predict_recording(model, recording, window, hop, speaker=None):
    """Yield what `predict_windows` does; a segment has the times of its file."""
    first, _ = times_of(recording)
    blocks = open_recording(model, recording)
    for start, end, row in predict_windows(model, blocks, window, hop, speaker=speaker):
        yield first + start, first + end, row


def predict_windows(model, blocks, window, hop, *, batch=BATCH, speaker=None):
    """Yield the start and the end of each window in seconds, and its probabilities.

    `batch` is how many seconds of windows are predicted at once, one window at least.
    A `speaker` is passed to the steps that know voices.
    """
    rate = sampling_rate(model)
    spans = cut_windows(blocks, round(window * rate), max(1, round(hop * rate)))
    windows = (((start, end), wave, speaker) for start, end, wave in spans)
    for (start, end), row in predict_parts(model, windows, int(batch // window)):
        yield start / rate, end / rate, row


def predict_parts(model, windows, n_at_once, kept=None):
    """Yield the key of each window, and its probabilities.

    `windows` are keys, samples, and speakers or None. `kept` are what the steps before
    the SpeakerNormalizer make of some windows, by their keys.
    """
    if not hasattr(model, "predict_proba"):
        raise TypeError(
            f"model is a {type(model).__name__} without predict_proba, expected a "
            "fitted pipeline that takes recordings and predicts probabilities."
        )
    called = model
    if kept:
        steps = flat_steps(model)
        called = make_pipeline(*steps[steps.index(find_normalizer(model)) :])
    for keys, waves, speakers in in_batches(windows, n_at_once):
        if kept:
            X = _features(model, keys, waves, speakers, kept)
        else:
            X = [as_recording(model, wave) for wave in waves]
        known = {} if speakers[0] is None else {"speakers": speakers}
        if known:  # a search passes no metadata on
            called = getattr(called, "best_estimator_", called)
        with config_context(enable_metadata_routing=True if known else None), calm():
            rows = called.predict_proba(X, **known)
        yield from zip(keys, rows, strict=True)


def in_batches(windows, n_at_once):
    """Yield lists of keys, samples and speakers, of `n_at_once` windows or one."""
    windows = iter(windows)
    while found := list(islice(windows, max(1, n_at_once))):
        yield map(list, zip(*found, strict=True))


@contextmanager
def calm():
    """Ignore that a window between two turns may be silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SilentRecordingWarning)
        yield


def edges_of(starts, ends):
    """Return the starts of the times that windows stand for, and the last end."""
    centres = (starts + ends) / 2
    return np.r_[starts[0], (centres[1:] + centres[:-1]) / 2, ends[-1]]


def recording_name(recording):
    """Return the path of a recording, or "recording"."""
    path = recording.get("path") if isinstance(recording, Mapping) else recording
    return str(os.fspath(path)) if isinstance(path, str | os.PathLike) else "recording"


def collect(name, model, windows):
    """Return one result with all predicted windows and their probabilities."""
    starts, ends, rows = zip(*windows, strict=True)
    return EmotionTimeline(
        name,
        starts=np.array(starts),
        ends=np.array(ends),
        probabilities=np.array(rows),
        classes=np.asarray(model.classes_),
    )


def told_times(timeline):
    """Return the end of a timeline, and the start of one that is of a segment."""
    start, end = timeline.starts[0], clock(timeline.ends[-1])
    return f"{clock(start)} to {end}" if start else end


def clock(seconds):
    """Return a time as people write it: 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    )


# --- voices that enroll themselves --------------------------------------------------


def enroll_windows(model, windows, n_at_once):
    """Enroll speakers from windows: keys, samples and speakers.

    Return whom it enrolled, and the features of windows by their keys, as many as fit.
    Of the others only the mean and the deviation are held, so an hour needs no more
    memory than a minute.
    """
    moments, names, kept, n_bytes = [], [], {}, 0
    for keys, waves, speakers in in_batches(windows, n_at_once):
        X = _before(model, waves, speakers)
        moments += map(_in_two_frames, X)
        names += speakers
        n_bytes += sum(x.nbytes for x in X)
        if n_bytes <= _KEPT:
            kept |= zip(keys, X, strict=True)
    return enroll_own(model, _as_batch(moments), names) if moments else set(), kept


def enroll_own(model, X, speakers):
    """Enroll speakers with what is predicted of them, and return whom.

    `X` is what comes before the SpeakerNormalizer. Where many turns show mostly one
    emotion, enrolment does harm: it takes the emotion for the voice. Such a speaker is
    not enrolled, and a warning says so. In conversations from emovo, three of four
    speakers with all emotions equally often are enrolled, and one of twenty whose turns
    are neutral to three quarters.
    """
    normalizer = find_normalizer(model)
    before, own = normalizer.speaker_statistics_, set(speakers)
    seen = add_voices(normalizer, X, speakers)
    for name, (_, n_parts, shares) in seen.items():
        if n_parts < MANY or variety(shares) >= ONE_SIDED:
            continue
        own.remove(name)
        if name in before:
            normalizer.speaker_statistics_[name] = before[name]
        else:
            del normalizer.speaker_statistics_[name]
        top = normalizer.emotions_.tolist()[int(np.argmax(shares))]
        warn_caller(
            f"The {n_parts} parts of speaker {name!r} seem to show mostly {top!r}, so "
            "the voice does not enroll itself, and counts as unknown. Recordings of "
            "several emotions would enroll it.",
            OneSidedEnrollmentWarning,
        )
    return own


def _features(model, keys, waves, speakers, kept):
    """Return a batch before the SpeakerNormalizer, of which some rows are `kept`."""
    new = [i for i, key in enumerate(keys) if key not in kept]
    made = iter(())
    if new:
        made = iter(_before(model, [waves[i] for i in new], [speakers[i] for i in new]))
    return _as_batch([kept[key] if key in kept else next(made) for key in keys])


def _before(model, waves, speakers):
    """Return what the steps before the SpeakerNormalizer make of windows."""
    with calm():
        parts = [as_recording(model, wave) for wave in waves]
        return before_normalizer(model, parts, speakers)[1]


def _as_batch(X):
    return np.stack(X) if X[0].ndim == 1 else X


def _in_two_frames(x):
    """Return two frames with the mean and the deviation of all; a vector as it is."""
    x = np.asarray(x)
    if x.ndim == 1:
        return x
    mean, variance = frame_moments(x)
    return np.stack([mean - np.sqrt(variance), mean + np.sqrt(variance)], axis=1)
