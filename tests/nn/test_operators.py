"""Apple's GPUs (MPS): every operator of a training and a prediction has a kernel there.

No such machine is at hand. PyTorch's own list of kernels is in its wheel, and a mode of
its dispatcher sees the operators. So this holds for the installed version.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    SpeakerAdversarialClassifier,
)
from sklearn_ser.didan import ImplicitAlignment
from sklearn_ser.nn import normalization
from sklearn_ser.nn.batching import SequenceDataset
from sklearn_ser.nn.callbacks import diverged
from sklearn_ser.nn.encoders import ENCODERS
from sklearn_ser.nn.net import SpeechNet

COMPOSITE = {
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
    "CompositeImplicitAutograd",
}
# What PyTorch takes on a CPU, and what it takes in its place on MPS.
ELSEWHERE = {
    "mkldnn_rnn_layer": "_lstm_mps",
    "mkldnn_rnn_layer_backward": "lstm_mps_backward",
    "_fused_adam_": None,  # asked for on CPU and CUDA only
    "_fused_adamw_": None,
}
MOVES = {"_to_copy", "lift_fresh"}  # from NumPy's arrays, in which float64 is at home
NO_FLOAT64 = {torch.float64, torch.complex128}  # MPS has neither

METHODS = {
    "dsnet": (DSNetClassifier, {}),
    "dsnet-partners": (DSNetClassifier, {"share_neutral": False}),
    "menan": (SpeakerAdversarialClassifier, {"method": "menan"}),
    "menan-epoch": (SpeakerAdversarialClassifier, {"alternate": "epoch"}),
    "dat": (SpeakerAdversarialClassifier, {"method": "dat"}),
    "didan": (DIDANDomainAdapter, {"alignment": "didan"}),
    "lidan": (DIDANDomainAdapter, {"alignment": "lidan"}),
    "lidan-common": (
        DIDANDomainAdapter,
        {"alignment": "lidan", "normalize_domains": False},
    ),
}


class Recorder(TorchDispatchMode):
    """Keep the name of each operator, and of those that meet double precision."""

    def __init__(self):
        super().__init__()
        self.seen, self.double = set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        namespace, _, name = func.name().partition("::")
        if namespace != "aten":  # marks for the profiler
            return found
        self.seen.add(name)
        if name in MOVES:
            return found
        for value in torch.utils._pytree.tree_leaves([args, kwargs, found]):
            if isinstance(value, torch.Tensor) and value.dtype in NO_FLOAT64:
                self.double.add(name)
        return found


@pytest.fixture(scope="module")
def kernels():
    """The entry of each operator in PyTorch's list."""
    yaml = pytest.importorskip("yaml")
    torchgen = pytest.importorskip("torchgen")
    path = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries = yaml.load(path.read_text(), loader)
    return {entry["func"].partition("(")[0]: entry for entry in entries}


def runs_on_mps(name, kernels):
    entry = kernels[name]
    if "structured_delegate" in entry:
        return runs_on_mps(entry["structured_delegate"], kernels)
    keys = ",".join(entry.get("dispatch", {"CompositeImplicitAutograd": None}))
    return bool({key.strip() for key in keys.split(",")} & (COMPOSITE | {"MPS"}))


def missing(names, kernels):
    return {
        name
        for name in (ELSEWHERE.get(name, name) for name in names)
        if name is not None and not runs_on_mps(name, kernels)
    }


# They are computed on the CPU, whatever the device, in double precision.
ON_THE_CPU = [
    (ImplicitAlignment, "codes"),
    (SpeechNet, "decide"),
    (normalization, "_cells"),
    (normalization, "_store"),
]


@pytest.fixture
def recorder(monkeypatch):
    """A recorder that does not mind double precision on the CPU, where it belongs."""
    recorder = Recorder()

    def excused(function):
        def call(*args, **kwargs):
            double = recorder.double.copy()
            found = function(*args, **kwargs)
            if isinstance(found, Iterator):
                found = list(found)
            recorder.double = double
            return found

        return call

    for owner, name in ON_THE_CPU:
        monkeypatch.setattr(owner, name, excused(getattr(owner, name)))
    monkeypatch.setattr(SpeechNet, "sharpen", lambda net: None)  # as it does on MPS
    return recorder


@pytest.fixture(scope="module")
def inputs():
    """12 sequences, and the arguments of a fit by class of the estimator."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(16, n)).astype(np.float32) for n in rng.integers(20, 40, 12)]
    y = np.array(["neutral", "anger", "sadness"])[np.arange(12) % 3]
    speakers = np.arange(12) // 3
    domain = {"sample_domain": np.where(speakers < 2, 1, -1), "speakers": speakers}
    return (
        X,
        y,
        lambda cls: domain if cls is DIDANDomainAdapter else {"speakers": speakers},
    )


def quick(cls, **params):
    defaults = {"max_epochs": 1, "batch_size": 6, "device": "cpu", "random_state": 0}
    return cls(**{**defaults, **params})


def check(recorder, kernels):
    assert len(recorder.seen) > 30
    assert not missing(recorder.seen, kernels)
    assert not recorder.double


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        *((name, "pointwise") for name in METHODS),  # vectors, with noise
        *(("didan", encoder) for encoder in ENCODERS if encoder != "pointwise"),
        ("dsnet", "conv"),
        ("menan", "conv"),
    ],
)
def test_each_method_and_each_encoder(inputs, kernels, recorder, name, encoder):
    X, y, arguments = inputs
    cls, params = METHODS[name]
    if encoder == "pointwise":
        X = np.stack([x[:, 0] for x in X])
    model = quick(cls, encoder=encoder, **params)
    with recorder:
        model.fit(X, y, **arguments(cls))
        model.predict_proba(X)
        model.embed(X)
    check(recorder, kernels)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_an_optimiser_that_is_not_fused(kernels, optimizer):
    weight = torch.ones(3, requires_grad=True)
    step = optimizer([weight], weight_decay=0.1, foreach=False).step
    weight.grad = torch.ones(3)
    with Recorder() as recorder:
        step()
    assert "addcdiv_" in recorder.seen
    assert not missing(recorder.seen, kernels)


@pytest.mark.parametrize("cls", [DSNetClassifier, SpeakerAdversarialClassifier])
def test_validation_and_a_warm_start(inputs, kernels, recorder, cls):
    X, y, arguments = inputs
    model = quick(cls, encoder="conv", validation_fraction=0.3, warm_start=True)
    with recorder:
        for _ in range(2):
            model.fit(X, y, **arguments(cls))
    check(recorder, kernels)


def test_the_search_for_what_diverged(inputs, kernels):
    X, y, arguments = inputs
    model = quick(DSNetClassifier, encoder="conv")
    model.fit(X, y, **arguments(DSNetClassifier))
    batch = SequenceDataset(X, {"row": np.arange(12)}).batch(range(4))
    with Recorder() as recorder:
        diverged(model.net_, "The loss", batch)
    assert not missing(recorder.seen, kernels)


@pytest.mark.parametrize(
    "operator", [torch.linalg.eigvalsh, torch.linalg.eigh, torch.geqrf]
)
def test_an_operator_that_mps_lacks_is_noticed(kernels, operator):
    with Recorder() as recorder:
        operator(torch.eye(3))
    assert missing(recorder.seen, kernels)


def test_double_precision_is_noticed():
    with Recorder() as recorder:
        torch.ones(2) * torch.ones(2, dtype=torch.float64)
    assert recorder.double
