"""The input of a fit: checked, weighted, and split by speaker."""

from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import compute_class_weight

from ._sklearn import check_sample_weight
from ._vectors import Vectors, take
from .exceptions import SpeakersMissingWarning, warn_caller
from .nn.batching import summary
from .sequences import as_vectors, check_length, check_speakers, naming

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
    target : tuple of float32 arrays of shape (n_features, n_frames)
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
    def kind(self):
        """The kind of the sequences, by their shape.

        "vector" if all have one frame, such as functionals. "spectrogram" if
        neighbouring features can be neighbouring frequencies. "states" of a speech
        model if there are more features than bands of a spectrogram.
        """
        if isinstance(self.sequences, Vectors):
            return "vector"
        return "spectrogram" if self.n_features <= MOST_BANDS else "states"

    def summarized(self):
        """Return the same data with one vector for each sequence."""
        return replace(
            self,
            sequences=as_vectors([summary(x) for x in self.sequences]),
            target=as_vectors([summary(x) for x in self.target]),
        )

    def residuals(self, scale, rng):
        """Return the differences of some vectors from the means of their classes.

        Parameters
        ----------
        scale : array of shape (n_features,)
            The unit of each feature.
        rng : numpy.random.Generator
            It draws samples if there are more than needed.

        Returns
        -------
        float32 array of shape (n_drawn, n_features)
        """
        codes = self.codes
        n_classes, n_features = len(self.classes), self.n_features
        mean = np.zeros((n_classes, n_features))
        for rows, vectors in self.sequences.chunks():
            mean += np.eye(n_classes)[codes[rows]].T @ vectors
        mean /= np.bincount(codes, minlength=n_classes).clip(min=1)[:, None]
        drawn = rng.permutation(len(codes))[:MOST_RESIDUALS]
        vectors = self.sequences.gather(drawn)
        return ((vectors - mean[codes[drawn]]) / scale).astype(np.float32)

    @property
    def codes(self):
        """The position of each emotion in the classes."""
        return np.searchsorted(self.classes, self.y)

    def rows(self, rows):
        """Return a part of the data, with the classes of the whole."""
        columns = {
            name: values[rows]
            for name in ("y", "weight", "speakers", "validation", "row")
            if (values := getattr(self, name)) is not None
        }
        return replace(self, sequences=take(self.sequences, rows), **columns)

    def weighted(self, class_weight, rows):
        """Multiply the weights by those of the classes.

        Parameters
        ----------
        class_weight : dict, "balanced" or None
        rows : int array
            The rows to train on. They alone decide on "balanced", and get mean weight
            one.

        Returns
        -------
        TrainingData
        """
        y, classes = self.y[rows], self.classes
        of_class = compute_class_weight(class_weight, classes=classes, y=y)
        # Divided by the largest first, so that no sum overflows or vanishes.
        of_class = of_class / of_class.max()
        weight = self.weight / self.weight[rows].max() * of_class[self.codes]
        return replace(self, weight=weight / weight[rows].mean())


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
    """Check the arguments beside the sequences and labels.

    Parameters
    ----------
    sequences : list of arrays of shape (n_features, n_frames)
    y : array of shape (n_samples,)
    speakers, sample_weight, validation : array-like of shape (n_samples,) or None
        As in ``fit``.
    target : tuple of arrays of shape (n_features, n_frames)
    row : int array of shape (n_samples,) or None
        The number of each sample in X, if X has other samples, too.

    Returns
    -------
    TrainingData
        The data without the samples of weight zero.

    Raises
    ------
    ValueError
        If lengths differ, a weight is negative, no weight is above zero, y has only
        one class, or no row of the validation part has a weight.
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
            f"y has one class only ({classes[0]!r}), expected at least 2 classes."
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


def check_class_weight(class_weight):
    """Refuse weights of classes that are no finite numbers above zero."""
    for label, weight in class_weight.items() if isinstance(class_weight, dict) else ():
        if not (isinstance(weight, Real) and 0 < weight < np.inf):
            raise ValueError(
                f"class_weight[{label!r}] is {weight!r}, expected a finite number "
                "above zero. To remove a class, remove its samples."
            )


def warn_of_missing_speakers(name, use):
    """Warn of an estimator that uses speakers and gets none."""
    step = name.lower()
    warn_caller(
        f"{name} needs speakers for {use} and got none. Pass them "
        f"as fit(X, y, speakers=s), as {step}__speakers=s through a pipeline, as "
        f"params={{'{step}__speakers': s}} in cross_validate, or use "
        "sklearn_ser.model_selection.speaker_cross_validate; with metadata routing "
        "enabled, params={'speakers': s}.",
        SpeakersMissingWarning,
    )


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


def split_validation(data, fraction, rng):
    """Split off a validation part, disjoint by speaker if speakers are given.

    Parameters
    ----------
    data : TrainingData
        Its `validation` names the rows. With None, the rows are drawn.
    fraction : float or None
        Share of the speakers to draw.
    rng : numpy.random.Generator

    Returns
    -------
    train : int array
        The rows to train on.
    valid : int array or None
        The rows of the validation part.
    """
    rows = np.arange(len(data.y))
    if data.validation is not None and data.validation.any():
        name = "validation"
        train, valid = rows[~data.validation], rows[data.validation]
    elif fraction is None:
        return rows, None
    else:
        name = f"validation_fraction={fraction}"
        train, valid = _draw_validation(data, fraction, int(rng.integers(2**32)))
    missing = np.setdiff1d(data.classes, data.y[train])
    if len(missing):
        raise ValueError(
            f"{name} leaves no training sample for the classes {missing.tolist()}."
        )
    return train, valid


def _draw_validation(data, fraction, seed):
    if data.speakers is None:
        warn_caller(
            "validation_fraction without speakers: the validation part is stratified "
            "by y and shares speakers with the training part.",
            SpeakersMissingWarning,
        )
        splitter = StratifiedShuffleSplit
    else:
        splitter = GroupShuffleSplit
    splits = splitter(n_splits=1, test_size=fraction, random_state=seed)
    with naming("validation_fraction"):
        return next(splits.split(data.y, data.y, data.speakers))
