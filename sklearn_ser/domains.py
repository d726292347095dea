"""Source and target of an adaptation: checks, statistics of each, and the estimator.

``sample_domain`` has the meaning of skada: the labelled source has numbers from 0
upwards, and the unlabelled target has negative numbers.
"""

from typing import ClassVar

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ._sklearn import check_sample_weight
from ._validation import as_column
from .base import unchanged_on_failure
from .exceptions import TargetMissingWarning, warn_caller
from .nn.adaptation import DomainNet, TargetBatches
from .nn.batching import SequenceDataset
from .nn.vectors import Vectors, take
from .sequences import (
    check_labels,
    check_length,
    check_outputs,
    check_sequences,
    check_speakers,
    frame_statistics,
    is_missing,
    naming,
    standardized,
)
from .training import train_net


class DomainAdapterMixin:
    """The part of an adaptation method that :class:`BaseSpeechClassifier` lacks.

    A method inherits from this class first and from the other second. It has a
    parameter ``normalize_domains``, and its property ``_aligns`` tells whether it uses
    a target. In training, the ``forward`` of its network takes a Batch ``target`` with
    as many recordings as the batch of the source. The target's labels are never read.

    With ``normalize_domains=True``, a prediction uses the statistics of the sample's
    domain. A domain of one recording, or of equal ones, takes the statistics of the
    whole source: by its own, each of its vectors would become exactly zero.
    """

    __metadata_request__fit: ClassVar = {
        "speakers": True,
        "sample_domain": True,
        "validation": True,
    }
    __metadata_request__predict: ClassVar = {
        "sample_domain": True,
        "allow_source": True,
    }
    __metadata_request__predict_proba: ClassVar = __metadata_request__predict
    __metadata_request__predict_log_proba: ClassVar = __metadata_request__predict
    __metadata_request__score: ClassVar = {
        "sample_domain": True,
        "allow_source": True,
        "sample_weight": True,
    }

    @property
    def _aligns(self):
        """True if the method uses a target."""
        return True

    def fit(
        self,
        X,
        y,
        *,
        sample_domain=None,
        speakers=None,
        sample_weight=None,
        validation=None,
    ):
        """Fit the classifier to the source, and align it with the target.

        A fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : list or object array of (n_features, n_frames) arrays, or array of \
                shape (n_samples, n_features, n_frames) or (n_samples, n_features)
            Sequences of source and target, such as log-mel spectrograms.
        y : array-like of shape (n_samples,)
            Emotions of the source. The values at the target's rows are not read.
        sample_domain : array-like of shape (n_samples,), default=None
            The domain of each sample, an integer: zero or positive for the source,
            negative for the target. By default, samples with a y of -1 are the target.
        speakers : array-like of shape (n_samples,), default=None
            The speaker of each sample, for ``validation_fraction``.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source's samples in the task's loss.
        validation : array-like of bool of shape (n_samples,), default=None
            The rows of the source that form the validation part. The fit keeps the
            epoch with the best UAR on them.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the input is not as described, or `sample_domain` lacks source or target.
        TrainingDivergedError
            If a loss becomes infinite or NaN.
        """
        self._validate_params()
        with unchanged_on_failure(self):
            reset = self._fitted_before is None
            sequences = check_sequences(X, estimator=self, reset=reset)
            n = len(sequences)
            mixed = check_mixed_labels(y, n, estimator=self)
            domain = check_sample_domain(sample_domain, mixed)
            check_source_labels(mixed, domain)
            source, columns = rows_of_source(
                domain,
                speakers=speakers,
                sample_weight=sample_weight,
                validation=validation,
            )
            target = np.flatnonzero(domain < 0)
            if not len(target) and self._aligns:
                warn_caller(
                    f"{type(self).__name__} needs a target for its alignment and got "
                    "none. The fit uses the source only. Pass sample_domain, negative "
                    "at the rows of the target, or switch the alignment off.",
                    TargetMissingWarning,
                )
            used = np.concatenate([source, target])
            sequences, domain = take(sequences, used), domain[used]
            learnt = {}
            if self.normalize_domains:
                statistics = statistics_by_domain(sequences, domain)
                sequences = normalized_by_domain(sequences, domain, statistics)
                learnt = {"domain_statistics_": statistics}
            y = labels_of_rows(y, source)
            data = self._check_data(
                take(sequences, np.arange(len(source))),
                check_labels(y, len(y), estimator=self, rows=source),
                **columns,
                target=take(sequences, np.arange(len(source), len(used))),
                row=source,
            )
            net = train_net(self, data, self._fitted_before)
            differ = not are_equal(data.target, range(len(data.target)))
            if differ and self.normalize_domains:
                net.set_target_statistics(data.target)
            return self._set_fitted(net, data, **learnt)

    def _net_class(self, data):
        return DomainNet

    def _companions(self, data, device):
        if not (self._aligns and data.target):
            return None
        return TargetBatches(SequenceDataset(data.target, device=device))

    def _outputs(self, X, key, sample_domain=None):
        check_is_fitted(self, "net_")
        sequences = check_sequences(X, estimator=self, reset=False)
        domain = np.full(len(sequences), np.iinfo(np.int64).min)  # some target
        if sample_domain is not None:
            domain = check_domain_numbers(sample_domain, len(sequences))
        if not hasattr(self, "domain_statistics_"):
            return check_outputs(self.net_.outputs(sequences, key))
        domain = known_domains(domain, np.array(list(self.domain_statistics_)))
        sequences = normalized_by_domain(sequences, domain, self.domain_statistics_)
        sides = [np.flatnonzero(domain >= 0), np.flatnonzero(domain < 0)]
        found = [
            self.net_.outputs(take(sequences, rows), key, of_target=of_target)
            for rows, of_target in zip(sides, (False, True), strict=True)
            if len(rows)
        ]
        order = np.argsort(np.concatenate(sides))
        return check_outputs(np.concatenate(found)[order])

    def predict_proba(self, X, sample_domain=None, allow_source=False):
        """Return the probability of each class.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        sample_domain : array-like of shape (n_samples,), default=None
            The domain whose statistics normalise a sample. A domain that is not in the
            fit counts as the only domain of its side. By default all samples belong to
            the target.
        allow_source : bool, default=False
            Accepted because skada passes it. Source samples are always allowed.

        Returns
        -------
        array of shape (n_samples, n_classes), float64
            In the order of ``classes_``.

        Raises
        ------
        ValueError
            If the fit had several domains on a side, and `sample_domain` does not say
            which of them a sample belongs to.
        """
        logits = self._outputs(X, "logits", sample_domain)
        return self.net_.decide(logits)

    def predict_log_proba(self, X, sample_domain=None, allow_source=False):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X, sample_domain, allow_source : sequences, array-like and bool
            As in ``predict_proba``.

        Returns
        -------
        array of shape (n_samples, n_classes), float64
            In the order of ``classes_``.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X, sample_domain, allow_source))

    def predict(self, X, sample_domain=None, allow_source=False):
        """Return the most probable class of each sample.

        Parameters
        ----------
        X, sample_domain, allow_source : sequences, array-like and bool
            As in ``predict_proba``.

        Returns
        -------
        array of shape (n_samples,)
        """
        probabilities = self.predict_proba(X, sample_domain, allow_source)
        return self.classes_[probabilities.argmax(axis=1)]

    def score(
        self, X, y, sample_weight=None, *, sample_domain=None, allow_source=False
    ):
        """Return the accuracy.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        y : array-like of shape (n_samples,)
            Emotions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        sample_domain, allow_source : array-like and bool
            As in ``predict_proba``.

        Returns
        -------
        float
        """
        predicted = self.predict(X, sample_domain, allow_source)
        return accuracy_score(y, predicted, sample_weight=sample_weight)

    def embed(self, X, *, sample_domain=None):
        """Return the embedding from which the classes are predicted.

        Parameters
        ----------
        X, sample_domain : sequences and array-like
            As in ``predict_proba``.

        Returns
        -------
        array of shape (n_samples, n_embedding), float32
        """
        return self._outputs(X, "embedding", sample_domain).astype(np.float32)


# --------------------------------------------------------- statistics of each domain


def statistics_by_domain(sequences, domain):
    """Return the mean and scale of each domain's features."""
    rows = {name: np.flatnonzero(domain == name) for name in np.unique(domain).tolist()}
    for name, own in rows.items():
        if are_equal(sequences, own):
            rows[name] = np.flatnonzero(domain >= 0)
    return {name: frame_statistics(take(sequences, own)) for name, own in rows.items()}


def are_equal(sequences, rows):
    """Tell whether the recordings of some rows, if any, have the same values."""
    return all(np.array_equal(sequences[row], sequences[rows[0]]) for row in rows[1:])


def normalized_by_domain(sequences, domain, statistics):
    """Standardise each sequence by the statistics of its domain."""
    if isinstance(sequences, Vectors):
        out = np.empty((len(sequences), sequences.n_features), np.float32)
        for name, (mean, scale) in statistics.items():
            rows = np.flatnonzero(domain == name)
            for part, x in sequences.part(rows).chunks():
                out[rows[part]] = (x - mean) / scale
        return Vectors(out)
    return [
        standardized(x, *statistics[name])
        for x, name in zip(sequences, domain.tolist(), strict=True)
    ]


def known_domains(domain, known):
    """Replace an unknown domain by the only domain of its side."""
    domain = domain.copy()
    for side, rows, fitted in (
        ("target", domain < 0, known[known < 0]),
        ("source", domain >= 0, known[known >= 0]),
    ):
        unknown = rows & ~np.isin(domain, known)
        had = f"several {side} domains"
        if not len(fitted):  # a fit without a target
            fitted, had = known, "no target and several source domains"
        if unknown.any() and len(fitted) > 1:
            raise ValueError(
                f"sample_domain must name the domain of each row: the fit had {had}, "
                f"{fitted.tolist()}, each with its own statistics."
            )
        domain[unknown] = fitted[0]
    return domain


# ------------------------------------------------------------------ checks of columns


def check_mixed_labels(y, n_samples, *, estimator):
    """Return y as an array; the target's rows may hold values of any type."""
    if y is None:
        return check_labels(y, n_samples, estimator=estimator)
    if isinstance(y, list | tuple) and len({isinstance(v, str) for v in y}) == 2:
        y = np.array(y, dtype=object)  # NumPy would make a string of -1
    with naming("y"):
        y = column_or_1d(y, warn=True)
    check_length("y", y, n_samples)
    return y


def check_source_labels(y, domain):
    """Refuse rows of the source without a label."""
    for i in np.flatnonzero(domain >= 0) if y.dtype.kind == "O" else ():
        if is_missing(y[i]):
            raise ValueError(f"y[{i}] is {y[i]}, expected a label of the source.")


def rows_of_source(domain, *, speakers, sample_weight, validation):
    """Return the rows of the source with a weight, and the columns at these rows."""
    n, source = len(domain), np.flatnonzero(domain >= 0)
    check_speakers(speakers, n)
    with naming("sample_weight"):
        weight = check_sample_weight(sample_weight, np.empty((n, 1)), dtype=np.float64)
    if (weight[source] != 0).any():  # all zero is refused later
        source = source[weight[source] != 0]
    columns = {
        "speakers": speakers,
        "sample_weight": weight,
        "validation": validation,
    }
    for name, values in columns.items():
        if values is not None:
            check_length(name, values, n)
            columns[name] = as_column(values, name)[source]
    kept = columns["validation"]
    if kept is not None and kept.dtype == bool and np.any(validation) > kept.any():
        raise ValueError(
            "validation names no row of the source with a weight, expected one."
        )
    return source, columns


def labels_of_rows(y, rows):
    """Return some rows of a checked y, whose type does not depend on the others."""
    if hasattr(y, "iloc"):  # pandas knows of labels beside missing ones what they are
        y = y.iloc[rows]
        return y if y.ndim == 1 else y.iloc[:, 0]
    if isinstance(y, list | tuple):
        return [y[row] for row in rows]
    y = np.asarray(y).ravel()[rows]
    # NumPy has no other type for numbers beside None.
    numbers = y.dtype.kind == "O" and not any(isinstance(v, str) for v in y)
    return y.tolist() if numbers else y


def check_sample_domain(sample_domain, y):
    """Return the domain of each sample; by default, a y of -1 is the target."""
    if sample_domain is None:
        unlabelled = [not is_missing(label) and label == -1 for label in y.tolist()]
        domain = np.where(unlabelled, -1, 1)
        if np.all(unlabelled):
            raise ValueError("y is -1 in every row: there is no source to learn from.")
        return domain
    domain = check_domain_numbers(sample_domain, len(y))
    for side, found in ("source", domain >= 0), ("target", domain < 0):
        if not found.any():
            sign = "0 or positive" if side == "source" else "negative"
            raise ValueError(
                f"sample_domain has no {side}: found {np.unique(domain).tolist()}, "
                f"expected at least one that is {sign}."
            )
    return domain


def check_domain_numbers(sample_domain, n):
    """Check one integer per sample."""
    with naming("sample_domain"):
        domain = np.asarray(sample_domain)
    if domain.ndim != 1:
        raise ValueError(
            f"sample_domain has shape {domain.shape}, expected (n_samples,) = ({n},)."
        )
    check_length("sample_domain", domain, n)
    if domain.dtype.kind not in "iu" and not (
        domain.dtype.kind == "f"
        and (domain == np.round(domain)).all()
        and (np.abs(domain) < 2**53).all()
    ):
        raise ValueError(
            "sample_domain must hold integers, 0 or positive for the source and "
            f"negative for the target, got {domain[:3].tolist()}..."
        )
    return domain.astype(np.int64)
