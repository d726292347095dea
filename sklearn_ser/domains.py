"""What source and target are: the domain of each sample, as skada has it."""

import numpy as np
from sklearn.utils.validation import column_or_1d

from .sequences import check_labels, check_length, is_missing


def check_mixed_labels(y, n_samples, *, estimator):
    """Return y as an array in which anything may stand at the target's rows."""
    if y is None:
        return check_labels(y, n_samples, estimator=estimator)
    if isinstance(y, list | tuple) and len({isinstance(v, str) for v in y}) == 2:
        y = np.array(y, dtype=object)  # NumPy would make a string of -1
    y = column_or_1d(y, warn=True)
    check_length("y", y, n_samples)
    return y


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
    domain = np.asarray(sample_domain)
    if domain.ndim != 1:
        raise ValueError(
            f"sample_domain has shape {domain.shape}, expected (n_samples,) = ({n},)."
        )
    check_length("sample_domain", domain, n)
    if domain.dtype.kind not in "iu" and not (
        domain.dtype.kind == "f" and (domain == np.round(domain)).all()
    ):
        raise ValueError(
            "sample_domain must hold integers, 0 or positive for the source and "
            f"negative for the target, got {domain[:3].tolist()}..."
        )
    return domain.astype(np.int64)
