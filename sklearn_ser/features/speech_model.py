"""A frozen pre-trained speech model as features for any classifier."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral

import numpy as np
from joblib import cpu_count, effective_n_jobs
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed

from .._validation import import_or_raise
from ._hub import locate
from .audio import MAX_DURATION, check_recordings, load_audio
from .cache import content_key, read, write
from .spectrogram import _dtype, _integer, _number, _option

# The statistics over frames of each pooling.
_POOLINGS = {"mean": ("mean",), "mean_std": ("mean", "std")}

# Of all known models, in Hz. They serve to plan batches, and nothing else.
_FRAME_RATE = 50
_SAMPLING_RATE = 16000

_LOADING = threading.RLock()
_LOADED: dict = {}
if hasattr(os, "register_at_fork"):
    # Otherwise a child could have the lock of a thread that it has not.
    os.register_at_fork(
        before=_LOADING.acquire,
        after_in_parent=_LOADING.release,
        after_in_child=_LOADING.release,
    )


def _is_pooled(estimator):
    return estimator.pooling is not None


class SpeechModelTransformer(TransformerMixin, BaseEstimator):
    """Turn recordings into the hidden states of a pre-trained speech model.

    The model is frozen: nothing trains its weights. The estimator stores only the name
    and the hash of the weights. It needs ``pip install sklearn_ser[speech-model]``.

    Parameters
    ----------
    model : str or PathLike, default="openai/whisper-base"
        A directory with ``config.json``, ``preprocessor_config.json`` and
        ``model.safetensors``, or a name on the Hugging Face Hub. A name is searched
        below the directory in the environment variable ``SKLEARN_SER_MODELS``, then in
        the Hub's cache on this machine, and then downloaded. The known models are
        Whisper, wav2vec 2.0 (with MMS and XLS-R), HuBERT, WavLM, data2vec-audio,
        w2v-BERT 2.0, UniSpeech and wav2vec2-conformer.
    layer : {"middle", "last"} or int, default="middle"
        The number of transformer layers before the states: 0 is the input of the first
        layer, -1 is ``"last"``, and 3 is the middle of 6. The layers above are not
        computed.
    pooling : {"mean", "mean_std"}, default=None
        The mean over the frames of a recording, or the mean and the standard deviation.
        None keeps the frames.
    revision : str, default=None
        A branch, tag or commit on the Hub. None takes the commit on this machine, else
        the main branch. After a fit, None takes the commit of the fit.
    channel : "mean" or int, default="mean"
        The number of the channel to use, or the mean of all channels.
    duration : float, default=None
        Length of all recordings in seconds. A longer recording is cut at its end, and a
        shorter one is repeated.
    frames_per_batch : int, default=1500
        Largest number of frames that the model computes at once; a second has 50
        frames. A GPU needs more. The number changes results by rounding errors only.
    device : str or torch.device, default="auto"
        The device of the model. ``"auto"`` takes CUDA, else MPS, else the CPU.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Type of the features. The model itself always runs in single precision.
    n_jobs : int, default=None
        Number of batches computed in parallel by joblib. The default backend uses
        threads that share the model and the threads of torch. None means 1, and -1
        means all processors.
    cache_dir : str or PathLike, default=None
        Folder that keeps the features of each recording. A later run finds them by the
        recording's content, the hash of the weights and the parameters above. Each
        batch is written when it is finished, so an interrupted extraction continues
        where it stopped. The model is not loaded if the folder has all features.
        Without `pooling` the result is a list of read-only array-likes that
        ``np.asarray`` reads from disk.
    local_files_only : bool, default=False
        If True, never ask the Hub.
    verbose : int, default=0
        A positive value shows a progress bar over the recordings.

    Attributes
    ----------
    weights_hash_ : str
        SHA-256 of the weights of the fit: of ``model.safetensors``, or of the digests
        of its parts. `transform` refuses other weights.
    revision_ : str or None
        The commit of a model from the Hub, or None for a directory.

    See Also
    --------
    LogMelTransformer : Log-mel spectrograms, which need no model.
    release_speech_models : Free the memory of the models that were loaded.

    Notes
    -----
    All estimators of a process share one loaded model. It is loaded at the first
    recording that is not cached. Only safetensors files are read, and code that comes
    with a model is never run.

    Whisper gets a recording at its own length, without padding to 30 s. A recording
    longer than 30 s is cut into windows that overlap by 3 s or more. A cross-fade joins
    the states of neighbouring windows.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import LinearSVC
    >>> from sklearn_ser.features import SpeechModelTransformer
    >>> pipeline = make_pipeline(
    ...     SpeechModelTransformer("openai/whisper-base", pooling="mean_std"),
    ...     LinearSVC(C=1e-3),
    ... )
    >>> pipeline.fit(["a.wav", "b.wav"], ["anger", "sadness"])  # doctest: +SKIP
    """

    def __init__(
        self,
        model="openai/whisper-base",
        *,
        layer="middle",
        pooling=None,
        revision=None,
        channel="mean",
        duration=None,
        frames_per_batch=1500,
        device="auto",
        dtype="float32",
        n_jobs=None,
        cache_dir=None,
        local_files_only=False,
        verbose=0,
    ):
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.revision = revision
        self.channel = channel
        self.duration = duration
        self.frames_per_batch = frames_per_batch
        self.device = device
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.cache_dir = cache_dir
        self.local_files_only = local_files_only
        self.verbose = verbose

    def fit(self, X, y=None):
        """Find the model and store the hash of its weights, and learn nothing.

        Parameters
        ----------
        X : list or array of recordings, or array of shape (n_samples, n_times)
            As in `transform`. No recording is decoded.
        y : ignored
            For the API's sake.

        Returns
        -------
        self : SpeechModelTransformer
            The transformer itself.

        Raises
        ------
        ImportError
            If transformers or safetensors is not installed.
        TypeError, ValueError
            If a parameter is out of its range, the model is not found or not of a known
            family, or `X` is not a batch of recordings.
        """
        _check_parameters(self)
        check_recordings(X)
        source = locate(self.model, self.revision, self.local_files_only)
        source.layer(self.layer)
        self.weights_hash_ = source.weights_hash
        self.revision_ = source.revision
        return self

    def transform(self, X):
        """Compute the hidden states of each recording.

        Parameters
        ----------
        X : list or array of recordings, or array of shape (n_samples, n_times)
            A recording is a path, a waveform of shape (n_times,) at the model's
            sampling rate (16000 Hz for all that are known), or a mapping
            ``{"array": ..., "sampling_rate": ...}``.

        Returns
        -------
        features : array of shape (n_samples, n_features_out), list of arrays of \
                shape (n_features, n_frames), or array of shape (n_samples, \
                n_features, n_frames)
            The first form with `pooling`. Without `pooling` the second, or the third if
            `duration` is set or `X` is a 2-D array.

        Raises
        ------
        ImportError
            If transformers or safetensors is not installed.
        TypeError, ValueError
            If a parameter is out of its range. If the model is not found, or has other
            weights than in the fit. If a recording is missing, empty or not finite, or
            does not decode. The message names the index and path of the recording.
        """
        _check_parameters(self)
        batch = check_recordings(X)
        source = self._source()
        settings = _settings_of(self, source)
        keys, features = [None] * len(batch), [None] * len(batch)
        if self.cache_dir is not None:
            for i, recording in enumerate(batch):
                if (key := content_key(recording, settings)) is not None:
                    keys[i], features[i] = key, read(self.cache_dir, key)
        missing = [i for i, found in enumerate(features) if found is None]
        job = partial(
            _extract,
            source=source,
            settings=settings,
            device=self.device,
            frames_per_batch=self.frames_per_batch,
            cache_dir=self.cache_dir,
        )
        batches = [
            (rows, [batch[i] for i in rows], [keys[i] for i in rows])
            for rows in _plan(batch, missing, self.duration, self.frames_per_batch)
        ]
        for rows, found in _run(job, batches, self.n_jobs, self.verbose):
            for i, states in zip(rows, found, strict=True):
                features[i] = states
        if _is_pooled(self):
            return np.stack([np.asarray(x)[:, 0] for x in features])
        if isinstance(batch, np.ndarray) or self.duration is not None:
            return np.stack(features)
        return features

    @available_if(_is_pooled)
    def get_feature_names_out(self, input_features=None):
        """Return the names of the pooled features, such as ``"mean0"``.

        Parameters
        ----------
        input_features : ignored
            For the API's sake.

        Returns
        -------
        names : ndarray of str
            One for each column of what `transform` returns.
        """
        n_features = self._source().n_features
        return np.array(
            [
                f"{kind}{i}"
                for kind in _POOLINGS[self.pooling]
                for i in range(n_features)
            ],
            dtype=object,
        )

    def set_output(self, *, transform=None):
        """Choose the container of pooled features.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            The container. None does not change it. Without `pooling` it is ignored,
            because sequences do not fit into a data frame.

        Returns
        -------
        self : SpeechModelTransformer
            The transformer itself.
        """
        return super().set_output(transform=transform) if _is_pooled(self) else self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True  # a width is a length in time, not features
        tags.input_tags.string = True  # paths
        tags.input_tags.dict = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _source(self):
        """Find the model, and refuse another model than in the fit."""
        source = locate(
            self.model,
            self.revision,
            self.local_files_only,
            getattr(self, "revision_", None),
        )
        known = getattr(self, "weights_hash_", source.weights_hash)
        if known != source.weights_hash:
            raise ValueError(
                f"model {source.name!r} has other weights than those of the fit: "
                f"found SHA-256 {source.weights_hash} in {source.directory!r}, "
                f"expected {known}. Pass the directory or revision with these "
                "weights, or fit again."
            )
        return source


def release_speech_models() -> None:
    """Free the memory of all speech models that this process has loaded.

    The next transform loads its model again. A running transform keeps its model until
    it ends.

    See Also
    --------
    SpeechModelTransformer : Load and apply a speech model.

    Examples
    --------
    >>> from sklearn_ser.features import release_speech_models
    >>> release_speech_models()
    """
    with _LOADING:
        _LOADED.clear()


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


def _check_parameters(estimator):
    """Refuse a parameter that is out of its range."""
    if not isinstance(estimator.model, str | os.PathLike):
        raise TypeError(f"model must be a name or a path, got {estimator.model!r}.")
    layer, revision = estimator.layer, estimator.revision
    is_name = isinstance(layer, str) and layer in ("middle", "last")
    is_number = isinstance(layer, Integral) and not isinstance(layer, bool)
    if not (is_name or is_number):
        raise ValueError(f"layer must be 'middle', 'last' or an int, got {layer!r}.")
    _option("pooling", estimator.pooling, (None, *_POOLINGS))
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


def _settings_of(estimator, source):
    """Return the settings of the features, in one form for equal parameters."""
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


def _plan(batch, rows, duration, frames_per_batch):
    """Divide rows into batches of recordings of similar lengths.

    The longest come first: if memory is too small, the first batch fails. One recording
    alone may have more frames than a batch.
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


def _run(job, batches, n_jobs, verbose):
    """Run a job on each batch, and yield each result; its first member is the rows."""
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
    import torch

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


def _extract(
    rows, recordings, keys, *, source, settings, device, frames_per_batch, cache_dir
):
    """Return the features of some rows' recordings, and store them under their keys."""
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
    import torch

    statistics = {
        "mean": lambda: states.mean(dim=0),
        "std": lambda: states.std(dim=0, correction=0),
    }
    return torch.cat([statistics[kind]() for kind in _POOLINGS[pooling]])[None]


def _shared_encoder(source, layer, device):
    import_or_raise("transformers safetensors", "speech-model", "Speech models need")
    from ..nn.devices import training_device
    from ._speech_encoders import load_encoder

    device = training_device(device)
    key = (source.weights_hash, source.settings_hash, layer, str(device))
    with _LOADING:
        if key not in _LOADED:
            _LOADED[key] = load_encoder(source, layer, device)
        return _LOADED[key]
