"""Long recordings: their emotions window by window, or turn by turn."""

import os
from collections.abc import Iterable
from typing import Any, overload

from .turn_sources import Turn, read_turns
from .turns import EmotionTurns, predict_turns
from .windows import (
    EmotionTimeline,
    check_times,
    collect,
    predict_recording,
    recording_name,
)

__all__ = ["EmotionTimeline", "EmotionTurns", "Turn", "emotion_timeline", "read_turns"]

_WINDOW, _WINDOW_OF_TURNS = 3.0, 10.0  # seconds


@overload
def emotion_timeline(
    model: Any, recording: Any, *, window: float | None = ..., hop: float | None = ...
) -> EmotionTimeline: ...


@overload
def emotion_timeline(
    model: Any,
    recording: Any,
    *,
    window: float | None = ...,
    hop: float | None = ...,
    turns: str | os.PathLike | Iterable[tuple],
    enroll: str | None = ...,
    verbose: int = ...,
) -> EmotionTurns: ...


def emotion_timeline(
    model,
    recording,
    *,
    window=None,
    hop=None,
    turns=None,
    enroll=None,
    verbose=0,
):
    """Predict the emotions of a long recording, window by window or turn by turn.

    A file is read in blocks, so an hour needs no more memory than a minute.

    Parameters
    ----------
    model : estimator
        A fitted pipeline, or a search for one, that takes recordings and has
        ``predict_proba``.
    recording : str, PathLike, ndarray of shape (n_times,) or mapping
        A file, a waveform at the sampling rate of the pipeline's first step, or a
        mapping ``{"array": ..., "sampling_rate": ...}``. A file may last a day.
    window : float, default=None
        Length of a window in seconds. Choose about the length of the training
        recordings. None means 3, and 10 with `turns`.
    hop : float, default=None
        Seconds between the starts of two neighbouring windows. None means half a
        window. The last window ends with the recording, or with the turn.
    turns : str, PathLike or list of (start, end, speaker), default=None
        Who talks when: a file that :func:`~sklearn_ser.timeline.read_turns` reads, what
        it returns, or rows of your own. With ``"channels"`` each channel of the
        recording has one speaker, who talks where the channel has more energy than the
        others. A turn longer than a window is predicted in windows, and its
        probabilities are their mean. A turn of less than half a second is joined to a
        turn of the same speaker within one second, or else has no probabilities.
    enroll : {"self"} or None, default=None
        With "self", each speaker is enrolled with its own turns before they are
        predicted, in a copy of the model. The figures are then transductive. With None,
        a speaker whose name the model knows is normalised as that voice, and another
        one as an unknown voice.
    verbose : int, default=0
        With 1, a progress bar counts the windows of turns.

    Returns
    -------
    timeline : EmotionTimeline or EmotionTurns
        ``print(timeline)`` shows a summary, and ``timeline.to_frame()`` has a row for
        each window, or for each turn if there are `turns`.

    Raises
    ------
    TypeError
        If the model has no ``predict_proba``, or `recording` is not a recording. If
        `turns` are neither a file nor rows. If `enroll` is "self" and the model has no
        :class:`SpeakerNormalizer`.
    ValueError
        If `window` is not between 0.1 s and an hour, or `hop` not between 0.01 s and
        `window`. Also if the recording is missing, empty or not finite, or does not
        decode. If a turn is faulty or beyond the recording, the recording of `turns` is
        a segment, or `enroll` needs `turns`. If the model knows a speaker as a number,
        and the name of another one is a word.

    Warns
    -----
    OneSidedEnrollmentWarning
        If five or more turns of a speaker who should enroll itself seem to show mainly
        one emotion. The voice is then not enrolled: it would be worse than none.

    See Also
    --------
    sklearn_ser.inspection.EmotionTimelineDisplay : Draw the windows.
    sklearn_ser.inspection.EmotionTurnsDisplay : Draw the turns.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_ser import LogMelTransformer, emotion_timeline
    >>> from sklearn_ser.baseline import make_baseline
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> corpus = make_emotional_speech(n_speakers=3, n_utterances=4, random_state=0)
    >>> front = LogMelTransformer()
    >>> model = make_pipeline(front, make_baseline(of_frames=True))
    >>> model = model.fit(corpus.data, corpus.target)
    >>> talk = np.concatenate(corpus.data[:8])
    >>> timeline = emotion_timeline(model, talk, window=2, hop=1)
    >>> timeline.probabilities.shape == (len(timeline.starts), 4)
    True
    >>> turns = [(0, 2, "ann"), (2.5, 4, "bob"), (4, 6, "ann")]
    >>> emotion_timeline(model, talk, turns=turns).speakers.tolist()
    ['ann', 'bob', 'ann']
    """
    if enroll not in (None, "self"):
        raise ValueError(f"enroll must be 'self' or None, got {enroll!r}.")
    if turns is None and enroll is not None:
        raise ValueError(f"enroll={enroll!r} needs turns, which say who speaks when.")
    if window is None:
        window = _WINDOW if turns is None else _WINDOW_OF_TURNS
    times = check_times(window, hop)
    if turns is not None:
        options = {"enroll": enroll, "verbose": verbose}
        return predict_turns(model, recording, turns, times, **options)
    found = predict_recording(model, recording, *times)
    return collect(recording_name(recording), model, found)
