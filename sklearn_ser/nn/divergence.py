"""Trainings that diverge: which output or term, in which batch, of which recording."""

import numpy as np
import torch

from ..exceptions import TrainingDivergedError

# No training that converges has such weights. A user's code may fail for their outputs.
TOO_LARGE = 1e10


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
