"""Callbacks of the net: learning rate, clipping, validation score, progress bar."""

from math import cos, pi

import numpy as np
from skorch.callbacks import Callback, EarlyStopping
from torch.nn.utils import clip_grad_norm_
from tqdm.auto import tqdm

from .._progress import report


def default_callbacks(*, max_epochs, peak_lr, clip, keep_best, verbose):
    """Return the named callbacks of a training.

    Parameters
    ----------
    max_epochs : int
    peak_lr : float or None
        Peak of a one-cycle learning rate; None keeps the rate constant.
    clip : float or None
        Largest norm of a gradient; None does not clip.
    keep_best : bool
        Whether to record the validation UAR and return to its best epoch.
    verbose : int
        Positive shows a progress bar.

    Returns
    -------
    list of (str, Callback)
    """
    callbacks = [("reporter", Reporter())]
    if clip is not None:
        callbacks.append(("clip", ClipGradient(clip)))
    if peak_lr is not None:
        callbacks.append(("one_cycle", OneCycle(peak_lr)))
    if keep_best:
        best = EarlyStopping(
            monitor="valid_uar",
            patience=max_epochs + 1,
            lower_is_better=False,
            load_best=True,
            sink=_silent,
        )
        callbacks += [("valid_uar", ValidUAR()), ("best_epoch", best)]
    if verbose:
        callbacks.append(("progress", EpochBar()))
    return callbacks


def _silent(*args):
    """Ignore the text that a callback would print."""


class ClipGradient(Callback):
    """Clips the norm of the gradient; skorch's walks through the layers to find it.

    Parameters
    ----------
    value : float
        Largest norm.
    """

    def __init__(self, value):
        self.value = value

    def on_grad_computed(self, net, **kwargs):
        """Clip what the net's optimiser steps by."""
        groups = net.optimizer_.param_groups
        clip_grad_norm_([p for g in groups for p in g["params"]], self.value)


class OneCycle(Callback):
    """The one-cycle course of learning rate and first momentum over a training.

    The course is that of ``torch.optim.lr_scheduler.OneCycleLR`` with its defaults.
    That class counts batches, this one goes by the part of the training that is done:
    under a frame budget, epochs differ in their number of batches.

    Parameters
    ----------
    peak : float
        The highest learning rate, reached after three tenths of the training.
    """

    rise = 0.3
    first, last = 1 / 25, 1 / 25e4  # of the peak
    momentum = 0.95, 0.85  # at the ends, and at the peak

    def __init__(self, peak):
        self.peak = peak

    def on_batch_begin(self, net, training=False, **kwargs):
        """Set the rate and the momentum of a training batch."""
        if not training:
            return
        done = net.progress()
        if done < self.rise:
            height, low = _half_cosine(done / self.rise), self.first
        else:
            height, low = _half_cosine((1 - done) / (1 - self.rise)), self.last
        at_ends, at_peak = self.momentum
        for group in net.optimizer_.param_groups:
            group["lr"] = self.peak * (low + (1 - low) * height)
            momentum = at_ends + (at_peak - at_ends) * height
            group["betas"] = (momentum, group["betas"][1])


def _half_cosine(x):
    """Rise from 0 at x = 0 to 1 at x = 1."""
    return (1 - cos(pi * x)) / 2


class ValidUAR(Callback):
    """Records the unweighted average recall of the validation part."""

    def on_epoch_begin(self, net, **kwargs):
        """Forget the samples of the epoch before."""
        self.hits_ = []

    def on_batch_end(self, net, batch=None, training=False, y_pred=None, **kwargs):
        """Note which samples of a validation batch were classified correctly."""
        if not training:
            y = batch[0]["y"]
            hit = y_pred["logits"].argmax(1) == y
            self.hits_.append((y.cpu().numpy(), hit.cpu().numpy()))

    def on_epoch_end(self, net, **kwargs):
        """Average the recall over the classes that occur."""
        if self.hits_:
            y, hit = (np.concatenate(part) for part in zip(*self.hits_, strict=True))
            uar = np.mean([hit[y == k].mean() for k in np.unique(y)])
            net.history.record("valid_uar", float(uar))


class Reporter(Callback):
    """Reports the progress of the training."""

    def on_batch_end(self, net, training=False, **kwargs):
        """Report the finished share."""
        if training:
            report(net.progress())


class EpochBar(Callback):
    """One progress bar over the epochs."""

    def on_train_begin(self, net, **kwargs):
        """Open the bar."""
        self.bar_ = tqdm(total=net.max_epochs, unit="epoch", leave=False)

    def on_epoch_end(self, net, **kwargs):
        """Show the loss."""
        self.bar_.set_postfix(loss=f"{net.history[-1, 'train_loss']:.3f}")
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar_.close()

    def on_train_interrupted(self):
        """Close the bar after an error."""
        if hasattr(self, "bar_"):
            self.bar_.close()
