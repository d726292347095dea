"""From recordings to a speech model's features, batch by batch, and loaded models."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from joblib import cpu_count, effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from ._speech_source import missing_extra
from .audio import MAX_DURATION, load_audio
from .cache import write
from .spectrogram import _dtype, _integer, _number, _option

POOLINGS = {"mean": ("mean",), "mean_std": ("mean", "std")}
"""The statistics over frames of each pooling."""

# Of all known models, in Hz. They serve to plan batches, and nothing else.
_FRAME_RATE = 50
_SAMPLING_RATE = 16000

_LOADING = threading.Lock()
_LOADED: dict = {}


@dataclass(frozen=True)
class Settings:
    """The settings of the features. Their repr is part of a cache entry's key."""

    weights: str
    files: str
    layer: int
    pooling: str | None
    channel: str | int
    duration: float | None
    dtype: str


def check_parameters(estimator):
    """Check the parameters of an estimator.

    Parameters
    ----------
    estimator : SpeechModelTransformer
        The estimator.

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of its range.
    """
    if not isinstance(estimator.model, str | os.PathLike):
        raise TypeError(f"model must be a name or a path, got {estimator.model!r}.")
    layer, revision = estimator.layer, estimator.revision
    is_name = isinstance(layer, str) and layer in ("middle", "last")
    is_number = isinstance(layer, Integral) and not isinstance(layer, bool)
    if not (is_name or is_number):
        raise ValueError(f"layer must be 'middle', 'last' or an int, got {layer!r}.")
    _option("pooling", estimator.pooling, (None, *POOLINGS))
    if not isinstance(revision, str | None):
        raise TypeError(f"revision must be a string or None, got {revision!r}.")
    if not (isinstance(estimator.channel, str) and estimator.channel == "mean"):
        _integer("channel, unless 'mean',", estimator.channel, 0)
    shortest = 1 / _SAMPLING_RATE
    _number("duration", estimator.duration, shortest, MAX_DURATION, optional=True)
    _integer("frames_per_batch", estimator.frames_per_batch, 1)
    _dtype(estimator.dtype)
    if not isinstance(estimator.cache_dir, str | os.PathLike | None):
        raise TypeError(
            f"cache_dir must be a path or None, got {estimator.cache_dir!r}."
        )


def settings_of(estimator, source):
    """Return the settings of the features, in one form for equal parameters.

    Parameters
    ----------
    estimator : SpeechModelTransformer
        Whose parameters are checked.
    source : Source
        Its model.

    Returns
    -------
    settings : Settings
        For the cache and for the jobs.
    """
    channel, duration = estimator.channel, estimator.duration
    return Settings(
        weights=source.weights_hash,
        files=source.settings_hash,
        layer=source.layer(estimator.layer),
        pooling=estimator.pooling,
        channel=channel if channel == "mean" else int(channel),
        duration=None if duration is None else float(duration),
        dtype=_dtype(estimator.dtype),
    )


def plan(batch, rows, duration, frames_per_batch):
    """Divide recordings into batches of similar lengths.

    Parameters
    ----------
    batch : sequence of recordings
        All of them.
    rows : list of int
        Those that are to be divided.
    duration : float or None
        Length in seconds, if all have the same.
    frames_per_batch : int
        The most frames in a batch, unless one recording alone has more.

    Returns
    -------
    batches : list of lists of int
        The longest first: if memory is too small, the first batch fails.
    """
    frames = {i: _FRAME_RATE * (duration or _seconds(batch[i])) for i in rows}
    batches, longest = [], 0.0
    for i in sorted(rows, key=lambda i: (-frames[i], i)):
        if not batches or longest * (len(batches[-1]) + 1) > frames_per_batch:
            batches.append([])
            longest = max(frames[i], 1.0)
        batches[-1].append(i)
    return batches


def _seconds(recording):
    """Return the length in seconds by the header, or 0 without one, for planning."""
    import soundfile

    rate = _SAMPLING_RATE
    if isinstance(recording, Mapping):
        rate = recording.get("sampling_rate")
        array = recording.get("array")
        recording = recording.get("path") if array is None else array
    try:
        if isinstance(recording, str | os.PathLike):
            return soundfile.info(os.fspath(recording)).duration
        return np.shape(recording)[-1] / rate
    except (OSError, RuntimeError, TypeError, ValueError, IndexError, ArithmeticError):
        return 0.0


def run(job, batches, n_jobs, verbose):
    """Run a job on each batch, and yield each result when it is finished.

    Parameters
    ----------
    job : callable
        Called with the rows, recordings and keys of a batch.
    batches : list of tuples
        Those arguments.
    n_jobs : int or None
        As joblib understands it.
    verbose : int
        Positive shows a bar.

    Yields
    ------
    result : tuple
        The output of a job. Its first member is the rows.
    """
    from tqdm.auto import tqdm

    n_workers = min(effective_n_jobs(n_jobs), len(batches))
    total = sum(len(rows) for rows, *_ in batches)
    with tqdm(total=total, desc="recordings", disable=not verbose or not total) as bar:
        if n_workers <= 1:
            results = (job(*batch) for batch in batches)
        else:
            results = _run_in_parallel(job, batches, n_jobs, n_workers)
        for result in results:
            bar.update(len(result[0]))
            yield result


def _run_in_parallel(job, batches, n_jobs, n_workers):
    torch, _ = _import_torch()
    before = torch.get_num_threads()
    # Threads that are started from here on use this number.
    torch.set_num_threads(min(before, max(1, cpu_count() // n_workers)))
    try:
        parallel = Parallel(
            n_jobs=n_jobs, prefer="threads", return_as="generator_unordered"
        )
        yield from parallel(delayed(job)(*batch) for batch in batches)
    finally:
        torch.set_num_threads(before)


def extract(
    rows, recordings, keys, *, source, settings, device, frames_per_batch, cache_dir
):
    """Compute the features of some recordings, and store them under their keys.

    Parameters
    ----------
    rows : list of int
        Positions of the recordings in X.
    recordings : list
        The recordings.
    keys : list of str or None
        Of the cache.
    source : Source
        The model.
    settings : Settings
        The settings of the features.
    device : str or torch.device
        Where the model runs.
    frames_per_batch : int
        The most frames in one pass.
    cache_dir : str, PathLike or None
        The cache.

    Returns
    -------
    rows : list of int
        The same.
    features : list of arrays of shape (n_features, n_frames)
        One frame where they are pooled.
    """
    encoder = _shared_encoder(source, settings.layer, device)
    inputs = [
        encoder.inputs(_waveform(recording, i, encoder.sampling_rate, settings))
        for i, recording in zip(rows, recordings, strict=True)
    ]
    features = []
    states = encoder.states(inputs, frames_per_batch)
    for key, found in zip(keys, states, strict=True):
        x = _pooled(found, settings.pooling).T.cpu().numpy()
        x = np.ascontiguousarray(x, dtype=settings.dtype)
        features.append(x if key is None else write(cache_dir, key, x))
    return rows, features


def _waveform(recording, i, sampling_rate, settings):
    wave = load_audio(
        recording,
        sampling_rate=sampling_rate,
        channel=settings.channel,
        name=f"X[{i}]",
    )
    if settings.duration is None:
        return wave
    return np.resize(wave, round(settings.duration * sampling_rate))


def _pooled(states, pooling):
    """Return statistics (1, n_features) over the frames, or the frames themselves."""
    if pooling is None:
        return states
    statistics = {
        "mean": lambda: states.mean(dim=0),
        "std": lambda: states.std(dim=0, correction=0),
    }
    torch, _ = _import_torch()
    return torch.cat([statistics[kind]() for kind in POOLINGS[pooling]])[None]


def _import_torch():
    """Return torch and the module that loads models; both are slow to import."""
    try:
        import safetensors  # noqa: F401
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise missing_extra() from error
    from . import _speech_families

    return torch, _speech_families


def _shared_encoder(source, layer, device):
    from ..nn.devices import training_device

    _, families = _import_torch()
    device = training_device(device)
    key = (source.weights_hash, source.settings_hash, layer, str(device))
    with _LOADING:
        if key not in _LOADED:
            _LOADED[key] = families.load_encoder(source, layer, device)
        return _LOADED[key]


def release():
    """Forget the models that are loaded."""
    with _LOADING:
        _LOADED.clear()
