"""Models without Python: one ONNX graph from recordings to probabilities."""

import copy
import json
import os
import warnings
from functools import partial
from io import BytesIO
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from . import __version__
from ._files import atomic_write
from ._graph import Graph, LogMel, Reach, Standardization, Summary, find_decision
from ._validation import import_or_raise
from .base import BaseSpeechClassifier
from .domains import known_domains
from .features import LogMelTransformer, SpeakerNormalizer, SpeechModelTransformer
from .features.spectrogram import check_settings
from .nn.encoders import encoder_class

__all__ = ["to_onnx"]

OPSET = 17
TOLERANCE = 1e-4
"""How far the probabilities of a graph may be from those of its model."""


def to_onnx(pipeline: Any, path: str | PathLike) -> None:
    """Write a fitted pipeline as an ONNX graph that runs without Python.

    Parameters
    ----------
    pipeline : estimator
        A fitted classifier of this library, or a pipeline that ends in one. The steps
        before it can be a :class:`~sklearn_ser.LogMelTransformer`, which becomes part
        of the graph, and a :class:`~sklearn_ser.SpeakerNormalizer` with
        ``unseen="global"``.
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
      classifier with ``encoder="auto"`` that was fitted on vectors.

    Its output ``probabilities`` is float32 (batch, classes). Values beyond a length are
    padding and do not count. The metadata of the graph hold ``classes`` (a list in
    JSON), ``sampling_rate`` in Hz, ``input`` (the input in words), ``estimator`` and
    ``sklearn_ser_version``.

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
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a path, got {path!r}.")
    front, classifier = _split(pipeline)
    kind = _kind(front, classifier)
    metadata = _metadata(kind, front, classifier)
    graph = _graph(front, classifier).eval()
    what = f"{type(classifier).__name__}(encoder={_encoder(classifier)!r})"
    try:
        model = onnx.load_model_from_string(
            _traced(graph, kind, classifier.n_features_in_)
        )
        onnx.helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        data = model.SerializeToString()
        difference = _difference(data, graph, kind, front, classifier)
    except Exception as error:  # of any kind, from an encoder of one's own
        raise ValueError(f"{what} cannot be exported: {error}") from error
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{what} cannot be exported: the probabilities of its graph differ from "
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
    if not isinstance(classifier, BaseSpeechClassifier):
        raise TypeError(
            "pipeline must be a classifier of this library or a Pipeline that "
            f"ends in one, got {type(classifier).__name__}. For a search, export "
            "its best_estimator_."
        )
    check_is_fitted(classifier)
    for place, (name, step) in enumerate(named):
        where = f"The step {name!r} ({type(step).__name__}) cannot be exported"
        if isinstance(step, SpeechModelTransformer):
            raise TypeError(
                f"{where}: to_onnx does not export speech models. Export the "
                "classifier behind it, to_onnx(pipeline[-1], path), and pass the "
                "features of the speech model to its graph."
            )
        if isinstance(step, LogMelTransformer) and place == 0:
            if step.trim is not None:
                raise ValueError(
                    f"{where} with trim={step.trim!r}: expected trim=None. Trim the "
                    "recordings before the pipeline."
                )
        elif isinstance(step, SpeakerNormalizer):
            check_is_fitted(step)
            if step.unseen != "global":
                raise ValueError(
                    f"{where} with unseen={step.unseen!r}: expected unseen='global'."
                )
        else:
            raise TypeError(
                f"{where}: expected LogMelTransformer as the first step, or "
                "SpeakerNormalizer."
            )
    return [step for _, step in named], classifier


def _encoder(classifier):
    """Return the name or the class of the fitted encoder."""
    return classifier.net_.get_params_for("module")["encoder"]


def _kind(front, classifier):
    """Return the name of the graph's first input."""
    if front and isinstance(front[0], LogMelTransformer):
        return "waveform"
    fitted_on_vectors = _encoder(classifier) == classifier._auto_encoders["vector"]
    if classifier.encoder == "auto" and fitted_on_vectors:
        return "vectors"
    return "sequences"


def _metadata(kind, front, classifier):
    n, rate = classifier.n_features_in_, ""
    if kind == "waveform":
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
        "input": words[kind],
        "estimator": type(classifier).__name__,
        "sklearn_ser_version": __version__,
    }
    return metadata | ({"sampling_rate": rate} if rate else {})


def _graph(front, classifier):
    """Join copies of the pipeline's parts on the CPU."""
    steps, net = [], classifier.net_
    for step in front:
        if isinstance(step, LogMelTransformer):
            steps.append(LogMel(check_settings(step)))
        else:
            mean, scale = step.mean_, step.scale_
            mean = mean if step.center else np.zeros_like(mean)
            scale = scale if step.scale else np.ones_like(scale)
            steps.append(Standardization(mean, scale))
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
    if hasattr(encoder_class(_encoder(classifier)), "pool_frames"):
        steps.append(Summary())
    encoders = [m for m in module.modules() if hasattr(m, "reach")]
    steps += [Reach(encoder.reach) for encoder in encoders]
    module = copy.deepcopy(module).cpu()
    return Graph(steps, module, find_decision(classifier))


def _traced(graph, kind, n_features):
    """Return the graph as torch writes it."""
    lengths = torch.tensor([8000, 7000])
    sizes = {"waveform": {1: "samples"}, "sequences": {2: "frames"}, "vectors": {}}
    arguments = {
        "waveform": (torch.zeros(2, 8000), lengths),
        "sequences": (torch.zeros(2, n_features, 80), lengths // 100),
        "vectors": (torch.zeros(2, n_features),),
    }[kind]
    names = [kind, "lengths"][: len(arguments)]
    axes = {name: {0: "batch"} for name in (*names, "probabilities")}
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
            output_names=["probabilities"],
            dynamic_axes=axes,
        )
    return file.getvalue()


def _difference(data, graph, kind, front, classifier):
    """Return the difference of a graph's and the model's probabilities, on noise."""
    import onnxruntime

    rng, n_features = np.random.default_rng(0), classifier.n_features_in_
    layer = next(
        m for m in graph.modules() if hasattr(m, "mean") and hasattr(m, "scale")
    )
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
    for step in front:
        if isinstance(step, LogMelTransformer):
            # Noise does not belong into the cache, and has one channel.
            step = clone(step).set_params(cache_dir=None, channel="mean")
        X = step.transform(X)
    expected = classifier.predict_proba(X)
    return max(np.abs(p - expected).max() for p in (together, np.concatenate(alone)))


def _run(session, kind, rows):
    lengths = np.array([x.shape[-1] for x in rows])
    batch = np.zeros((len(rows), *rows[0].shape[:-1], lengths.max()), np.float32)
    for row, x in zip(batch, rows, strict=True):
        row[..., : x.shape[-1]] = x
    if kind == "vectors":
        return session.run(None, {kind: batch[:, :, 0]})[0]
    return session.run(None, {kind: batch, "lengths": lengths})[0]
