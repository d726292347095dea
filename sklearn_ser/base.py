"""The fit/predict/predict_proba/embed template that the methods share."""

import copy
import warnings
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
)
from skorch.helper import predefined_split

from .nn.batching import BatchIterator, SequenceDataset
from .nn.callbacks import default_callbacks
from .nn.encoders import ENCODERS
from .nn.net import SpeechNet, available_device
from .sequences import check_labels, check_sequences, check_speakers


class SpeakersMissingWarning(UserWarning):
    """A fit that uses speakers was given none."""


class BaseSpeechClassifier(ClassifierMixin, BaseEstimator):
    """Template of the speech emotion classifiers.

    A method is one file: its network (an ``nn.Module`` that returns a dict with
    ``"logits"`` and ``"embedding"``), its loss terms, and a subclass that keeps
    the shared parameters in its ``__init__`` and says in hooks what is its own:

    - ``_module()``: the network's class and the arguments of its constructor;
    - ``_terms()``: the loss terms, weights included;
    - ``_speaker_use()``: what it needs speakers for, or None;
    - ``_columns(y, speakers)``: further per-sample columns of a batch;
    - ``_companions(y, speakers)``: what draws a batch's companions, or None;
    - ``_net_class``: a :class:`SpeechNet` with another training step;
    - ``_decide(logits)``: from the network's logits to probabilities.
    """

    __metadata_request__fit: ClassVar = {"speakers": True}

    _net_class = SpeechNet

    _parameter_constraints: ClassVar = {
        "encoder": [StrOptions(set(ENCODERS)), callable],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "schedule": [StrOptions({"one_cycle"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "speed_perturbation": [Interval(Real, 0, 1, closed="left")],
        "vocal_tract_perturbation": [Interval(Real, 0, 1, closed="left")],
        "masking": [Interval(Real, 0, 1, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "callbacks": [list, tuple, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def _speaker_use(self):
        """Say what the fit needs speakers for, in words, or None."""

    def _columns(self, y, speakers):
        """Return further columns of the training batches, as a dict of arrays."""
        return {}

    def _companions(self, y, speakers):
        """Return what draws a training batch's companions, or None."""

    def _decide(self, logits):
        """Turn the network's logits into probabilities, in float64."""
        return softmax(logits.astype(np.float64), axis=1)

    def fit(self, X, y, *, speakers=None, sample_weight=None):
        """Fit the classifier.

        Parameters
        ----------
        X : list or object array of (n_features, n_frames) arrays, or array of \
                shape (n_samples, n_features, n_frames) or (n_samples, n_features)
            Sequences, such as log-mel spectrograms; a 2-D array holds one frame each.
        y : array-like of shape (n_samples,)
            Emotions.
        speakers : array-like of shape (n_samples,), default=None
            Who speaks.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the task's loss.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the input is not as described; the message names the argument, the
            sample, what was found and what was expected.
        """
        return self._fit(X, y, speakers=speakers, sample_weight=sample_weight)

    def _fit(self, X, y, *, speakers=None, sample_weight=None):
        self._validate_params()
        warm = self.warm_start and hasattr(self, "net_")
        sequences = check_sequences(X, estimator=self, reset=not warm)
        y = check_labels(y, len(sequences), estimator=self)
        speakers = check_speakers(speakers, len(sequences))
        if speakers is None and self._speaker_use():
            warnings.warn(_speakers_missing(self), SpeakersMissingWarning, stacklevel=3)
        weight = self._check_weight(y, sample_weight)
        # A sample of weight zero is as good as absent.
        train = np.flatnonzero(weight > 0)
        classes = np.unique(y[train])
        if len(classes) < 2:
            raise ValueError(
                f"y has one class only ({classes[0]!r}), expected at least 2 classes."
            )
        if warm and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"y has the classes {classes.tolist()}, but warm_start=True continues "
                f"a fit on {self.classes_.tolist()}."
            )
        if not warm:  # an interrupted fit leaves no net of other classes behind
            vars(self).pop("net_", None)
        self.classes_ = classes
        rng = _generator(self.random_state)
        train, valid = self._split(train, y, speakers, rng)
        data = {"sequences": sequences, "y": y, "speakers": speakers, "weight": weight}
        dataset = self._dataset(data, train, train=True)
        net = self._make_net(
            seed=int(rng.integers(2**32)),
            valid=None if valid is None else self._dataset(data, valid, train=False),
            n_batches=len(BatchIterator(dataset, self.batch_size, rng)),
        )
        net.initialize()
        if warm:
            net.continue_from(self.net_)
        else:
            prior = np.bincount(dataset.columns["y"].cpu(), weight[train])
            net.start_from([sequences[i] for i in train], prior / len(train))
        net.partial_fit(dataset)
        net.train_split = None  # it holds the validation part
        self.net_ = net
        self.n_iter_ = len(net.history)
        return self

    def _check_weight(self, y, sample_weight):
        """Return sample weight times class weight, with mean one where positive."""
        weight = _check_sample_weight(
            sample_weight,
            np.empty((len(y), 1)),
            dtype=np.float64,
            ensure_non_negative=True,
        )
        if not weight.any():
            raise ValueError(
                "sample_weight has zeros only, expected at least one positive weight."
            )
        present = np.unique(y[weight > 0])
        per_class = compute_class_weight(
            self.class_weight, classes=present, y=y[weight > 0]
        )
        position = np.searchsorted(present, y).clip(max=len(present) - 1)
        weight = weight * per_class[position]
        return weight / weight[weight > 0].mean()

    def _split(self, train, y, speakers, rng):
        """Set a validation part aside, disjoint by speaker where they are known."""
        if self.validation_fraction is None:
            return train, None
        options = {
            "n_splits": 1,
            "test_size": self.validation_fraction,
            "random_state": int(rng.integers(2**32)),
        }
        if speakers is None:
            warnings.warn(
                "validation_fraction without speakers: the validation part is "
                "stratified by y and shares speakers with the training part.",
                SpeakersMissingWarning,
                stacklevel=4,
            )
            splitter, groups = StratifiedShuffleSplit(**options), None
        else:
            splitter, groups = GroupShuffleSplit(**options), speakers[train]
        fit, valid = next(splitter.split(train, y[train], groups))
        missing = np.setdiff1d(y[train], y[train][fit])
        if len(missing):
            raise ValueError(
                f"validation_fraction={self.validation_fraction} leaves no training "
                f"sample of the classes {missing.tolist()}."
            )
        return train[fit], train[valid]

    def _dataset(self, data, rows, *, train):
        y = data["y"][rows]
        speakers = None if data["speakers"] is None else data["speakers"][rows]
        columns = {
            "y": np.searchsorted(self.classes_, y),
            "weight": data["weight"][rows].astype(np.float32),
        }
        if train:
            columns.update(self._columns(y, speakers))
        return SequenceDataset(
            [data["sequences"][i] for i in rows],
            columns,
            device=available_device(self.device),
            draw_companions=self._companions(y, speakers) if train else None,
        )

    def _make_net(self, *, seed, valid, n_batches):
        module, arguments = self._module()
        device = available_device(self.device)
        callbacks = default_callbacks(
            max_epochs=self.max_epochs,
            peak_lr=self.lr if self.schedule == "one_cycle" else None,
            n_batches=n_batches,
            keep_best=valid is not None,
            verbose=self.verbose,
        )
        # Deep copies: a callback's state must not leak into the hyper-parameter.
        callbacks += copy.deepcopy(list(self.callbacks or []))
        return self._net_class(
            module,
            terms=self._terms(),
            seed=seed,
            keep_optimizer=self.warm_start,
            max_epochs=self.max_epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=self.weight_decay,
            optimizer__fused=device.type in ("cpu", "cuda"),
            train_split=None if valid is None else predefined_split(valid),
            callbacks=callbacks,
            device=device,
            verbose=0,
            **{f"module__{name}": value for name, value in arguments.items()},
        )

    def _encoder_arguments(self):
        """Return what every network passes on to its UtteranceEncoder."""
        if isinstance(self.encoder, torch.nn.Module):
            raise TypeError(
                f"encoder is an instance of {type(self.encoder).__name__}, expected "
                "the class: an instance would be trained in place, fit after fit."
            )
        return {
            "encoder": self.encoder,
            "n_features": self.n_features_in_,
            "speed": self.speed_perturbation,
            "vocal_tract": self.vocal_tract_perturbation,
            "masking": self.masking,
        }

    def _outputs(self, X, key):
        check_is_fitted(self, "net_")
        return self.net_.outputs(check_sequences(X, estimator=self, reset=False), key)

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
        return self._decide(self._outputs(X, "logits"))

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
        """Return the embedding on which the classes are decided.

        Parameters
        ----------
        X : sequences
            As in ``fit``.

        Returns
        -------
        array of shape (n_samples, n_embedding), float32
        """
        return self._outputs(X, "embedding")

    @property
    def history_(self):
        """The skorch history: one record per epoch, every loss term in it."""
        check_is_fitted(self, "net_")
        return self.net_.history

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _generator(random_state):
    """Return a NumPy generator that leaves the global one alone."""
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(check_random_state(random_state).randint(2**31))


def _speakers_missing(estimator):
    name = type(estimator).__name__
    step = name.lower()
    return (
        f"{name} needs speakers for {estimator._speaker_use()} and got none. Pass them "
        f"as fit(X, y, speakers=s), as {step}__speakers=s through a pipeline, as "
        f"params={{'{step}__speakers': s}} in cross_validate, or use "
        "sklearn_ser.model_selection.speaker_cross_validate; with metadata routing "
        "enabled, params={'speakers': s}."
    )
