"""Models without Python: one ONNX graph from recordings to probabilities."""

import copy
import json
import warnings
from functools import partial
from io import BytesIO
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted
from torch import nn

from . import __version__
from ._files import atomic_write, check_path
from ._validation import import_or_raise
from .base import BaseSpeechClassifier
from .baseline import FrameStatistics
from .domains import known_domains
from .features import LogMelTransformer, SpeakerNormalizer, SpeechModelTransformer
from .features.log_mel import AMIN, FLAT, basis, check_settings
from .nn.encoders import encoder_class
from .nn.layers import frame_mask

__all__ = ["to_onnx"]

OPSET = 17
TOLERANCE = 1e-4
"""How far the probabilities of a graph may be from those of its model."""
SCALERS = StandardScaler, RobustScaler, MaxAbsScaler, MinMaxScaler
# What a parameter of a step must be: a graph has nothing else.
_NEEDED = {
    LogMelTransformer: ("trim", None, " Trim the recordings before the pipeline."),
    SpeakerNormalizer: ("unseen", "global", ""),
    MinMaxScaler: ("clip", False, ""),
}


def to_onnx(pipeline: Any, path: str | PathLike) -> None:
    """Write a fitted pipeline as an ONNX graph that runs without Python.

    Parameters
    ----------
    pipeline : estimator
        A fitted classifier of this library, a linear classifier such as the baseline,
        or a pipeline that ends in one. The steps before it can be a
        :class:`~sklearn_ser.LogMelTransformer`, which becomes part of the graph, a
        :class:`~sklearn_ser.SpeakerNormalizer` with ``unseen="global"``, the frame
        statistics of the baseline, and scikit-learn's scalers.
    path : str or path-like
        The file, by convention ``.onnx``. It replaces an existing file only when it is
        complete.

    Raises
    ------
    ImportError
        If onnx or onnxruntime is not installed.
    TypeError
        If `pipeline` holds a step that cannot be part of a graph.
    ValueError
        If a parameter cannot be part of a graph, such as `trim`, or if the graph gives
        other probabilities than the pipeline does.
    NotFittedError
        If `pipeline` is not fitted.

    See Also
    --------
    sklearn_ser.persistence.save : Save a model for Python.

    Notes
    -----
    The graph has opset 17 and these inputs, of any size along `batch`, `samples` and
    `frames`:

    - with LogMelTransformer, ``waveform``, float32 (batch, samples), mono at the
      transformer's sampling rate, and ``lengths``, int64 (batch,);
    - for sequences ``sequences``, float32 (batch, features, frames), and ``lengths``;
    - for vectors ``vectors``, float32 (batch, features). These are the input of a
      scaler, of a linear classifier, and of a classifier with ``encoder="auto"`` that
      was fitted on vectors.

    Its output ``probabilities`` is float32 (batch, classes). A linear classifier
    without ``predict_proba`` has an output ``scores`` instead, and predicts the class
    with the largest one. Values beyond a length are padding and do not count. The
    metadata of the graph hold ``classes`` (a list in JSON), ``sampling_rate`` in Hz,
    ``input`` (the input in words), ``estimator`` and ``sklearn_ser_version``.

    A domain adapter treats its input as target data, as ``predict_proba`` does. Before
    the function writes the graph, it runs the graph on noise of several lengths. The
    probabilities must be within 1e-4 of the pipeline's. If an encoder of your own needs
    a minimum number of frames, set its attribute ``reach`` to this number.

    Examples
    --------
    >>> import numpy as np, onnxruntime, tempfile
    >>> from pathlib import Path
    >>> from sklearn_ser import DSNetClassifier
    >>> from sklearn_ser.export import to_onnx
    >>> X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    >>> model = DSNetClassifier(calibration_weight=0, max_epochs=1)
    >>> model = model.fit(X, np.arange(20) % 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.onnx")
    ...     to_onnx(model, path)
    ...     session = onnxruntime.InferenceSession(path)
    >>> (probabilities,) = session.run(None, {"vectors": X})
    >>> np.allclose(probabilities, model.predict_proba(X), atol=1e-4)
    True
    """
    onnx = import_or_raise("onnx onnxruntime", "onnx", "to_onnx needs")
    check_path(path)
    front, classifier = _split(pipeline)
    graph = PipelineGraph(front, classifier).eval()
    metadata = _metadata(graph, front, classifier)
    what = type(classifier).__name__
    if isinstance(classifier, BaseSpeechClassifier):
        what += f"(encoder={classifier.net_.encoder!r})"
    try:
        model = onnx.load_model_from_string(_traced(graph))
        onnx.helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        data = model.SerializeToString()
        difference = _difference(data, graph, front, classifier)
    except Exception as error:  # of any kind, from an encoder of one's own
        raise ValueError(f"{what} cannot be exported: {error}") from error
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{what} cannot be exported: the {graph.output} of its graph differ from "
            f"those of the model by {difference:.2g}, expected at most {TOLERANCE:g}. "
            "A graph cannot hold choices that depend on the size of a batch."
        )
    with atomic_write(path) as file:
        file.write(data)


def _split(pipeline):
    """Return the transformers and the classifier, if all can be exported."""
    steps = pipeline.steps if isinstance(pipeline, Pipeline) else []
    steps = [(n, step) for n, step in steps if step not in (None, "passthrough")]
    *named, (_, classifier) = steps or [("", pipeline)]
    # Those of scikit-learn: whether their scores are what they predict by is tried.
    names = "coef_", "intercept_", "classes_", "decision_function"
    linear = all(hasattr(classifier, name) for name in names)
    if not (isinstance(classifier, BaseSpeechClassifier) or linear):
        if hasattr(classifier, "decision_function"):
            check_is_fitted(classifier)
        raise TypeError(
            "pipeline must be a classifier of this library, a linear classifier or a "
            f"Pipeline that ends in one, got {type(classifier).__name__}. For a "
            "search, export its best_estimator_."
        )
    check_is_fitted(classifier)
    for place, (name, step) in enumerate(named):
        _check_step(f"The step {name!r} ({type(step).__name__})", step, place)
    return [step for _, step in named], classifier


def _check_step(what, step, place):
    """Refuse a step that cannot be part of a graph."""
    what = f"{what} cannot be exported"
    if isinstance(step, SpeechModelTransformer):
        raise TypeError(
            f"{what}: to_onnx does not export speech models. Export the classifier "
            "behind it, to_onnx(pipeline[-1], path), and pass the features of the "
            "speech model to its graph."
        )
    first = isinstance(step, LogMelTransformer)
    later = isinstance(step, (SpeakerNormalizer, FrameStatistics, *SCALERS))
    if not (later or (first and place == 0)):
        raise TypeError(
            f"{what}: expected LogMelTransformer as the first step, SpeakerNormalizer, "
            "FrameStatistics or a scaler of scikit-learn."
        )
    if later:
        check_is_fitted(step)
    for kind, (name, value, hint) in _NEEDED.items():
        if isinstance(step, kind) and (found := getattr(step, name)) != value:
            raise ValueError(
                f"{what} with {name}={found!r}: expected {name}={value!r}.{hint}"
            )


def _metadata(graph, front, classifier):
    n, rate = graph.n_features, ""
    if graph.kind == "waveform":
        rate = json.dumps(check_settings(front[0]).sampling_rate)
    words = {
        "waveform": f"waveform, float32 (batch, samples), mono at {rate} Hz; lengths, "
        "int64 (batch,), the samples of each",
        "sequences": f"sequences, float32 (batch, {n}, frames); lengths, int64 "
        "(batch,), the frames of each",
        "vectors": f"vectors, float32 (batch, {n})",
    }
    try:
        classes = json.dumps(classifier.classes_.tolist())
    except TypeError as error:
        raise ValueError(
            "classes_ must be strings, numbers or booleans to be written as JSON, got "
            f"{classifier.classes_.tolist()}."
        ) from error
    metadata = {
        "classes": classes,
        "input": words[graph.kind],
        "estimator": type(classifier).__name__,
        "sklearn_ser_version": __version__,
    }
    return metadata | ({"sampling_rate": rate} if rate else {})


def _traced(graph):
    """Return the graph as torch writes it."""
    kind, lengths = graph.kind, torch.tensor([8000, 7000])
    sizes = {"waveform": {1: "samples"}, "sequences": {2: "frames"}, "vectors": {}}
    arguments = {
        "waveform": (torch.zeros(2, 8000), lengths),
        "sequences": (torch.zeros(2, graph.n_features, 80), lengths // 100),
        "vectors": (torch.zeros(2, graph.n_features),),
    }[kind]
    names = [kind, "lengths"][: len(arguments)]
    axes = {name: {0: "batch"} for name in (*names, graph.output)}
    axes[kind] |= sizes[kind]
    file = BytesIO()
    with warnings.catch_warnings():
        # The exporter says that it is the old one, and what it could not fold. A trace
        # warns of choices that depend on sizes; to_onnx finds those that matter.
        ignore = partial(warnings.filterwarnings, "ignore")
        ignore("You are using the legacy TorchScript", DeprecationWarning)
        ignore("The feature will be removed", DeprecationWarning)
        ignore("Constant folding", UserWarning)
        ignore("Exporting a model to ONNX with a batch_size", UserWarning)
        ignore(category=torch.jit.TracerWarning)
        # The newer exporter takes 15 s instead of 0.5 s, and another package.
        torch.onnx.export(
            graph,
            arguments,
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=[graph.output],
            dynamic_axes=axes,
        )
    return file.getvalue()


def _difference(data, graph, front, classifier):
    """Return the difference of a graph's and the model's output, on noise."""
    import onnxruntime

    rng, kind, n_features = np.random.default_rng(0), graph.kind, graph.n_features
    layers = (m for m in graph.modules() if hasattr(m, "mean") and hasattr(m, "scale"))
    mean, scale = 0.0, 1.0
    if (layer := next(layers, None)) is not None and kind != "waveform":
        mean, scale = (
            v.numpy().reshape(-1, 1)[:n_features] for v in (layer.mean, layer.scale)
        )
    lengths = {"waveform": (1, 450, 5000, 12000), "sequences": (1, 7, 33, 120)}
    X = [
        0.1 * rng.normal(size=n)
        if kind == "waveform"
        else mean + scale * rng.normal(size=(n_features, n))
        for n in lengths.get(kind, (1, 1, 1, 1))
    ]
    X = [x.astype(np.float32) for x in X]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # an error is raised, too
    session = onnxruntime.InferenceSession(
        data, options, providers=["CPUExecutionProvider"]
    )
    # All together, where three rows are padded, and each one alone.
    together, *alone = (_run(session, kind, rows) for rows in (X, *([x] for x in X)))
    if kind == "vectors":
        X = np.hstack(X).T
    with warnings.catch_warnings():  # noise has no names of columns
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        for step in front:
            if isinstance(step, LogMelTransformer):
                # Noise does not belong into the cache, and has one channel.
                step = clone(step).set_params(cache_dir=None, channel="mean")
            X = step.transform(X)
        if graph.output == "probabilities":
            expected = classifier.predict_proba(X)
        else:
            expected = classifier.decision_function(X)
    if expected.ndim == 1:
        expected = np.stack([np.zeros_like(expected), expected], axis=1)
    return max(np.abs(p - expected).max() for p in (together, np.concatenate(alone)))


def _run(session, kind, rows):
    lengths = np.array([x.shape[-1] for x in rows])
    batch = np.zeros((len(rows), *rows[0].shape[:-1], lengths.max()), np.float32)
    for row, x in zip(batch, rows, strict=True):
        row[..., : x.shape[-1]] = x
    if kind == "vectors":
        return session.run(None, {kind: batch[:, :, 0]})[0]
    return session.run(None, {kind: batch, "lengths": lengths})[0]


# --------------------------------------------------- a pipeline as one torch module


class LogMel(nn.Module):
    """The log-mel spectrograms of LogMelTransformer, from a padded batch of waveforms.

    The Fourier transform is a product with cosines and sines, in double precision. Only
    the frequencies that some band uses are computed.
    """

    def __init__(self, settings):
        super().__init__()
        self.settings = s = settings
        sizes = s.sampling_rate, s.n_fft, s.win_length, s.n_mels, s.fmin, s.fmax
        window, filterbank, _ = basis(*sizes, "float64")
        # Of the columns for real and imaginary parts, one for each frequency.
        filterbank = filterbank.toarray()[:, np.r_[0, 1 : s.n_fft : 2]]
        self.start = (s.n_fft - s.win_length) // 2
        inside = np.arange(self.start, self.start + s.win_length)
        used = np.flatnonzero(filterbank.any(axis=0))
        phase = 2 * np.pi / s.n_fft * (np.outer(inside, used) % s.n_fft)
        waves = np.hstack([np.cos(phase), np.sin(phase)]) * window[:, None]
        self.register_buffer("waves", torch.from_numpy(waves))
        self.register_buffer("bands", torch.from_numpy(filterbank[:, used].T))

    def forward(self, wave, lengths):
        s, margin = self.settings, self.settings.n_fft // 2
        wave = wave * frame_mask(lengths, wave.shape[1])
        if s.n_times is not None:
            if s.length_mode == "wrap":
                wave = wave.gather(1, torch.arange(s.n_times) % lengths[:, None])
            else:
                wave = padded(wave, 0, s.n_times)[:, : s.n_times]
            lengths = torch.full_like(lengths, s.n_times)
        wave = padded(wave, margin, margin)
        n_frames = 1 + (wave.shape[1] - s.n_fft) // s.hop_length
        lengths = 1 + (lengths + 2 * margin - s.n_fft) // s.hop_length
        starts = torch.arange(n_frames)[:, None] * s.hop_length + self.start
        frames = wave[:, starts + torch.arange(s.win_length)].double()
        real, imaginary = (frames @ self.waves).square().chunk(2, dim=-1)
        power = ((real + imaginary) @ self.bands).transpose(1, 2)
        x = 10 * power.clamp(min=AMIN).log10()
        mask = frame_mask(lengths, n_frames)[:, None].double()
        if s.top_db is not None:
            peak = x.masked_fill(mask == 0, -torch.inf).amax((1, 2), keepdim=True)
            x = torch.maximum(x, peak - s.top_db)
        n = lengths[:, None, None]
        if s.normalize == "level":
            x = x - (x * mask).sum((1, 2), keepdim=True) / (n * s.n_mels)
        elif s.normalize == "utterance":
            x = (x - (x * mask).sum(2, keepdim=True) / n) * mask
            std = (x.square().sum(2, keepdim=True) / n).sqrt()
            x = torch.where(std < FLAT, 0.0, x / std)
        x = x.to(getattr(torch, s.dtype)).float()
        return x * mask.float(), lengths


class Standardization(nn.Module):
    """Features less a mean, divided by a scale, in double precision."""

    def __init__(self, mean, scale):
        super().__init__()
        for name, value in {"mean": mean, "scale": scale}.items():
            value = torch.as_tensor(value, dtype=torch.float64)
            self.register_buffer(name, value[:, None])

    def forward(self, x, lengths):
        return ((x - self.mean) / self.scale).float(), lengths


def standardization_of(step):
    """Return what a fitted scaler does, as a module."""
    mean, scale = 0.0, getattr(step, "scale_", None)
    if isinstance(step, MinMaxScaler):  # it multiplies, and then adds
        mean, scale = -step.min_ / step.scale_, 1 / step.scale_
    elif isinstance(step, RobustScaler):
        mean = step.center_ if step.with_centering else 0.0
    elif isinstance(step, StandardScaler):
        mean = step.mean_ if step.with_mean else 0.0
    elif isinstance(step, SpeakerNormalizer):
        mean = step.mean_ if step.center else 0.0
        scale = step.scale_ if step.scale else None
    ones = np.ones(step.n_features_in_)
    return Standardization(mean * ones, ones if scale is None else scale)


class Summary(nn.Module):
    """Mean and deviation of each feature over the true frames, as one frame."""

    def forward(self, x, lengths):
        mask, n = frame_mask(lengths, x.shape[-1])[:, None], lengths[:, None, None]
        x = x.double() * mask
        mean = x.sum(2, keepdim=True) / n
        std = (((x - mean) * mask).square().sum(2, keepdim=True) / n).sqrt()
        return torch.cat([mean, std], dim=1).float(), torch.ones_like(lengths)


class Padding(nn.Module):
    """The frames that an encoder needs: a graph cannot choose, so it always pads."""

    def __init__(self, n_frames):
        super().__init__()
        self.n_frames = n_frames

    def forward(self, x, lengths):
        return padded(x, 0, self.n_frames), lengths


def padded(x, before, after):
    """Put zeros before and after the last axis."""
    shape = x.shape[:-1]
    return torch.cat([x.new_zeros(*shape, before), x, x.new_zeros(*shape, after)], -1)


class Network(nn.Module):
    """A fitted network of this library: its logits, and what the net makes of them."""

    def __init__(self, module, probabilities):
        super().__init__()
        self.module, self.probabilities = module, probabilities

    def forward(self, x, lengths):
        return self.probabilities(self.module(x, lengths)["logits"].double())


class LinearScores(nn.Module):
    """The scores of a linear classifier of one vector, or their softmax."""

    def __init__(self, classifier, output):
        super().__init__()
        coef, intercept = np.atleast_2d(classifier.coef_), classifier.intercept_
        if len(coef) == 1:  # of two classes, the second one's score
            coef = np.vstack([np.zeros_like(coef), coef])
            intercept = np.append(0.0, intercept)
        intercept = np.broadcast_to(intercept, len(coef)).astype(np.float64)
        self.register_buffer("coef", torch.from_numpy(coef.astype(np.float64)))
        self.register_buffer("intercept", torch.from_numpy(intercept))
        self.output = output

    def forward(self, x, lengths):
        scores = x[:, :, 0].double() @ self.coef.T + self.intercept
        return scores.softmax(1) if self.output == "probabilities" else scores


class PipelineGraph(nn.Module):
    """The exported module: copies of the pipeline's parts on the CPU.

    `kind` is the name of its first input, and `output` that of its output.
    """

    def __init__(self, front, classifier):
        super().__init__()
        sure = hasattr(classifier, "predict_proba")
        self.output = "probabilities" if sure else "scores"
        self.kind = _kind(front, classifier)
        first = [*front, classifier][0]
        self.n_features = getattr(first, "n_features_in_", classifier.n_features_in_)
        steps = []
        for step in front:
            if isinstance(step, LogMelTransformer):
                steps.append(LogMel(check_settings(step)))
            elif isinstance(step, FrameStatistics):
                steps.append(Summary())
            else:
                steps.append(standardization_of(step))
        if isinstance(classifier, BaseSpeechClassifier):
            own, self.head = _network(classifier)
            steps += own
        else:
            self.head = LinearScores(classifier, self.output)
        self.steps = nn.ModuleList(steps)

    def forward(self, x, lengths=None):
        if lengths is None:  # vectors
            x, lengths = x[:, :, None], x.new_ones(x.shape[0]).long()
        for step in self.steps:
            x, lengths = step(x, lengths)
        return self.head(x, lengths).float()


def _kind(front, classifier):
    """Return the name of the graph's first input."""
    if front and isinstance(front[0], LogMelTransformer):
        return "waveform"
    if any(isinstance(step, FrameStatistics) for step in front):
        return "sequences"
    if not isinstance(classifier, BaseSpeechClassifier):
        return "vectors"
    encoder = classifier._auto_encoders["vector"]
    chosen = classifier.encoder == "auto" and classifier.net_.encoder == encoder
    scaled = any(isinstance(step, SCALERS) for step in front)
    return "vectors" if chosen or scaled else "sequences"


def _network(classifier):
    """Return the steps that a classifier takes before its network, and the network."""
    steps, net = [], classifier.net_
    module = net.module_
    statistics = getattr(classifier, "domain_statistics_", None)
    if statistics is not None:  # any target, as in predict_proba
        target = np.array([np.iinfo(np.int64).min])
        try:
            [domain] = known_domains(target, np.array(list(statistics))).tolist()
        except ValueError as error:
            name = type(classifier).__name__
            raise ValueError(f"{name} cannot be exported: {error}") from error
        steps.append(Standardization(*statistics[domain]))
        if domain < 0 and net.target_modules_:
            [module] = net.target_modules_
    if hasattr(encoder_class(net.encoder), "pool_frames"):
        steps.append(Summary())
    steps += [Padding(m.reach) for m in module.modules() if hasattr(m, "reach")]
    return steps, Network(copy.deepcopy(module).cpu(), net.probabilities)
