"""From the data of a fit to a trained net."""

import copy
from dataclasses import replace

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.helper import predefined_split

from .nn.batching import SequenceDataset
from .nn.callbacks import check_owners, default_callbacks, loads_best
from .nn.devices import training_device
from .nn.encoders import ENCODERS
from .nn.normalization import Standardize
from .nn.settings import own_settings
from .sequences import frame_statistics
from .training_data import split_validation


@own_settings()
def train_net(estimator, data):
    """Build the net that an estimator's hooks describe, and train it.

    The estimator is asked, and not changed.

    Parameters
    ----------
    estimator : BaseSpeechClassifier
    data : TrainingData

    Returns
    -------
    SpeechNet
        With ``warm_start=True`` it continues from the estimator's net.
    """
    rng = _generator(estimator.random_state)
    device = training_device(estimator.device)
    train, valid = split_validation(data, estimator.validation_fraction, rng)
    seed = int(rng.integers(2**32))
    data = replace(data, encoder=_choose_encoder(estimator, data))
    before = estimator.net_ if estimator._continues else None
    if before is not None:
        _check_continued(before, data)
        # Draw other batches, masks and dropout than before.
        state = np.random.SeedSequence([seed, before.seed]).generate_state(1)
        seed = int(state[0])
    make = ENCODERS[data.encoder] if isinstance(data.encoder, str) else data.encoder
    summarize = getattr(make, "summarizes", False)
    data = data.summarized() if summarize else data
    data = data.weighted(estimator.class_weight, train)
    part = data.rows(train)
    dataset = _dataset(
        part,
        device,
        estimator._columns(part),
        draw_companions=estimator._companions(part, device),
    )
    held = None if valid is None else _dataset(data.rows(valid), device)
    net = _make_net(estimator, part, seed, held, device, summarize)
    net.initialize()
    if before is not None:
        net.continue_from(before)
    else:
        prior = np.bincount(part.codes, part.weight) / len(train)
        net.start_from(frame_statistics(part.sequences), prior)
    if estimator.feature_noise and part.kind == "vector":
        net.set_residuals(part.residuals(_unit(net), rng))
    net.partial_fit(dataset)
    net.trim()
    return net


def _make_net(estimator, data, seed, valid, device, summarize):
    module, arguments = estimator._module(data)
    users = list(estimator.callbacks or [])
    lr = estimator._lr(data)
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
        summarize=summarize,
        max_epochs=estimator.max_epochs,
        lr=lr,
        batch_size=estimator._batch_size(data),
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=estimator.weight_decay,
        optimizer__fused=device.type in ("cpu", "cuda"),
        train_split=None if valid is None else predefined_split(valid),
        # Deep copies: a callback's state must not leak into the hyper-parameter.
        callbacks=copy.deepcopy(users),
        device=device,
        verbose=0,
        **{f"module__{name}": value for name, value in arguments.items()},
    )


def _unit(net):
    """Return what a net divides each feature by: a continued one by its first fit's."""
    layers = (m for m in net.module_.modules() if isinstance(m, Standardize))
    return next((layer.scale.cpu().numpy() for layer in layers), 1.0)


def _choose_encoder(estimator, data):
    """Return the chosen encoder, or the choice of "auto" for the sequences."""
    encoder = estimator.encoder
    if isinstance(encoder, torch.nn.Module):
        raise TypeError(
            f"encoder is an instance of {type(encoder).__name__}, expected the "
            "class, because every fit would train the same instance."
        )
    if isinstance(encoder, str) and encoder == "auto":
        return estimator._auto_encoders[data.kind]
    return encoder


def _check_continued(net, data):
    """Refuse to continue a net that has another encoder."""
    before = net.get_params_for("module")["encoder"]
    if before != data.encoder:
        now, then = (getattr(e, "__name__", e) for e in (data.encoder, before))
        raise ValueError(
            f"encoder is {now!r} now, but warm_start=True continues a fit with "
            f"{then!r}."
        )


def _dataset(data, device, columns=None, **options):
    """Return a dataset of the sequences, with the columns that every batch has."""
    weight = data.weight.astype(np.float32)
    shared = {"y": data.codes, "weight": weight, "row": data.row}
    columns = shared | (columns or {})
    return SequenceDataset(data.sequences, columns, device=device, **options)


def _generator(random_state):
    """Return a NumPy generator that leaves the global one alone."""
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(check_random_state(random_state).randint(2**31))
