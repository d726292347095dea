"""Sparse reconstruction of samples from a dictionary of others."""

import torch


@torch.no_grad()
def sparse_codes(D_s, D_t, tau, allowed=None, *, tol=1e-6, max_iter=500):
    """Minimise ||D_t - D_s Z||_F^2 + tau ||Z||_1 over Z by FISTA.

    Parameters
    ----------
    D_s : tensor of shape (..., d, n_s)
        The dictionary, one atom a column.
    D_t : tensor of shape (..., d, n_t)
        The samples to reconstruct, one a column.
    tau : float, or tensor of shape (..., 1, 1)
        Weight of the absolute values.
    allowed : bool tensor of shape (..., n_s, n_t), default=None
        Tells which atoms each sample may use.
    tol : float, default=1e-6
        Stop when Z changes by less, relative to its norm.
    max_iter : int, default=500
        The largest number of steps.

    Returns
    -------
    tensor of shape (..., n_s, n_t)
        Z. Each column equals the coefficients that scikit-learn's
        ``Lasso(alpha=tau / (2 * d), fit_intercept=False)`` finds.
    """
    gram, goal = D_s.mT @ D_s, D_s.mT @ D_t
    step = 1 / eigenvalue_bound(gram).clamp(min=1e-12)
    # A gradient step is y -> ahead @ y + shift. Codes that are not allowed are shrunk
    # to zero.
    ahead = torch.eye(goal.shape[-2]).to(gram) - step * gram
    shift = step * goal
    most = torch.zeros_like(goal) + step * tau / 2
    if allowed is not None:
        most = most.masked_fill(~allowed, torch.inf)
    least = -most
    z = y = torch.zeros_like(goal)
    t = 1.0
    for i in range(max_iter):
        new = ahead @ y + shift
        new = new - new.clamp(least, most)
        change = new - z
        if ((y - new) * change).sum() > 0:  # momentum points uphill: start it anew
            t = 1.0
        t, before = (1 + (1 + 4 * t**2) ** 0.5) / 2, t
        y = torch.add(new, change, alpha=(before - 1) / t)
        z = new
        if i % 10 == 9:
            moved, size = (torch.linalg.matrix_norm(m) for m in (change, z))
            if (moved <= tol * size).all():
                break
    return z


def eigenvalue_bound(gram):
    """Return an upper bound of the largest eigenvalue, close to it.

    The Frobenius norm of the 16th power is no less than the 16th power of the
    eigenvalue, so a step by this bound is never too long. An estimate by power
    iteration comes from below, and an eigensolver raises an error for NaN.

    Parameters
    ----------
    gram : tensor of shape (..., n, n)
        Symmetric, without negative eigenvalues.

    Returns
    -------
    tensor of shape (..., 1, 1)
        At most n^(1/32) times the eigenvalue.
    """
    unit = gram.abs().amax((-2, -1), keepdim=True)
    power = gram / unit.clamp(min=torch.finfo(gram.dtype).tiny)
    for _ in range(4):
        power = power @ power
    return unit * power.square().sum((-2, -1), keepdim=True) ** (1 / 32)


def reconstruction_error(D_s, D_t, Z, tau):
    """Return (||D_t - D_s Z||_F^2 + tau ||Z||_1) / n_t."""
    error = (D_t - D_s @ Z).square().sum() + tau * Z.abs().sum()
    return error / D_t.shape[-1]
