"""What happens around the steps of a training: callbacks, Ctrl-C, and divergence."""

import signal
import threading
from contextlib import contextmanager
from math import cos, pi

import numpy as np
import torch
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from skorch.utils import noop
from tqdm.auto import tqdm

from ..exceptions import TrainingDivergedError
from .progress import report

# No training that converges has such weights. A user's code may fail for their outputs.
TOO_LARGE = 1e10


def default_callbacks(*, max_epochs, peak_lr, clip, validate, keep_best, verbose):
    """Return the named callbacks of a training, in which the best is of the UAR."""
    callbacks = [("reporter", Reporter())]
    if clip is not None:
        callbacks.append(("clip", GradientNormClipping(clip)))
    if peak_lr is not None:
        callbacks.append(("one_cycle", OneCycle(peak_lr)))
    if validate:
        score = EpochScoring(uar, lower_is_better=False, name="valid_uar")
        callbacks.append(("valid_uar", score))
    if validate and keep_best:
        best = EarlyStopping(
            monitor="valid_uar",
            patience=max_epochs + 1,
            lower_is_better=False,
            load_best=True,
            sink=noop,
        )
        callbacks.append(("best_epoch", best))
    if verbose:
        callbacks.append(("progress", EpochBar()))
    return callbacks


class OneCycle(Callback):
    """The one-cycle course of learning rate and first momentum over a training.

    The course is that of ``torch.optim.lr_scheduler.OneCycleLR`` with its defaults.
    That class counts batches, this one goes by the part of the training that is done:
    under a frame budget, epochs differ in their number of batches.
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


def uar(net, X, y):
    """Return the mean recall over the classes in y, as a scorer of skorch."""
    hit = net.predict(X) == y
    return float(np.mean([hit[y == k].mean() for k in np.unique(y)]))


def check_owners(callbacks, settings):
    """Refuse what is no callback, or sets what a parameter of the estimator sets."""
    owners = {"schedule": LRScheduler, "gradient_clip_value": GradientNormClipping}
    for i, callback in enumerate(map(_unnamed, callbacks)):
        kind = callback if isinstance(callback, type) else type(callback)
        if callback is not None and not issubclass(kind, Callback):
            raise TypeError(
                f"callbacks[{i}] is {callbacks[i]!r}, expected a skorch callback, or a "
                "tuple of a name and one."
            )
        for name, owner in owners.items():
            if issubclass(kind, owner) and settings[name] is not None:
                raise ValueError(
                    f"callbacks has a {kind.__name__} beside {name}="
                    f"{settings[name]!r}, and one would undo the other. Set "
                    f"{name}=None to use the callback."
                )


def loads_best(callback):
    """Tell whether a callback goes back to the best epoch by itself."""
    return getattr(_unnamed(callback), "load_best", False)


def _unnamed(callback):
    """Return an item of skorch's `callbacks`, which may have a name, without it."""
    named = isinstance(callback, tuple | list) and len(callback) == 2
    return callback[1] if named else callback


class Reporter(Callback):
    """Reports the progress of the training."""

    def on_batch_end(self, net, training=False, **kwargs):
        """Report the finished share."""
        if training:
            report(net.progress())


class EpochBar(Callback):
    """One progress bar over all epochs, where skorch's has one for each."""

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


@contextmanager
def interrupts_noticed():
    """Yield an event that is set when the user presses Ctrl-C.

    skorch's callbacks end a training by the same exception.
    """
    pressed, before = threading.Event(), signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not (main and callable(before)):
        yield pressed
        return

    def note(*args):
        pressed.set()
        return before(*args)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


# -------------------------------------------------------------------------- divergence


def diverged(net, what, batch):
    """Return the error for a training whose figures are not finite.

    It names the recording if some of the batch, and not all, have outputs that are not
    finite. The net is of no use afterwards.
    """
    epoch = net.history[-1]
    rows = _not_finite(net.module_, batch)
    found = "" if rows is None else f" The outputs of X[{rows[0]}] are not finite."
    if rows is not None and len(rows) > 1:
        found = f"{found[:-1]}, nor are those of {len(rows) - 1} more of its batch."
    return TrainingDivergedError(
        f"{what} in batch {len(epoch['batches'])} of epoch {epoch['epoch']}: the "
        f"training diverged.{found} Lower lr (now {net.lr:g}) or the weight of a term, "
        "or look for extreme values in X."
    )


def check_outputs(net, outputs, batch):
    """Refuse outputs that are not finite, before any term computes with them."""
    tensors = {name: list(_float_tensors(value)) for name, value in outputs.items()}
    sums = [t.detach().sum().float() for own in tensors.values() for t in own]
    if torch.stack(sums).isfinite().all():  # a sum with NaN in it is NaN
        return
    for name, own in tensors.items():
        if not all(t.isfinite().all() for t in own):
            raise diverged(net, f"The output {name!r} is not finite", batch)


def _float_tensors(value):
    """Yield the tensors of real numbers in nested dicts and sequences."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _float_tensors(part)


def largest_weight(module):
    """Return the largest absolute value of a parameter; infinity if one is NaN."""
    sizes = [float(p.detach().abs().max()) for p in module.parameters() if p.numel()]
    return np.inf if np.isnan(sizes).any() else max(sizes)


@torch.no_grad()
def check_last_step(net, dataset):
    """Refuse weights with outputs that are not finite, because no loss shows them."""
    batch = dataset.batch(net.get_iterator(dataset).rows()[0])
    cause = None
    try:
        net.match_statistics()
        net.module_.eval()
        logits = net.module_(batch.x, batch.lengths)["logits"]
        finite = torch.isfinite(logits).all()
    except Exception as error:
        if largest_weight(net.module_) < TOO_LARGE:
            raise
        finite, cause = False, error
    if not finite:
        raise TrainingDivergedError(
            "The outputs are not finite after the last step of epoch "
            f"{net.history[-1]['epoch']}: the training diverged. Lower lr (now "
            f"{net.lr:g}) or weight_decay, or check X for extreme values."
        ) from cause


@torch.no_grad()
def _not_finite(module, batch):
    """Return the rows of X with outputs that are not finite, or None."""
    module.eval()  # in training, batch normalisation spreads a fault over the batch
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.nan_to_num_()
    try:
        logits = module(batch.x, batch.lengths)["logits"]
    except Exception:  # a user's code may fail for NaN
        return None
    bad = ~torch.isfinite(logits).all(dim=1)
    if bad.all() or not bad.any():
        return None
    return batch["row"][bad].tolist()
