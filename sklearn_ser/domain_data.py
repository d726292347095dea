"""The domain of each sample: its checks, and the statistics of each domain.

``sample_domain`` means what it means in skada: the labelled source has numbers from 0
upwards, the unlabelled target has negative ones.
"""

import numpy as np
from sklearn.utils.validation import column_or_1d

from ._vectors import Vectors, take
from .sequences import (
    check_labels,
    check_length,
    frame_statistics,
    is_missing,
    naming,
    standardized,
)


def statistics_by_domain(sequences, domain):
    """Return the mean and scale of the features of each domain.

    Where the recordings of a domain do not differ, they are those of the whole source.
    """
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
        for rows, x in sequences.chunks():
            mean, scale = (
                np.stack([statistics[d][i] for d in domain[rows].tolist()])
                for i in (0, 1)
            )
            out[rows] = (x - mean) / scale
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
    """Return the domain of each sample: 0 or positive is source, negative target.

    Parameters
    ----------
    sample_domain : array-like of shape (n_samples,) or None
        None makes the rows of a y of -1 the target.
    y : array of shape (n_samples,)

    Returns
    -------
    int array of shape (n_samples,)

    Raises
    ------
    ValueError
        If it holds no integers, or a given one lacks source or target.
    """
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
