"""A frozen pre-trained speech model as features for any classifier."""

import contextlib
import os
import threading
from collections import namedtuple
from collections.abc import Mapping
from functools import partial
from numbers import Integral

import numpy as np
from joblib import cpu_count

from .._validation import import_or_raise
from ._audio_files import open_audio
from ._hub import locate
from .audio import MAX_DURATION, file_of, times_of
from .recording_transformer import (
    RecordingTransformer,
    check_channel,
    check_dtype,
    check_integer,
    check_number,
    check_option,
)

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


class SpeechModelTransformer(RecordingTransformer):
    """Turn recordings into the hidden states of a pre-trained speech model.

    The model is frozen: nothing trains its weights. The estimator stores only the name
    and the hash of the weights. It needs ``pip install "sklearn_ser[speech-model]"``.

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

    _packages = ("transformers",)

    @property
    def _gives_vectors(self):
        return self.pooling is not None

    def _check(self):
        if not isinstance(self.model, str | os.PathLike):
            raise TypeError(f"model must be a name or a path, got {self.model!r}.")
        layer, revision = self.layer, self.revision
        is_name = isinstance(layer, str) and layer in ("middle", "last")
        is_number = isinstance(layer, Integral) and not isinstance(layer, bool)
        if not (is_name or is_number):
            raise ValueError(
                f"layer must be 'middle', 'last' or an int, got {layer!r}."
            )
        check_option("pooling", self.pooling, (None, *_POOLINGS))
        if not isinstance(revision, str | None):
            raise TypeError(f"revision must be a string or None, got {revision!r}.")
        check_channel(self.channel)
        shortest = 1 / _SAMPLING_RATE
        check_number("duration", self.duration, shortest, MAX_DURATION, optional=True)
        check_integer("frames_per_batch", self.frames_per_batch, 1)
        check_dtype(self.dtype)

    def _computation(self):
        source = self._source()
        settings = Settings(
            weights=source.weights_hash,
            files=source.settings_hash,
            layer=source.layer(self.layer),
            pooling=self.pooling,
            channel=check_channel(self.channel),
            duration=None if self.duration is None else float(self.duration),
            dtype=check_dtype(self.dtype),
        )
        compute = partial(
            _features,
            source=source,
            settings=settings,
            device=self.device,
            frames_per_batch=self.frames_per_batch,
        )
        return compute, settings

    def _batches(self, batch, rows):
        """Divide rows into batches of recordings of similar lengths.

        The longest come first: if memory is too small, the first batch fails. One
        recording alone may have more frames than a batch.
        """
        frames = {i: _FRAME_RATE * (self.duration or _seconds(batch[i])) for i in rows}
        batches, longest = [], 0.0
        for i in sorted(rows, key=lambda i: (-frames[i], i)):
            if not batches or longest * (len(batches[-1]) + 1) > self.frames_per_batch:
                batches.append([])
                longest = max(frames[i], 1.0)
            batches[-1].append(i)
        return batches

    @contextlib.contextmanager
    def _workers(self, n_workers):
        """Divide the threads of torch among the workers."""
        if n_workers <= 1:
            yield
            return
        import torch

        before = torch.get_num_threads()
        # Threads that are started from here on use this number.
        torch.set_num_threads(min(before, max(1, cpu_count() // n_workers)))
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _learn(self):
        source = locate(self.model, self.revision, self.local_files_only)
        source.layer(self.layer)
        self.weights_hash_ = source.weights_hash
        self.revision_ = source.revision

    def _feature_names(self):
        columns = range(self._source().n_features)
        return [f"{kind}{i}" for kind in _POOLINGS[self.pooling] for i in columns]

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


# Their repr is part of a cache entry's key.
Settings = namedtuple("Settings", "weights files layer pooling channel duration dtype")


def _seconds(recording):
    """Return the length in seconds by the header, or 0 without one, for planning."""
    start, end = times_of(recording)
    if end is not None:
        return end - start
    try:
        if (file := file_of(recording)) is not None:
            with open_audio(file) as opened:
                return opened.frames / opened.samplerate - start
        array, rate = recording, _SAMPLING_RATE
        if isinstance(recording, Mapping):
            array, rate = recording["array"], recording["sampling_rate"]
        return np.shape(array)[-1] / rate - start
    except (OSError, RuntimeError, TypeError, ValueError, LookupError, ArithmeticError):
        return 0.0


def _features(waves, *, source, settings, device, frames_per_batch):
    """Yield the features of each waveform of one batch."""
    encoder = _shared_encoder(source, settings.layer, device)
    rate = encoder.sampling_rate
    inputs = []
    for wave in waves(rate):
        if settings.duration is not None:
            wave = np.resize(wave, round(settings.duration * rate))
        inputs.append(encoder.inputs(wave))
    for states in encoder.states(inputs, frames_per_batch):
        x = _pooled(states, settings.pooling).T.cpu().numpy()
        yield np.ascontiguousarray(x, dtype=settings.dtype)


def _pooled(states, pooling):
    """Return statistics (1, n_features) over the frames, or the frames themselves."""
    if pooling is None:
        return states
    import torch

    statistics = [states.mean(dim=0)]
    if pooling == "mean_std":
        statistics.append(states.std(dim=0, correction=0))
    return torch.cat(statistics)[None]


def _shared_encoder(source, layer, device):
    import_or_raise("transformers safetensors", "speech-model", "Speech models need")
    from ..nn.process import training_device
    from ._speech_encoders import load_encoder

    device = training_device(device)
    key = (source.weights_hash, source.settings_hash, layer, str(device))
    with _LOADING:
        if key not in _LOADED:
            _LOADED[key] = load_encoder(source, layer, device)
        return _LOADED[key]
