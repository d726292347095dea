"""The template of a classifier: its parameters, fit and prediction, and its hooks."""

import inspect
import re
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar, dataclass_transform

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._sklearn import AUTO, NOT_NEGATIVE, POSITIVE, SHARE, Interval, StrOptions
from .nn.encoders import ENCODERS
from .nn.net import SpeechNet
from .sequences import check_labels, check_outputs, check_sequences
from .training import (
    check_class_weight,
    check_training_data,
    train_net,
    warn_of_missing_speakers,
)


@dataclass_transform(kw_only_default=True, eq_default=False)
@dataclass(kw_only=True, eq=False, repr=False)
class BaseSpeechClassifier(ClassifierMixin, BaseEstimator):
    """Template of the speech emotion classifiers.

    A method is one file. The file holds a network (an ``nn.Module`` that returns a dict
    with ``"logits"`` and ``"embedding"``), its loss terms, and a subclass. The subclass
    passes the shared parameters on and defines hooks. The hooks take the
    :class:`TrainingData` of a fit. They set no attributes, so their order is free:

    - ``_module(data)``: the network's class and the arguments of its constructor;
    - ``_terms(data)``: the loss terms, weights included;
    - ``_purpose_of_speakers()``: in words, or None;
    - ``_columns(data)``: more columns of a batch, with one value per sample;
    - ``_companions(data, device)``: a callable, or None. For each training batch,
      ``draw(dataset, rows, rng, frame_budget)`` returns a dict of more batches, which
      the network's ``forward`` takes by name;
    - ``_net_class(data)``: a :class:`SpeechNet` with another training step, or with
      other ``probabilities``.
    """

    __metadata_request__fit: ClassVar = {"speakers": True, "validation": True}

    # The encoder that "auto" stands for, by the kind of the sequences.
    _auto_encoders: ClassVar = {
        "spectrogram": "conv_lstm",
        "vector": "pointwise",
        "states": "statistics",
    }

    # The most vectors that "auto" takes into a batch. They are cheap: in a small batch
    # they cost less than the step itself.
    _most_vectors: ClassVar = 128

    _parameter_constraints: ClassVar = {
        "encoder": [StrOptions({"auto", *ENCODERS}), callable],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "lr": [AUTO, POSITIVE],
        "batch_size": [AUTO, Interval(Integral, 2, None, closed="left")],
        "weight_decay": [NOT_NEGATIVE],
        "schedule": [StrOptions({"one_cycle"}), None],
        "gradient_clip_value": [POSITIVE, None],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "speed_perturbation": [SHARE],
        "vocal_tract_perturbation": [SHARE],
        "masking": [SHARE],
        "feature_noise": [NOT_NEGATIVE],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "temperature": [AUTO, POSITIVE, None],
        "callbacks": [list, tuple, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    encoder: str | type[nn.Module] = "auto"
    max_epochs: int = 40
    lr: float | str = "auto"
    batch_size: int | str = "auto"
    weight_decay: float = 1e-2
    schedule: str | None = "one_cycle"
    gradient_clip_value: float | None = 5.0
    class_weight: dict | str | None = "balanced"
    speed_perturbation: float = 0.1
    vocal_tract_perturbation: float = 0.1
    masking: float = 0.15
    feature_noise: float = 1.0
    validation_fraction: float | None = None
    temperature: float | str | None = "auto"
    callbacks: list | tuple | None = None
    device: str | torch.device = "auto"
    random_state: int | np.random.RandomState | None = None
    warm_start: bool = False
    verbose: int = 0

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        annotations = inspect.get_annotations(cls)
        if any("ClassVar" not in str(kind) for kind in annotations.values()):
            dataclass(kw_only=True, eq=False, repr=False)(cls)
            shared = BaseSpeechClassifier.__dataclass_fields__
            signature = inspect.signature(cls.__init__)
            # The method's own parameters are read first.
            parameters = sorted(
                signature.parameters.values(),
                key=lambda p: p.name != "self" and p.name in shared,
            )
            cls.__init__.__signature__ = signature.replace(parameters=parameters)
        if cls.__doc__:
            _fill_in(cls)

    # ------------------------------------------------------------------------- hooks

    def _purpose_of_speakers(self):
        """Return what a fit needs speakers for, in words, or None."""

    def _columns(self, data):
        """Return further columns of the training batches, as a dict of arrays."""
        return {}

    def _companions(self, data, device):
        """Return the callable that draws more recordings for a batch, or None."""

    def _net_class(self, data):
        """Return the class of the net, or a callable with the same arguments."""
        return SpeechNet

    # --------------------------------------------------------------------------- fit

    def fit(self, X, y, *, speakers=None, sample_weight=None, validation=None):
        """Fit the classifier.

        A fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : list or object array of (n_features, n_frames) arrays, or array of \
                shape (n_samples, n_features, n_frames) or (n_samples, n_features)
            Sequences, such as log-mel spectrograms. A row of a 2-D array is a sequence
            of one frame.
        y : array-like of shape (n_samples,)
            Emotions.
        speakers : array-like of shape (n_samples,), default=None
            The speaker of each sample.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the task's loss.
        validation : array-like of bool of shape (n_samples,), default=None
            The rows of the validation part, such as those of a paper's validation
            speaker. The fit keeps the epoch with the best UAR on them. With None,
            `validation_fraction` decides.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the input is not as described. The message names the argument and the
            sample, and what was found and expected.
        TrainingDivergedError
            If a loss becomes infinite or NaN.
        """
        self._validate_params()
        with unchanged_on_failure(self):
            reset = self._fitted_before is None
            sequences = check_sequences(X, estimator=self, reset=reset)
            data = self._check_data(
                sequences,
                check_labels(y, len(sequences), estimator=self),
                speakers=speakers,
                sample_weight=sample_weight,
                validation=validation,
            )
            net = train_net(self, data, self._fitted_before)
            return self._set_fitted(net, data)

    def _check_data(self, sequences, y, **columns):
        """Check the other arguments of a fit, and return TrainingData."""
        purpose = self._purpose_of_speakers()
        if columns["speakers"] is None and purpose:
            warn_of_missing_speakers(type(self).__name__, purpose)
        check_class_weight(self.class_weight)
        data = check_training_data(sequences, y, **columns)
        continues = self._fitted_before is not None
        if continues and not np.array_equal(data.classes, self.classes_):
            raise ValueError(
                f"y has the classes {data.classes.tolist()}, but warm_start=True "
                f"continues a fit with {self.classes_.tolist()}."
            )
        return data

    @property
    def _fitted_before(self):
        """The net from which a fit continues, or None."""
        return getattr(self, "net_", None) if self.warm_start else None

    def _set_fitted(self, net, data, **learnt):
        """Set all fitted attributes, and delete those of a fit before."""
        kept = "n_features_in_", "feature_names_in_"
        for name in [n for n in vars(self) if n.endswith("_") and n not in kept]:
            delattr(self, name)
        learnt |= {"classes_": data.classes, "net_": net, "n_iter_": len(net.history)}
        vars(self).update(learnt)
        return self

    def _encoder_arguments(self, data):
        """Return the arguments that every network passes to its UtteranceEncoder."""
        return {
            "encoder": data.encoder,
            "n_features": data.n_features,
            "speed": self.speed_perturbation,
            "vocal_tract": self.vocal_tract_perturbation,
            "masking": self.masking,
            "feature_noise": self.feature_noise,
        }

    # -------------------------------------------------------------------- prediction

    def _outputs(self, X, key):
        check_is_fitted(self, "net_")
        sequences = check_sequences(X, estimator=self, reset=False)
        return check_outputs(self.net_.outputs(sequences, key))

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : sequences
            As in ``fit``.

        Returns
        -------
        array of shape (n_samples, n_classes), float64
            In the order of ``classes_``.
        """
        logits = self._outputs(X, "logits")  # which tells that there is no fit
        return self.net_.decide(logits)

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : sequences
            As in ``fit``.

        Returns
        -------
        array of shape (n_samples, n_classes), float64
            In the order of ``classes_``; -inf where a probability is zero.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X):
        """Return the most probable class of each sample.

        Parameters
        ----------
        X : sequences
            As in ``fit``.

        Returns
        -------
        array of shape (n_samples,)
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def embed(self, X):
        """Return the embedding from which the classes are predicted.

        Parameters
        ----------
        X : sequences
            As in ``fit``.

        Returns
        -------
        array of shape (n_samples, n_embedding), float32
        """
        return self._outputs(X, "embedding").astype(np.float32)

    @property
    def temperature_(self):
        """What the logits are divided by before the softmax; 1.0 for None."""
        check_is_fitted(self, "net_")
        return self.net_.temperature or 1.0

    @property
    def history_(self):
        """The skorch history: one record per epoch, with every loss term."""
        check_is_fitted(self, "net_")
        return self.net_.history

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


@contextmanager
def unchanged_on_failure(estimator):
    """Give an estimator the attributes back that it had before a fit that fails."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


# ------------------------------ paragraphs that the docstrings of the classifiers share

_PARAMETERS = """
encoder : str or nn.Module class
    The name of an encoder, or a class. "auto" takes {spectral} for
    spectrograms, "pointwise" for sequences of one frame (functionals, pooled
    features), and "statistics" for sequences of more than 256 features (the states
    of a speech model). These encoders, "conv", "conv_gru" and "conv_lstm" are
    compact enough for a laptop. "cnn6" is the encoder of DSNet's authors and needs
    a GPU. The constructor of a class takes ``(n_features)``, and its
    ``forward(x, lengths)`` returns ``(z, lengths)`` with z of shape
    (n_samples, n_channels, n_frames).
max_epochs : int
    Passes over the (labelled) training data.
lr : float or "auto"
    Learning rate of AdamW, the peak of the schedule. "auto" is 0.003. With
    vectors it grows with the root of the batch: 0.003 for 32, 0.006 for 128. A
    batch that is larger than the training data counts as large as they are.
batch_size : int or "auto"
    Largest number of recordings in a batch. "auto" is 32. For vectors it is half
    of the training data, from 32 to 128 (but 32 for DIDAN). A batch also holds at
    most 1000 frames for each of them, including padding, so long recordings make
    smaller batches. In training, a recording that exceeds an equal share of the
    batch's frames is cropped at random.
weight_decay : float
    Decoupled weight decay.
schedule : "one_cycle" or None
    Schedule of the learning rate; None keeps it constant.
gradient_clip_value : float or None
    Largest gradient norm for each optimiser; None does not clip gradients.
label_smoothing : float
    Label smoothing of the cross-entropy, in [0, 1).
class_weight : dict, "balanced" or None
    Weights of the classes in the task's loss. Each weight is above zero.
speed_perturbation : float
    Training changes the tempo of recordings by a factor of up to 1 +- this.
vocal_tract_perturbation : float
    Training stretches the frequency axis of recordings in the same way.
masking : float
    Training masks up to this share of the bands and of the frames.
feature_noise : float
    Training adds Gaussian noise to recordings of one vector each. The noise has
    the covariance of the features within the emotions, times the square of
    this.
validation_fraction : float or None
    Share of the training speakers in the validation part. The fit keeps the
    epoch with the best UAR on them. The `validation` of ``fit`` can name the rows
    instead.
temperature : float, "auto" or None
    The logits are divided by it before they become probabilities; the predicted
    classes stay. "auto" finds it with left-out training speakers, so that the
    model is as sure of a new voice as it is right. If the fit gets no speakers,
    it leaves out recordings instead, and the model is too sure of a new voice.
callbacks : list of skorch callbacks
    Further callbacks of the net. Each fit uses copies of them.
device : str or torch.device
    "auto" takes CUDA, else MPS, else the CPU. A device with another name must
    exist on the machine.
random_state : int, RandomState instance or None
    Seeds all random choices: initialisation, shuffling, dropout, augmentation.
warm_start : bool
    If True, a fit starts from the weights of the fit before.
verbose : int
    Positive shows a progress bar.
"""

_ATTRIBUTES = """
classes_ : array of shape (n_classes,)
    The emotions of the fit.
n_features_in_ : int
    Number of features of a sequence.
feature_names_in_ : array of shape (n_features,)
    Names of the columns, if ``fit`` got a data frame.
n_iter_ : int
    Number of epochs.
temperature_ : float
    What the logits are divided by before the softmax; 1.0 with ``temperature=None``.
net_ : SpeechNet
    The fitted skorch net.
history_ : skorch.history.History
    One record per epoch with every loss term.
"""


def _fill_in(cls):
    """Replace the markers in a classifier's docstring by the paragraphs above."""
    spectral = cls._auto_encoders["spectrogram"]
    text = _PARAMETERS.strip().replace("{spectral}", f'"{spectral}"')
    shared = {p.split(" ")[0]: p for p in re.split(r"\n(?=\w)", text)}
    paragraphs = []
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name in shared:
            default = str(parameter.default)
            if isinstance(parameter.default, str):
                default = f'"{default}"'
            paragraphs.append(shared[name].replace("\n", f", default={default}\n", 1))
    doc = inspect.cleandoc(cls.__doc__) + "\n"  # as Python's compiler does from 3.13 on
    doc = doc.replace("{shared parameters}", "\n".join(paragraphs))
    cls.__doc__ = doc.replace("{shared attributes}", _ATTRIBUTES.strip())
