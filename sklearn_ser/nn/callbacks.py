"""Callbacks of the net: the recipe of a training, a validation score, a bar."""

import numpy as np
import torch
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from tqdm.auto import tqdm

GRADIENT_NORM = 5.0


def default_callbacks(*, max_epochs, peak_lr, n_batches, keep_best, verbose):
    """Return the named callbacks of a training.

    Parameters
    ----------
    max_epochs, n_batches : int
        Epochs, and batches in each.
    peak_lr : float or None
        Peak of a one-cycle learning rate; None keeps the rate constant.
    keep_best : bool
        Whether to record the validation UAR and return to its best epoch.
    verbose : int
        Positive shows a progress bar.

    Returns
    -------
    list of (str, Callback)
    """
    callbacks = [("clip", GradientNormClipping(GRADIENT_NORM))]
    if peak_lr is not None:
        cycle = LRScheduler(
            torch.optim.lr_scheduler.OneCycleLR,
            step_every="batch",
            max_lr=peak_lr,
            # the step after the last batch counts too
            total_steps=max_epochs * n_batches + 1,
        )
        callbacks.append(("one_cycle", cycle))
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
    """Swallow what a callback prints."""


class ValidUAR(Callback):
    """Records the unweighted average recall of the validation part."""

    def on_epoch_begin(self, net, **kwargs):
        """Forget the epoch before."""
        self.hits_ = []

    def on_batch_end(self, net, batch=None, training=False, y_pred=None, **kwargs):
        """Keep what was right."""
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
