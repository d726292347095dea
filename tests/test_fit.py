"""What a fit keeps to, whatever the method: all or nothing, weights, devices, ends."""

import copy
import gc
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from io import StringIO
from itertools import combinations
from types import FunctionType, ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    SpeakerAdversarialClassifier,
    TrainingDivergedError,
)
from sklearn_ser.didan import DIDAN
from sklearn_ser.dsnet import DSNet
from sklearn_ser.nn import callbacks, process
from sklearn_ser.nn.batching import BatchIterator, SequenceDataset
from sklearn_ser.nn.layers import LogitLayer, frame_mask
from sklearn_ser.nn.losses import CrossEntropy, LossTerm
from sklearn_ser.speaker_adversarial import SpeakerAdversarial


@pytest.fixture(scope="module")
def data(corpus, log_mels):
    return {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}


def one(**params):
    """A classifier, where it does not matter which one."""
    own = {"encoder": "conv", "max_epochs": 1, "batch_size": 8, "random_state": 0}
    return SpeakerAdversarialClassifier(**{**own, "method": None, **params})


class Masked(nn.Module):
    """A convolution of width one, with whatever a subclass adds."""

    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 12, 1)

    def forward(self, x, lengths):
        z = self.change(self.conv(x).relu())
        return z * frame_mask(lengths, z.shape[-1])[:, None], lengths

    def change(self, z):
        return z


# ------------------------------------------------------------- a user's own weights


class Preset(Masked):
    """An encoder that brings its weights along."""

    def __init__(self, n_features):
        super().__init__(n_features)
        nn.init.constant_(self.conv.weight, 0.125)
        nn.init.constant_(self.conv.bias, 0.5)


@pytest.mark.parametrize("network", [DSNet, DIDAN, SpeakerAdversarial])
def test_weights_of_a_users_encoder_are_kept(network):
    sizes = {"n_speakers": 2} if network is SpeakerAdversarial else {}
    module = network(n_classes=3, encoder=Preset, n_features=4, **sizes)
    [encoder] = [m for m in module.modules() if isinstance(m, Preset)]
    assert (encoder.conv.weight == 0.125).all()
    assert (encoder.conv.bias == 0.5).all()


def test_dsnet_initialises_what_is_its_own():
    module = DSNet(n_classes=3, encoder="conv", n_features=4)
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d) and layer is not module.C[-1]:
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert 0.8 * bound < float(layer.weight.detach().abs().max()) <= bound
            assert layer.bias is None or not layer.bias.any()


# -------------------------------------------------------------------- all or nothing


class Fails(Callback):
    """Ends the second epoch by an exception, or as by Ctrl-C."""

    def __init__(self, error):
        self.error = error

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            if self.error is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            raise self.error


def nan_at_the_end(X):
    X = [x.copy() for x in X]
    X[-1][0, 0] = np.nan
    return X


FAILURES = {
    "labels": lambda d: {**d, "X": [x[:5] for x in d["X"]], "y": d["y"][:-1]},
    "one class": lambda d: {**d, "y": ["anger"] * 24},
    "speakers": lambda d: {**d, "speakers": d["speakers"][1:]},
    "weights": lambda d: {**d, "sample_weight": np.zeros(24)},
    "validation": lambda d: {**d, "validation": np.ones(24, bool)},
    "NaN": lambda d: {**d, "X": nan_at_the_end(d["X"])},
    "frame": lambda d: {
        **d, "X": pd.DataFrame(np.ones((24, 3)), columns=list("abc")), "y": [1] * 24
    },
}  # fmt: skip


def learnt(model):
    """The fitted attributes, the same objects."""
    return {k: v for k, v in vars(model).items() if k.endswith("_")}


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(method, data, warm_start):
    model = method().fit(**data)
    before, expected = learnt(model), model.predict_proba(data["X"])
    for fault in FAILURES.values():
        bad, fresh = fault(data), method()
        for estimator in (fresh, model):
            with pytest.raises(ValueError):  # noqa: PT011
                estimator.fit(**bad)
        assert not learnt(fresh)
        assert learnt(model) == before
    with pytest.raises(NotFittedError):
        fresh.predict(data["X"])
    for error in (RuntimeError, KeyboardInterrupt):  # in the second epoch
        callbacks = [Fails(error)]
        model.set_params(warm_start=warm_start, max_epochs=3, callbacks=callbacks)
        with pytest.raises(error):
            model.fit(**data)
    assert learnt(model) == before
    np.testing.assert_array_equal(model.predict_proba(data["X"]), expected)


def test_labels_of_the_validation_part_change_no_weight(method, data, weights):
    """Not even those of the classes, by which the loss is balanced."""
    validation = np.arange(24) % 4 == 0
    other = np.where(validation, np.unique(data["y"])[0], data["y"])
    assert (other != data["y"]).any()
    fits = [
        method(max_epochs=1).fit(**{**data, "y": y}, validation=validation)
        for y in (data["y"], other)
    ]
    assert weights(fits[0]) == weights(fits[1])


def test_rows_of_weight_zero_are_as_if_removed(method, data, weights):
    counts = np.arange(24) % 5 != 0
    X = [x if c else 50 * x for x, c in zip(data["X"], counts, strict=True)]
    whole = method().fit(**{**data, "X": X}, sample_weight=counts.astype(float))
    rest = {
        name: [v for v, c in zip(values, counts, strict=True) if c]
        for name, values in data.items()
    }
    assert weights(whole) == weights(method().fit(**rest))


def test_a_validation_part_of_weight_zero_is_refused(method, data):
    validation = np.arange(24) < 4
    weight = np.where(validation, 0.0, 1.0)
    with pytest.raises(ValueError, match="validation names"):
        method().fit(**data, validation=validation, sample_weight=weight)


def reachable(root):
    """Yield everything that keeps its memory because of a fitted model."""
    waiting, seen = [root], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
            continue
        seen.add(id(thing))
        yield thing
        waiting.extend(gc.get_referents(thing))
        if isinstance(thing, torch.Tensor) and thing.grad is not None:
            waiting.append(thing.grad)  # the collector does not see it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "warm_start"), [("vectors", False), ("log-mels", True)]
)
def test_a_net_keeps_nothing_of_the_fit_but_its_weights(method, data, kind, warm_start):
    dat = {"method": "dat"} if "method" in method().get_params() else {}
    X = data["X"]
    if kind == "vectors":  # with residuals, from which noise is made
        X = np.array([x.mean(1) for x in data["X"]])
    keep = [
        LRScheduler("StepLR", step_size=1),
        EarlyStopping("train_loss", load_best=True),
        EpochScoring("accuracy", on_train=True),
    ]
    for own in ({}, dat, {"callbacks": keep, "schedule": None}):
        model = method(warm_start=warm_start, max_epochs=2, **own)
        model.fit(**{**data, "X": X}, validation=np.arange(24) < 4)
        module = model.net_.module_
        weights = {id(t) for t in (*module.parameters(), *module.buffers())}
        for other in getattr(model.net_, "target_modules_", ()):
            weights |= {id(t) for t in other.buffers()}
        for thing in reachable(model):
            assert not isinstance(thing, BatchIterator | SequenceDataset)
            if isinstance(thing, torch.Tensor):
                assert id(thing) in weights


def test_a_training_that_diverges_says_where(method, data):
    model = method(lr=1e30, max_epochs=3, gradient_clip_value=None)
    message = r"(output|term) '\w+' is .* in batch \d+ of epoch \d.*Lower lr"
    with (
        pytest.raises(TrainingDivergedError, match=message) as info,
        np.errstate(all="ignore"),
    ):
        model.fit(**data)
    assert not hasattr(model, "net_")
    assert "The outputs of" not in str(info.value)  # no recording, where all diverge


@pytest.mark.parametrize(
    ("alignment", "fault"),
    [("didan", {"alignment_weight": 1e39}), ("lidan", {"lr": 1e30})],
)
def test_an_alignment_that_diverges_is_no_failure_of_linear_algebra(
    data, fault, alignment
):
    domain = np.where(data["speakers"] == "s03", -1, 1)
    model = DIDANDomainAdapter(
        encoder="conv", alignment=alignment, max_epochs=4, gradient_clip_value=None,
        random_state=0, **fault,
    )  # fmt: skip
    with (
        pytest.raises(TrainingDivergedError, match=r"in batch \d+ of epoch \d"),
        np.errstate(all="ignore"),
    ):
        model.fit(data["X"], data["y"], sample_domain=domain)


@dataclass(frozen=True)
class Volume(LossTerm):
    """A term of a user's, with code that fails for NaN."""

    name = "volume"

    def __call__(self, outputs, batch):
        h = outputs["embedding"]
        assert torch.isfinite(h).all()
        return torch.linalg.eigvalsh(h @ h.T).square().mean()


class WithVolume(SpeakerAdversarialClassifier):
    def _terms(self, data):
        return [*super()._terms(data), Volume(1e-3)]


class FailsForNaN(Masked):
    """An encoder with code that cannot take NaN, in training or in validation."""

    def change(self, z):
        flat = z.mean(2)
        values = torch.linalg.eigvalsh(flat @ flat.T)
        return z + 0 * values.mean()


@pytest.mark.parametrize("validation", [None, np.arange(24) < 4])
@pytest.mark.parametrize(
    "make",
    [
        partial(WithVolume, method=None, encoder="conv"),
        partial(DSNetClassifier, encoder=FailsForNaN, calibration_weight=0),
    ],
)
def test_a_users_code_that_fails_for_nan_is_told_as_a_divergence(
    data, make, validation
):
    model = make(lr=1e30, max_epochs=3, gradient_clip_value=None, random_state=0)
    with (
        pytest.raises(TrainingDivergedError, match="Lower lr"),
        np.errstate(all="ignore"),
    ):
        model.fit(data["X"], data["y"], validation=validation)


def test_a_users_code_that_fails_is_no_divergence(data):
    class Broken(Masked):
        def change(self, z):
            if self.training:
                raise ValueError("of the user")
            return z

    model = DSNetClassifier(encoder=Broken, calibration_weight=0, max_epochs=1)
    with pytest.raises(ValueError, match="of the user"):
        model.fit(data["X"], data["y"])


# ------------------------------------------------------------------------ randomness


class FunctionalDropout(Masked):
    def change(self, z):
        return F.dropout(z, 0.5, self.training)


class Complex(Masked):
    """An encoder with a complex parameter, which fused optimisers refuse."""

    def __init__(self, n_features):
        super().__init__(n_features)
        self.turn = nn.Parameter(torch.ones(1, dtype=torch.complex64))

    def forward(self, x, lengths):
        z, lengths = super().forward(x, lengths)
        return z * self.turn.real, lengths


def test_complex_parameters_are_trained(method, data):
    model = method(encoder=Complex).fit(**data)
    [encoder] = [m for m in model.net_.module_.modules() if isinstance(m, Complex)]
    assert encoder.turn.real != 1


def test_accelerators_are_not_seeded(data, method, monkeypatch):
    def refuse(*args):
        raise AssertionError("seeds the generators of every device")

    for module, name in (
        (torch, "manual_seed"),
        (torch.cuda, "manual_seed_all"),
        (torch.mps, "manual_seed"),
        (torch.random, "manual_seed"),
    ):
        monkeypatch.setattr(module, name, refuse)
    method(encoder=FunctionalDropout).fit(**data)


def test_draws_restore_the_generator_after_an_error():
    before = torch.get_rng_state()
    drawn = []

    def draw():
        with process.Draws(3):
            drawn.append(torch.rand(2))
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        draw()
    assert torch.equal(torch.get_rng_state(), before)
    with process.Draws(3):
        assert torch.equal(torch.rand(2), drawn[0])


class Rows(Callback):
    """Keeps the speech of each training batch, in their order."""

    seen: list = []  # noqa: RUF012

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        if training:
            self.seen.append(batch[0].x.sum().item())


def test_a_continued_fit_draws_anew_and_follows_the_seed(method, data, weights):
    def fit_three_times():
        Rows.seen.clear()
        model = method(warm_start=True, callbacks=[Rows()])
        model.fit(**data).fit(**data).fit(**data)
        return weights(model), np.split(np.array(Rows.seen), 3)

    found, drawn = fit_three_times()
    again, redrawn = fit_three_times()
    assert again == found
    np.testing.assert_array_equal(redrawn, drawn)
    for first, second in combinations(drawn, 2):
        assert not np.array_equal(first, second)


def test_a_continued_fit_keeps_its_validation_part(data):
    Held.seen.clear()
    model = one(warm_start=True, validation_fraction=0.25, callbacks=[Held()])
    model.fit(**data).fit(**data)
    assert Held.seen[0] == Held.seen[1]


class Held(Callback):
    """Keeps what the validation part of each fit sounds like."""

    seen: list = []  # noqa: RUF012

    def on_train_begin(self, net, **kwargs):
        held = net.get_split_datasets(None)[1]
        self.seen.append(sorted(float(np.sum(x)) for x in held.sequences))


# --------------------------------------------------------------------------- devices


@pytest.mark.parametrize(
    ("n_devices", "device", "expected"),
    [
        (0, "cuda:3", "cpu"),
        (1, "cuda:3", "cuda:0"),
        (4, "cuda:3", "cuda:3"),
        (1, "cuda", "cuda"),
        (2, "cpu", "cpu"),
    ],
)
def test_a_fitted_model_goes_to_a_device_that_exists(
    monkeypatch, n_devices, device, expected
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_devices)
    assert process.existing_device(device) == torch.device(expected)
    if device == expected:
        assert process.training_device(device) == torch.device(device)
    else:
        with pytest.raises(ValueError, match="no such device"):
            process.training_device(device)


# --------------------------------------------------------------------------- weights


def bias(model):
    """What the output layer started from, in a fit that does not move."""
    *_, layer = (m for m in model.net_.module_.modules() if isinstance(m, LogitLayer))
    return layer.bias


def test_weights_have_mean_one_over_what_is_trained_on(method, data):
    weight = np.where(data["speakers"] < "s02", 1.0, 9.0)
    validation = data["speakers"] == "s03"
    model = method(lr=1e-12, class_weight=None).fit(
        **data, sample_weight=weight, validation=validation
    )
    kept = ~validation
    prior = np.array(
        [
            weight[kept][data["y"][kept] == label].sum() / weight[kept].sum()
            for label in model.classes_
        ]
    )
    expected = prior
    if method.step != "didandomainadapter":
        smooth = 0.9 * prior + 0.1 / len(prior)  # as the labels of the loss are
        expected = np.log(smooth) - np.log(smooth).mean()
    np.testing.assert_allclose(bias(model).detach(), expected, atol=1e-5)


def test_a_net_starts_at_the_frequencies_of_its_classes(method, data):
    """In training and in prediction, however unequal they are."""
    weight = {"anger": 1000, "neutral": 1e-4, "sadness": 1e-4}
    settings = {"max_epochs": 1, "lr": 1e-12, "temperature": None}
    model = method(class_weight=weight, **settings).fit(**data)
    assert model.predict_proba(data["X"])[:, 0].mean() > 0.8  # 0.93 by the labels
    if "label_smoothing" in model.get_params():
        least = -(0.9 + 0.1 / 3) * np.log(0.9 + 0.1 / 3) - 0.2 / 3 * np.log(0.1 / 3)
        assert model.history_[0, "train_task"] < 1.5 * least


@pytest.mark.parametrize(
    "weight", [0, -1.0, float("nan"), float("inf"), np.float32("inf"), "2", None, 1j]
)
def test_a_class_weight_must_be_above_zero(data, weight):
    message = r"class_weight\['anger'\] is .*, expected a finite number above zero"
    with pytest.raises(ValueError, match=message):
        one(class_weight={"anger": weight}).fit(**data)


def test_weights_count_by_their_ratios_alone(data):
    """Their mean may be no float64."""
    weight = np.where(data["speakers"] < "s02", 0.125, 1.0)
    by_class = {"anger": 1.0, "neutral": 0.5, "sadness": 0.25}

    def start(weight, by_class):
        model = one(lr=1e-12, class_weight=by_class)
        return bias(model.fit(**data, sample_weight=weight))

    expected = start(weight, by_class)
    for unit in (1e-310, 1e308):
        scaled = {label: value * unit for label, value in by_class.items()}
        found = start(weight * unit, scaled)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


# ------------------------------------------------------------- the caller's PyTorch


@contextmanager
def double_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def fitted_anywhere(method, data):
    """A fit with a target, where the method takes one: what it got, and the model."""
    domain = {"sample_domain": np.where(data["speakers"] < "s02", 1, -1)}
    own = {} if method.uses_speakers else domain
    return own, method().fit(**data, **own)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        double_by_default,
        torch.inference_mode,
        torch.no_grad,
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu"),
    ],
    ids=["float64", "inference mode", "no gradients", "device", "mixed precision"],
)
def test_settings_of_the_caller_have_no_influence(
    data, setting, weights, method, fitted_anywhere
):
    own, expected = fitted_anywhere
    p = expected.predict_proba(data["X"])
    with setting():
        model = method().fit(**data, **own)
        twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(expected))]
        found = [m.predict_proba(data["X"]) for m in (model, *twins)]
    assert weights(model) == weights(expected)
    for q in [*found, *(m.predict_proba(data["X"]) for m in (model, *twins))]:
        np.testing.assert_array_equal(q, p)
    for twin in twins:  # their weights can be trained
        twin.set_params(warm_start=True).fit(**data, **own)


def test_two_threads_restore_the_default_type(data):
    model = one()
    with double_by_default(), ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda m: m.fit(**data), [copy.deepcopy(model), model]))


# --------------------------------------------------------------------- probabilities


def test_logarithms_of_probabilities(method, data):
    own = {} if method.uses_speakers else {"sample_domain": [1] * 12 + [-1] * 12}
    model = method().fit(**data, **own)
    found = model.predict_log_proba(data["X"], *own.values())
    expected = model.predict_proba(data["X"], *own.values())
    np.testing.assert_array_equal(found, np.log(expected))
    with pytest.raises(NotFittedError):
        method().predict_log_proba(data["X"])
    model.net_.decide = lambda logits: np.eye(3)[[0] * len(logits)]
    found = model.predict_log_proba(data["X"])  # no warning of log(0)
    assert found.tolist() == [[0, -np.inf, -np.inf]] * 24


# ------------------------------------------------------------------------ validation


def test_the_rows_of_validation_are_set_aside(data):
    Held.seen.clear()
    validation = data["speakers"] == "s01"
    model = one(max_epochs=2, callbacks=[Held()], validation_fraction=0.5)
    model.fit(**data, validation=validation)
    held = [x for x, v in zip(data["X"], validation, strict=True) if v]
    assert Held.seen == [sorted(float(np.sum(x)) for x in held)]
    assert len(model.history_[:, "valid_uar"]) == 2


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (lambda y: np.zeros(24, int), "validation must hold booleans"),
        (lambda y: np.zeros((24, 1), bool), "validation must hold booleans"),
        (lambda y: np.zeros(23, bool), "validation has 23"),
        (lambda y: y == "anger", r"validation leaves no .*\['anger'\]"),
    ],
)
def test_validation_must_be_a_mask_that_leaves_each_class(
    method, data, validation, message
):
    with pytest.raises(ValueError, match=message):
        method().fit(**data, validation=validation(data["y"]))


def test_no_row_of_validation_is_no_validation(method, data, weights):
    none = method().fit(**data, validation=np.zeros(24, bool))
    assert weights(none) == weights(method().fit(**data))


# -------------------------------------------------------------------------- clipping


class GradientNorms(Callback):
    def on_train_begin(self, net, **kwargs):
        net.norms = []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        squares = [p.grad.square().sum() for _, p in named_parameters]
        net.norms.append(float(sum(squares)) ** 0.5)


@pytest.mark.parametrize("value", [None, 0.05])
def test_clipping_is_a_parameter(method, data, value):
    options = {"gradient_clip_value": value, "callbacks": [GradientNorms()]}
    norms = method(**options).fit(**data).net_.norms
    assert min(norms) > 0.05 if value is None else max(norms) < 0.0501


# ----------------------------------------------------------------------- ends, early


class Interrupt(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)


def test_an_interruption_at_the_end_of_an_epoch_is_no_normal_stop(data):
    model = one(max_epochs=4, callbacks=[Interrupt()])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model.fit(**data)
    assert not hasattr(model, "net_")
    assert signal.getsignal(signal.SIGINT) is before


class Bars(tqdm):
    """Bars that are counted, and written to nowhere."""

    opened: list = []  # noqa: RUF012

    def __init__(self, **kwargs):
        super().__init__(file=StringIO(), **kwargs)
        self.opened.append(self)


@pytest.mark.parametrize("error", [None, RuntimeError("no")])
def test_the_progress_bar_is_closed(data, error, monkeypatch):
    monkeypatch.setattr(callbacks, "tqdm", Bars)
    Bars.opened.clear()
    own = [] if error is None else [Fails(error)]
    model = one(max_epochs=2, verbose=1, callbacks=own)
    with nullcontext() if error is None else pytest.raises(RuntimeError, match="no"):
        model.fit(**data)
    assert [bar.disable for bar in Bars.opened] == [True]  # closed


def test_a_term_of_ones_own_says_how_smooth_its_labels_are(data):
    """The start follows the loss, and not a parameter that happens to have a name."""

    class Smooth(DSNetClassifier):
        def _terms(self, data):
            return [CrossEntropy(label_smoothing=0.6)]

    weight = {"anger": 8, "neutral": 1, "sadness": 1}
    model = Smooth(
        encoder="conv",
        calibration_weight=0,
        max_epochs=1,
        lr=1e-12,
        class_weight=weight,
    ).fit(data["X"], data["y"])
    share = 0.4 * np.array([0.8, 0.1, 0.1]) + 0.2
    expected = np.log(share) - np.log(share).mean()
    np.testing.assert_allclose(bias(model).detach(), expected, atol=1e-5)
