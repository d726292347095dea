"""Figures that can be trusted: gradients, precision, batches, threads, faults."""

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sklearn_ser import SpeakerAdversarialClassifier, didan, dsnet, speaker_adversarial
from sklearn_ser.exceptions import TrainingDivergedError
from sklearn_ser.nn.batching import Batch, OutOfMemoryError
from sklearn_ser.nn.layers import frame_mask
from sklearn_ser.nn.losses import CrossEntropy, LossTerm
from sklearn_ser.nn.process import threads_for


@pytest.fixture
def data(log_mels, corpus, method):
    own = {"sample_domain": np.where(corpus.sessions == "first", 1, -1)}
    own = {"speakers": corpus.speakers} if method.uses_speakers else own
    return {"X": log_mels, "y": corpus.y, **own}


# --------------------------------------------------------------------------- gradients

N, D = 5, 4


def labelled(**columns):
    weight = torch.tensor([0.5, 2.0, 1.0, 1.0, 0.5], dtype=torch.float64)
    columns = {"y": torch.tensor([0, 1, 2, 3, 0]), "weight": weight, **columns}
    return Batch(torch.zeros(N, 1, 1), torch.ones(N), columns)


def with_partners():
    columns = {
        "calibrated": torch.tensor([0, 2, 4]),
        "partner": torch.tensor([1, 0, 1]),
    }
    neutral = Batch(torch.zeros(N, 1, 1), torch.ones(N), columns)
    return Batch(torch.zeros(N, 1, 1), torch.ones(N), {}, {"neutral": neutral})


def with_speakers():
    weight = torch.tensor([1.5, 0.5, 0.5, 1.0, 1.5], dtype=torch.float64)
    return labelled(speaker=torch.tensor([0, 1, 1, 2, 0]), speaker_weight=weight)


TERMS = {
    "CrossEntropy": (CrossEntropy(label_smoothing=0.1), ["logits"], labelled()),
    "Regression": (didan.Regression(), ["logits"], labelled()),
    "NeutralCalibration": (
        dsnet.NeutralCalibration(), ["irrelevant", "neutral"], with_partners()
    ),
    "Reconstruction": (dsnet.Reconstruction(), ["decoded", "encoded"], None),
    "SpeakerEntropy": (
        speaker_adversarial.SpeakerEntropy(), ["speaker_logits"], with_speakers()
    ),
    "SpeakerCrossEntropy": (
        speaker_adversarial.SpeakerCrossEntropy(), ["speaker_logits"], with_speakers()
    ),
}  # fmt: skip
# These hold a part fixed, on purpose: test_dsnet and test_didan check their gradients.
HELD = {"Orthogonality", "ImplicitAlignment"}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("name", TERMS)
def test_gradients_in_double_precision(name, scale):
    term, names, batch = TERMS[name]
    rng = np.random.default_rng(0)
    inputs = [
        torch.tensor(scale * rng.normal(size=(N, D)), requires_grad=True) for _ in names
    ]

    def value(*tensors):
        return term(dict(zip(names, tensors, strict=True)), batch)

    assert torch.autograd.gradcheck(value, inputs, atol=1e-7)


def test_no_term_is_left_out():
    known = {
        name
        for module in (dsnet, speaker_adversarial, didan)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, LossTerm)
    }
    assert known - {"LossTerm"} | {"CrossEntropy"} == TERMS.keys() | HELD


# --------------------------------------------------------------------------- precision


class KeepsBatch(Callback):
    batch = None

    def on_batch_begin(self, net, batch, training, **kwargs):
        type(self).batch = batch[0]


def in_double(batch):
    if not isinstance(batch, Batch):
        return batch
    columns = {
        name: values.double() if values.is_floating_point() else values
        for name, values in batch.columns.items()
    }
    companions = {name: in_double(part) for name, part in batch.companions.items()}
    return Batch(batch.x.double(), batch.lengths, columns, companions)


def gradients(net, module, batch):
    """The gradients of one training step, without what is drawn by chance."""
    for layer in module.modules():
        if "Dropout" in type(layer).__name__:
            layer.p = 0.0
    module.train()
    outputs = module(batch.x, batch.lengths, **batch.companions)
    loss = net.criterion_(outputs, batch, 0.5)[0]
    loss.backward()
    return loss.item(), {
        name: p.grad for name, p in module.named_parameters() if p.grad is not None
    }


def test_a_training_step_in_single_precision(method, data):
    still = {"speed_perturbation": 0, "vocal_tract_perturbation": 0, "masking": 0}
    model = method(callbacks=[KeepsBatch()], feature_noise=0, **still).fit(**data)
    net, batch = model.net_, KeepsBatch.batch
    single = copy.deepcopy(net.module_)
    loss, found = gradients(net, single, batch)
    expected_loss, expected = gradients(
        net, copy.deepcopy(net.module_).double(), in_double(batch)
    )
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert found.keys() == expected.keys()
    whole = torch.cat([g.flatten() for g in expected.values()]).norm()
    assert whole > 1e-3
    for name, gradient in expected.items():
        error = (found[name].double() - gradient).norm()
        assert error < 1e-3 * gradient.norm() + 1e-5 * whole, name


# --------------------------------------------------------------- batches and threads


def probabilities(model, X, batch_size):
    """What the model says when it sees so many recordings at once."""
    before, model.net_.batch_size = model.net_.batch_size, batch_size
    try:
        return model.predict_proba(X)
    finally:
        model.net_.batch_size = before


def test_batch_size_of_a_prediction(method, data):
    model = method().fit(**data)
    expected = probabilities(model, data["X"], 1)
    for batch_size in (2, 3, 7, 64):
        found = probabilities(model, data["X"], batch_size)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_few_vectors_are_not_filled_up_to_a_huge_batch():
    """A row's outputs are the same bits beside others and alone."""
    X, rows = np.random.default_rng(0).normal(size=(40, 5)), []
    model = SpeakerAdversarialClassifier(
        method=None, max_epochs=1, batch_size=1_000_000, random_state=0
    ).fit(X, np.arange(40) % 2)
    note = lambda _, args: rows.append(len(args[0]))  # noqa: E731
    model.net_.module_.register_forward_pre_hook(note)
    alone = np.vstack([model.predict_proba(x[None]) for x in X])
    np.testing.assert_array_equal(model.predict_proba(X), alone)
    assert set(rows) == {128}


@pytest.fixture
def n_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_number_of_threads_changes_no_bit(method, data, n_threads):
    """Small networks run in one thread, and leave the number as it was."""
    many = method().fit(**data)
    found = many.predict_proba(data["X"])
    assert torch.get_num_threads() == n_threads
    torch.set_num_threads(1)
    one = method().fit(**data)
    np.testing.assert_array_equal(one.predict_proba(data["X"]), found)
    for a, b in zip(*(m.net_.module_.parameters() for m in (one, many)), strict=True):
        assert torch.equal(a, b)


def test_threads_of_networks_by_size(n_threads):
    for n_units, within in ((10, 1), (2000, n_threads)):
        with threads_for(nn.Linear(n_units, n_units)):
            assert torch.get_num_threads() == within
        assert torch.get_num_threads() == n_threads


def test_threads_are_restored_after_the_last_of_several(n_threads):
    small, inside, outside = nn.Linear(2, 2), Event(), Event()

    def other():
        with threads_for(small):
            inside.set()
            outside.wait(30)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        with threads_for(small):
            running = pool.submit(other)
            assert inside.wait(30)
        outside.set()
        assert running.result() == n_threads
    assert torch.get_num_threads() == n_threads


def test_a_fit_under_deterministic_algorithms(method, data, weights):
    free = method().fit(**data)
    torch.use_deterministic_algorithms(True)
    try:
        held = method().fit(**data)
    finally:
        torch.use_deterministic_algorithms(False)
    assert weights(held) == weights(free)


# ----------------------------------------------------------------------------- faults


class DividesByDeviation(nn.Module):
    """Standardises each recording, and forgets that one may be constant."""

    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 8, 1)

    def forward(self, x, lengths):
        mask = frame_mask(lengths, x.shape[-1])[:, None]
        n = lengths[:, None, None]
        mean = (x * mask).sum(2, keepdim=True) / n
        var = ((x - mean).square() * mask).sum(2, keepdim=True) / n
        return self.conv((x - mean) / var.sqrt()).relu() * mask, lengths


@pytest.mark.parametrize("rows", [[5], [5, 14]])
def test_the_recording_that_is_not_finite_is_named(method, data, rows):
    rng = np.random.default_rng(0)  # no band of the others is constant
    X = [(x + rng.normal(size=x.shape)).astype(np.float32) for x in data["X"]]
    for row in rows:  # of the source of the one, of the third speaker of the others
        X[row] = np.full_like(X[row], 3.0)
    own = method(encoder=DividesByDeviation, batch_size=24, **method.raw)
    if not method.uses_speakers:
        data["sample_domain"] = np.where(np.isin(np.arange(24), [0, 1, 2]), -1, 1)
    with pytest.raises(TrainingDivergedError) as info:
        own.fit(**{**data, "X": X})
    found = str(info.value)
    assert f"The outputs of X[{rows[0]}] are not finite" in found or (
        len(rows) > 1 and f"The outputs of X[{rows[1]}] are not finite" in found
    )
    assert ("nor are those of 1 more" in found) == (len(rows) == 2)


def test_a_training_that_diverges_in_its_last_step(method):
    model = method(weight_decay=1e30, batch_size=24, **method.speakerless)
    X = np.random.default_rng(0).normal(size=(24, 3))
    with pytest.raises(TrainingDivergedError, match="after the last step of epoch 1"):
        model.fit(X, np.arange(24) % 3)
    assert not hasattr(model, "net_")


def test_a_prediction_that_is_not_finite_names_the_sample(method):
    X = np.random.default_rng(0).normal(size=(24, 3, 6))
    params = {"masking": 0, **method.raw, **method.speakerless}
    model = method(encoder=DividesByDeviation, **params)
    model.fit(X, np.arange(24) % 3)
    X[[5, 7]] = 1.0
    for predict in (model.predict_proba, model.embed):
        with pytest.raises(
            ValueError, match=r"^X\[5\] has outputs .* \(2 of 24 samples"
        ):
            predict(X)


class Greedy(nn.Module):
    """Runs out of memory above so many frames, padding included."""

    most = np.inf

    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 8, 1)

    def forward(self, x, lengths):
        if x.shape[0] * x.shape[2] > Greedy.most:
            raise OutOfMemoryError("CUDA out of memory.")
        mask = frame_mask(lengths, x.shape[-1])[:, None]
        return self.conv(x).relu() * mask, lengths


def test_memory_that_runs_out_halves_the_frames_of_a_batch(method, data, monkeypatch):
    model = method(encoder=Greedy).fit(**data)
    X = data["X"] * 2
    expected = model.predict_proba(X)
    longest = max(x.shape[1] for x in X)
    monkeypatch.setattr(Greedy, "most", 1.5 * longest)
    with pytest.warns(UserWarning, match="ran out of memory at a batch of 8") as told:
        found = model.predict_proba(X)
    assert len(told) == 1
    assert told[0].filename == __file__
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    monkeypatch.setattr(Greedy, "most", longest - 1)
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(OutOfMemoryError) as info,
    ):
        model.predict_proba(X)
    assert f"One recording of {longest} frames is too much" in info.value.__notes__[0]


def test_memory_that_runs_out_in_training_names_the_batch_size(
    method, data, monkeypatch
):
    monkeypatch.setattr(Greedy, "most", 2 * max(x.shape[1] for x in data["X"]))
    with pytest.raises(OutOfMemoryError) as info:
        method(encoder=Greedy).fit(**data)
    assert info.value.__notes__ == ["Lower batch_size (now 8)."]
