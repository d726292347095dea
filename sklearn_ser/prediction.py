"""A table of recordings in, a table of their emotions out, in parts and processes."""

import os
import pickle
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, lru_cache, partial
from itertools import chain
from typing import Any

from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

from ._jobs import KILLED, in_parallel
from ._validation import import_or_raise, is_missing
from .features import SpeechModelTransformer
from .features.audio import as_segment
from .persistence import load
from .pipeline import flat_steps, has_normalizer
from .timeline.windows import check_times, column_names, predict_recording

try:
    import cloudpickle
except ImportError:  # joblib had a copy inside before it required the package
    from joblib.externals import cloudpickle

PART = 100
"""Recordings of a part at most. What is not finished when a run ends is done again."""

_DEADLY = 10  # recordings in a row that kill their processes, before any is predicted
_PARTS = 4  # for each worker, so that none waits long for the last one
_NO_TABLE = "recordings is a {}, expected a table with the column file, or a list."


def predict_table(
    model: Any,
    recordings: Any,
    *,
    window: float = 10.0,
    hop: float | None = None,
    n_jobs: int | None = None,
) -> Any:
    """Predict the emotions of a table of recordings, as another table.

    Each recording is predicted by itself: its rows are the same, to the bit, in every
    table, in every order and on every number of processes. So Ray Data's
    ``map_batches`` and Spark's ``mapInPandas`` can call the function with a part of an
    archive at a time.

    Parameters
    ----------
    model : estimator, str or PathLike
        A fitted pipeline, or a search for one, that takes recordings and has
        ``predict_proba``; or the path of a saved one, which each process loads once.
    recordings : DataFrame, mapping of columns, or list of recordings
        A table has the column ``file``. It may have the column ``bytes`` with the
        content of each file, where the files are not on this machine, and the columns
        ``start`` and ``end`` in seconds, where a row is a part of a file. A model with
        a :class:`SpeakerNormalizer` reads the column ``speaker``. Other columns are
        ignored.
    window : float, default=10.0
        Length of a window in seconds. A shorter recording is one window.
    hop : float, default=None
        Seconds between the starts of two neighbouring windows. None means half a
        window.
    n_jobs : int, default=None
        Number of parts predicted in parallel by joblib, in processes unless
        ``joblib.parallel_config`` sets another backend, such as "dask". None means 1,
        and -1 means all processors. Each of them computes in one thread.

    Returns
    -------
    table : pandas DataFrame
        A row for each window, in the order of the recordings. The columns are
        ``file``, ``start`` and ``end`` in seconds of the file, ``emotion``, ``error``,
        and one for the probability of each emotion. An emotion with the name of another
        column, such as "start", gets ``p_`` before it. A recording that cannot be
        predicted is one row, which says in ``error`` what is wrong, and has nothing
        else.

    Raises
    ------
    ImportError
        If pandas is not installed.
    TypeError
        If the model is not fitted or has no ``predict_proba``, or `recordings` is
        neither a table nor a list.
    ValueError
        If `recordings` has no column ``file``, or columns of unequal length. If
        `window` is not between 0.1 s and an hour, or `hop` not between 0.01 s and
        `window`. If `model` is a path without a saved model.

    Warns
    -----
    SilentRecordingWarning
        If a recording is silent.

    See Also
    --------
    emotion_timeline : Predict one recording.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_ser import LogMelTransformer, predict_table
    >>> from sklearn_ser.baseline import make_baseline
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> corpus = make_emotional_speech(n_speakers=3, n_utterances=4, random_state=0)
    >>> model = make_pipeline(LogMelTransformer(), make_baseline(of_frames=True))
    >>> model = model.fit(corpus.data, corpus.target)
    >>> table = predict_table(model, [corpus.data[0], "missing.wav"])
    >>> print(*table.columns)
    file start end emotion error anger happiness neutral sadness
    >>> table.error.isna().tolist()
    [True, False]
    """
    pandas = import_or_raise("pandas", "datasets", "predict_table needs")
    window, hop = check_times(window, hop)
    if isinstance(model, str | os.PathLike):
        changed = os.stat(model).st_mtime_ns if os.path.isfile(model) else None
        model = _load(os.path.abspath(model), changed)
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise TypeError(
            f"model is a {type(model).__name__} without predict_proba or classes_, "
            "expected a fitted pipeline that takes recordings and predicts "
            "probabilities."
        )
    listed = _listed(recordings, has_normalizer(model))
    n_workers = max(1, effective_n_jobs(n_jobs))  # a cluster may have none yet
    size = max(1, min(PART, len(listed) // (_PARTS * n_workers)))
    size = size if n_workers > 1 else PART
    parts = [listed[start : start + size] for start in range(0, len(listed), size)]
    found = dict(predict_parts(model, enumerate(parts), window, hop, n_jobs))
    rows = [row for number in sorted(found) for row in found[number]]
    names, texts = (
        column_names(["error", *model.classes_]),
        ("file", "emotion", "error"),
    )
    kinds = dict.fromkeys(names, "float64") | dict.fromkeys(texts, "string")
    return pandas.DataFrame(rows, columns=names).astype(kinds)


def predict_parts(model, parts, window, hop, n_jobs):
    """Yield the number and the rows of each part, in the order in which they end.

    `parts` yields numbers with lists of (name, recording, speaker or None). A part
    whose process was killed is predicted again, one recording at a time.
    """
    predict, seen = partial(_predict_part, window=window, hop=hop), Counter()
    run = partial(in_parallel, predict, n_jobs=n_jobs, shared=(_Shipped(model),))
    for (number, part), found in run(parts):
        if found is KILLED:
            yield number, _one_by_one(model, part, run, seen)
        else:
            seen["predicted"] += 1
            yield found


def _one_by_one(model, part, run, seen):
    """Return the rows of a part; a recording that kills its process is a failure."""
    ended, killed, rows = [], [], {}
    for job, found in run((i, [one]) for i, one in enumerate(part)):
        (killed if found is KILLED else ended).append((job, found))
    if len(killed) > 1:  # one beside it may have been the guilty one
        killed = (pair for job, _ in killed for pair in run([job]))
    for (i, [(name, *_)]), found in chain(ended, killed):
        seen["killed" if found is KILLED else "predicted"] += 1
        if seen["killed"] == _DEADLY and not seen["predicted"]:
            raise ChildProcessError(
                f"the processes of the first {_DEADLY} recordings were killed, though "
                "each had one recording alone; is there memory for the model?"
            )
        text = "its process was killed; is memory short?"
        rows[i] = [_failure(model, name, text)] if found is KILLED else found[1]
    return [row for i in range(len(part)) for row in rows[i]]


def _predict_part(model, number, part, *, window, hop):
    """Return the number of a part and its rows, those of failures included."""
    rows, model = [], model.model
    with _one_thread(model):
        for name, recording, speaker in part:
            try:
                found = [*predict_recording(model, recording, window, hop, speaker)]
            except (ImportError, Warning):  # of every recording, or asked for
                raise
            except Exception as error:  # one of a million must not end the run
                rows.append(_failure(model, name, str(error) or type(error).__name__))
                continue
            for start, end, p in found:
                emotion = str(model.classes_[p.argmax()])
                rows.append((name, start, end, emotion, None, *p.tolist()))
    return number, rows


def _failure(model, name, text):
    nothing = [float("nan")] * len(model.classes_)
    return name, float("nan"), float("nan"), None, text, *nothing


class _Shipped:
    """A model that comes with every part, and that a process unpickles once."""

    def __init__(self, model):
        self.model = model

    @cached_property
    def data(self):
        return cloudpickle.dumps(self.model)

    def __reduce__(self):
        return _unpack, (self.data,)


@lru_cache(maxsize=1)
def _unpack(data):
    return _Shipped(pickle.loads(data))


@lru_cache(maxsize=1)
def _load(path, changed):
    return load(path)


@contextmanager
def _one_thread(model):
    """Compute in one thread: sums of several are added in another order."""
    if any(isinstance(step, SpeechModelTransformer) for step in flat_steps(model)):
        import torch  # now, since it would come with the first recording
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with _libraries().limit(limits=1):
        try:
            if torch:
                torch.set_num_threads(1)
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def _libraries():
    """Find the libraries with threads, in a thread that Ctrl-C does not interrupt."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ThreadpoolController).result()


def _listed(recordings, with_speakers):
    """Return the name, the recording and the speaker of each row of a table."""
    if isinstance(recordings, str | bytes | os.PathLike):
        raise TypeError(_NO_TABLE.format(type(recordings).__name__))
    if not isinstance(recordings, Mapping) and not hasattr(recordings, "columns"):
        try:
            listed = [*recordings]
        except TypeError as error:
            raise TypeError(_NO_TABLE.format(type(recordings).__name__)) from error
        return [(_name(row, i), row, None) for i, row in enumerate(listed)]
    names = list(getattr(recordings, "columns", recordings))
    if "file" not in names:
        raise ValueError(f"recordings has the columns {names}, expected one of file.")
    columns = {name: [*recordings[name]] for name in names}
    lengths = {name: len(column) for name, column in columns.items()}
    if len({*lengths.values()}) > 1:
        raise ValueError(f"recordings has columns of unequal length: {lengths}.")
    if not with_speakers:
        columns.pop("speaker", None)
    names = "file", "bytes", "start", "end", "speaker"
    nothing = [None] * len(columns["file"])
    rows = zip(*(columns.get(name, nothing) for name in names), strict=True)
    return [
        (str(file), _as_recording(file, *parts), None if is_missing(who) else who)
        for file, *parts, who in rows
    ]


def _as_recording(file, content, start, end):
    whole = file if is_missing(content) else {"path": file, "bytes": bytes(content)}
    start, end = (None if is_missing(time) else time for time in (start, end))
    return whole if start is end is None else as_segment(whole, start, end)


def _name(recording, i):
    path = recording.get("path") if isinstance(recording, Mapping) else recording
    is_path = isinstance(path, str | os.PathLike)
    return os.fspath(path) if is_path else f"recordings[{i}]"
