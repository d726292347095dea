"""From checked rows to a trained net: check, split, build, train."""

import copy
import math
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import torch
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state, compute_class_weight
from skorch.helper import predefined_split

from ._sklearn import check_sample_weight
from ._validation import shown
from .calibration import MOST_ROWS, matched_temperature
from .exceptions import SpeakersMissingWarning, warn_caller
from .nn.batching import SequenceDataset
from .nn.callbacks import check_owners, default_callbacks, loads_best
from .nn.encoders import pooled
from .nn.process import own_settings, training_device
from .nn.vectors import Vectors, take
from .sequences import check_length, check_speakers, frame_statistics, naming

# Spectrograms have no more bands than this, while the smallest speech models have 384
# features.
MOST_BANDS = 256
# This many directions, at most, describe how vectors vary within their classes.
MOST_RESIDUALS = 512


@dataclass(frozen=True)
class TrainingData:
    """The checked input of a fit.

    Attributes
    ----------
    sequences : list of float32 arrays of shape (n_features, n_frames), or Vectors
    y : array of shape (n_samples,)
        Emotions.
    classes : array of shape (n_classes,)
        The sorted emotions in y.
    weight : float array of shape (n_samples,)
        The weight of a sample, above zero.
    speakers : int array of shape (n_samples,) or None
    validation : bool array of shape (n_samples,) or None
        The rows of the caller's validation part.
    target : sequences
        Unlabelled sequences for the adaptation. Most methods have none.
    encoder : str or nn.Module class
        The encoder of the caller, or the choice of "auto" for these sequences.
    row : int array of shape (n_samples,)
        The number of each sample in the X of the caller.
    """

    sequences: list
    y: np.ndarray
    classes: np.ndarray
    weight: np.ndarray
    speakers: np.ndarray | None = None
    validation: np.ndarray | None = None
    target: tuple = ()
    encoder: object = None
    row: np.ndarray | None = None

    @property
    def n_features(self):
        """Number of features of a sequence."""
        return len(self.sequences[0])

    @property
    def codes(self):
        """The position of each emotion in the classes."""
        return np.searchsorted(self.classes, self.y)

    @property
    def kind(self):
        """What a sequence is: a "vector", a "spectrogram" or "states" of a model."""
        if isinstance(self.sequences, Vectors):
            return "vector"
        return "spectrogram" if self.n_features <= MOST_BANDS else "states"

    def rows(self, rows):
        """Return a part of the data, with the classes of the whole."""
        columns = {
            name: values[rows]
            for name in ("y", "weight", "speakers", "validation", "row")
            if (values := getattr(self, name)) is not None
        }
        return replace(self, sequences=take(self.sequences, rows), **columns)

    def encoded_by(self, encoder):
        """Name the encoder, and pool the sequences if it takes them pooled."""
        return replace(
            self,
            encoder=encoder,
            sequences=pooled(self.sequences, encoder),
            target=pooled(self.target, encoder),
        )

    def weighted(self, class_weight, rows):
        """Multiply the weights by those of the classes in the rows to train on."""
        y, classes = self.y[rows], self.classes
        of_class = compute_class_weight(class_weight, classes=classes, y=y)
        # Divided by the largest first, so that no sum overflows or vanishes.
        of_class = of_class / of_class.max()
        weight = self.weight / self.weight[rows].max() * of_class[self.codes]
        return replace(self, weight=weight / weight[rows].mean())

    def residuals(self, rng):
        """Return the differences of some vectors from the means of their classes."""
        codes = self.codes
        n_classes, n_features = len(self.classes), self.n_features
        mean = np.zeros((n_classes, n_features))
        for rows, vectors in self.sequences.chunks():
            mean += np.eye(n_classes)[codes[rows]].T @ vectors
        mean /= np.bincount(codes, minlength=n_classes).clip(min=1)[:, None]
        drawn = rng.permutation(len(codes))[:MOST_RESIDUALS]
        return self.sequences.gather(drawn) - mean[codes[drawn]]


# ----------------------------------------------------------------------------- check


def check_training_data(
    sequences,
    y,
    *,
    speakers=None,
    sample_weight=None,
    validation=None,
    target=(),
    row=None,
):
    """Check the columns of a fit, and return TrainingData without rows of weight zero.

    `row` has the number of each sample in X, if X has other samples, too.
    """
    n = len(sequences)
    speakers = check_speakers(speakers, n)
    with naming("sample_weight"):
        weight = check_sample_weight(
            sample_weight, np.empty((n, 1)), dtype=np.float64, ensure_non_negative=True
        )
    if not weight.any():
        raise ValueError(
            "sample_weight has zeros only, expected at least one positive weight."
        )
    rows = np.flatnonzero(weight > 0)
    classes = np.unique(y[rows])
    if len(classes) < 2:
        raise ValueError(
            f"y has one class only ({shown(classes[0])}), expected at least 2 classes."
        )
    data = TrainingData(
        sequences=sequences,
        y=y,
        classes=classes,
        weight=weight,
        speakers=speakers,
        validation=_check_validation(validation, n),
        target=target,
        row=np.arange(n) if row is None else row,
    ).rows(rows)
    if validation is not None and np.any(validation) and not data.validation.any():
        raise ValueError(
            "validation names only rows of sample_weight 0, expected a row that counts."
        )
    # Numbered anew, so that rows of weight zero have no influence.
    return replace(data, speakers=check_speakers(data.speakers, len(rows)))


def _check_validation(validation, n_samples):
    """Return a mask of rows, or None."""
    if validation is None:
        return None
    validation = np.asarray(validation)
    if validation.ndim != 1 or validation.dtype != bool:
        raise ValueError(
            f"validation must hold booleans, one per row; got shape {validation.shape} "
            f"of {validation.dtype}."
        )
    check_length("validation", validation, n_samples)
    return validation


def check_class_weight(class_weight):
    """Refuse weights of classes that are no finite numbers above zero."""
    for label, weight in class_weight.items() if isinstance(class_weight, dict) else ():
        if not (isinstance(weight, Real) and 0 < weight < np.inf):
            raise ValueError(
                f"class_weight[{shown(label)}] is {weight!r}, expected a finite number "
                "above zero. To remove a class, remove its samples."
            )


def warn_of_missing_speakers(name, purpose):
    """Warn of an estimator that uses speakers and gets none."""
    step = name.lower()
    warn_caller(
        f"{name} needs speakers for {purpose} and got none. Pass them "
        f"as fit(X, y, speakers=s), as {step}__speakers=s through a pipeline, as "
        f"params={{'{step}__speakers': s}} in cross_validate, or use "
        "sklearn_ser.model_selection.speaker_cross_validate; with metadata routing "
        "enabled, params={'speakers': s}.",
        SpeakersMissingWarning,
    )


# ----------------------------------------------------------------------------- split


def split_validation(data, fraction, rng):
    """Return the rows to train on, and those of the validation part or None.

    Where no rows are named, speakers are drawn, or rows if there are no speakers.
    """
    rows = np.arange(len(data.y))
    if data.validation is not None and data.validation.any():
        name = "validation"
        train, valid = rows[~data.validation], rows[data.validation]
    elif fraction is None:
        return rows, None
    else:
        name = f"validation_fraction={fraction}"
        seed = int(rng.integers(2**32))
        splitter = GroupShuffleSplit
        if data.speakers is None:
            splitter = StratifiedShuffleSplit
            warn_caller(
                "validation_fraction without speakers: the validation part is "
                "stratified by y and shares speakers with the training part.",
                SpeakersMissingWarning,
            )
        splits = splitter(n_splits=1, test_size=fraction, random_state=seed)
        with naming("validation_fraction"):
            train, valid = next(splits.split(data.y, data.y, data.speakers))
    missing = np.setdiff1d(data.classes, data.y[train])
    if len(missing):
        raise ValueError(
            f"{name} leaves no training sample for the classes {missing.tolist()}."
        )
    return train, valid


# ------------------------------------------------------------------- build and train


@own_settings()
def train_net(estimator, data, before=None):
    """Train the net that an estimator's parameters and hooks describe.

    The estimator is asked, and not changed. With the net of a fit `before`, the
    training starts from its weights.
    """
    seed = estimator.random_state
    if seed is not None:  # None would be the global generator, which is left alone
        seed = check_random_state(seed).randint(2**31)
    rng = np.random.default_rng(seed)
    device = training_device(estimator.device)
    train, valid = split_validation(data, estimator.validation_fraction, rng)
    seed = int(rng.integers(2**32))
    if before is not None:  # draw other batches, masks and dropout than before
        state = np.random.SeedSequence([seed, before.seed]).generate_state(1)
        seed = int(state[0])
    data = data.encoded_by(_choose_encoder(estimator, data, before))
    data = data.weighted(estimator.class_weight, train)
    part = data.rows(train)
    dataset = _dataset(
        part,
        device,
        estimator._columns(part),
        draw_companions=estimator._companions(part, device),
    )
    valid = None if valid is None else _dataset(data.rows(valid), device)
    net = _build_net(estimator, part, seed, valid, device)
    if before is not None:
        net.continue_from(before)
    else:
        prior = np.bincount(part.codes, part.weight) / len(train)
        net.start_from(frame_statistics(part.sequences), prior)
    if estimator.feature_noise and part.kind == "vector":
        net.set_residuals(part.residuals(rng))
    net.partial_fit(dataset)
    net.temperature = estimator.temperature
    if net.temperature == "auto":
        net.temperature = _temperature(net, part, device, rng)
    return net


def _temperature(net, data, device, rng):
    """Return the temperature of a trained net, from some of its training recordings."""
    if len(data.y) > MOST_ROWS:
        data = data.rows(rng.permutation(len(data.y))[:MOST_ROWS])
    logits = net.outputs(_dataset(data, device), "logits").astype(np.float64)
    vectors = data.sequences
    if not isinstance(vectors, Vectors):
        vectors = pooled(vectors, "statistics")
    X = vectors.gather(np.arange(len(vectors)))
    return matched_temperature(logits, X, data.codes, data.speakers)


def _choose_encoder(estimator, data, before):
    """Return the encoder, or the choice of "auto"; a continued net keeps its own."""
    encoder = estimator.encoder
    if isinstance(encoder, torch.nn.Module):
        raise TypeError(
            f"encoder is an instance of {type(encoder).__name__}, expected the "
            "class, because every fit would train the same instance."
        )
    if isinstance(encoder, str) and encoder == "auto":
        encoder = estimator._auto_encoders[data.kind]
    if before is not None and before.encoder != encoder:
        now, then = (getattr(e, "__name__", e) for e in (encoder, before.encoder))
        raise ValueError(
            f"encoder is {now!r} now, but warm_start=True continues a fit with "
            f"{then!r}."
        )
    return encoder


def _dataset(data, device, columns=None, **options):
    """Return a dataset of the sequences, with the columns that every batch has."""
    weight = data.weight.astype(np.float32)
    shared = {"y": data.codes, "weight": weight, "row": data.row}
    columns = shared | (columns or {})
    return SequenceDataset(data.sequences, columns, device=device, **options)


def _build_net(estimator, data, seed, valid, device):
    """Return the initialised net."""
    module, arguments = estimator._module(data)
    users = list(estimator.callbacks or [])
    batch_size, lr = _batch_size(estimator, data), estimator.lr
    if lr == "auto":
        most = max(32, len(data.codes))  # what a batch can hold
        size = min(batch_size, most) if data.kind == "vector" else 32
        lr = 3e-3 * math.sqrt(size / 32)
    check_owners(users, estimator.get_params(deep=False))
    callbacks = default_callbacks(
        max_epochs=estimator.max_epochs,
        peak_lr=lr if estimator.schedule == "one_cycle" else None,
        clip=estimator.gradient_clip_value,
        validate=valid is not None,
        keep_best=not any(map(loads_best, users)),
        verbose=estimator.verbose,
    )
    return estimator._net_class(data)(
        module,
        terms=estimator._terms(data),
        seed=seed,
        library_callbacks=callbacks,
        max_epochs=estimator.max_epochs,
        lr=lr,
        batch_size=batch_size,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=estimator.weight_decay,
        optimizer__fused=device.type in ("cpu", "cuda"),
        train_split=None if valid is None else predefined_split(valid),
        # Deep copies: a callback's state must not leak into the hyper-parameter.
        callbacks=copy.deepcopy(users),
        device=device,
        verbose=0,
        **{f"module__{name}": value for name, value in arguments.items()},
    ).initialize()


def _batch_size(estimator, data):
    """Return `batch_size`, or what "auto" stands for with these data."""
    if estimator.batch_size != "auto":
        return estimator.batch_size
    if data.kind != "vector":
        return 32
    return max(32, min(len(data.codes) // 2, estimator._most_vectors))
