"""A seed decides everything, and nothing outside of the fit is touched."""

import copy
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from threading import Event, Thread

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, Initializer
from torch import nn
from torch.nn import functional as F

from sklearn_ser import DSNetClassifier, SpeakerAdversarialClassifier
from sklearn_ser.nn.encoders import ENCODERS
from sklearn_ser.nn.layers import frame_mask
from sklearn_ser.nn.losses import LossTerm

AUGMENTED = {
    "speed_perturbation": 0.3,
    "vocal_tract_perturbation": 0.3,
    "masking": 0.5,
}


@pytest.fixture(scope="module")
def data(corpus, log_mels):
    return {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}


@pytest.fixture(scope="module")
def fit(method, data, weights):
    """Return a function from parameters to the weights of a fit, made once for each."""

    @cache
    def fit(**params):
        return weights(method(**params).fit(**data))

    return fit


def disturb(seed):
    """Seed the global generators, and leave half of a pair of normals with NumPy."""
    np.random.seed(seed)  # noqa: NPY002
    np.random.randn()  # noqa: NPY002
    torch.manual_seed(seed)
    random.seed(seed)


def generators():
    """Digests of the states of the global generators."""
    states = {
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
        "python": pickle.dumps(random.getstate()),
    }
    return {name: sha256(state).hexdigest() for name, state in states.items()}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_seed_gives_the_same_fit(method, data, weights, encoder):
    """The global generators have no part in it."""
    found = []
    for seed in (1, 2):
        disturb(seed)
        model = method(encoder=encoder, max_epochs=2, **AUGMENTED)
        found.append(weights(model.fit(**data)))
    assert found[0] == found[1]


def test_without_a_seed_fits_differ(method, data, weights):
    fits = []
    for _ in range(2):
        disturb(0)
        fits.append(weights(method(random_state=None).fit(**data)))
    assert fits[0] != fits[1]


def test_random_state_instances(method, data, weights):
    states = [np.random.RandomState(3)] * 2 + [np.random.RandomState(3)]
    first, second, anew = (
        weights(method(random_state=state).fit(**data)) for state in states
    )
    assert anew == first != second


@pytest.mark.parametrize("random_state", [None, 0, np.random.RandomState(0)])
def test_the_global_generators_stay_and_a_prediction_has_no_chance(
    method, data, random_state
):
    before = generators()
    model = method(
        random_state=random_state, validation_fraction=0.25, encoder="conv_gru",
        **AUGMENTED,
    ).fit(**data)  # fmt: skip
    assert generators() == before
    first = model.predict_proba(data["X"])
    model.embed(data["X"])
    assert generators() == before
    np.testing.assert_array_equal(model.predict_proba(data["X"]), first)


class FunctionalDropout(nn.Module):
    """A user's encoder that calls random functions, and has layers that do."""

    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 12, 1)
        self.gru = nn.GRU(12, 12, num_layers=2, dropout=0.5, batch_first=True)
        self.norm = nn.BatchNorm1d(12)

    def forward(self, x, lengths):
        z = F.dropout(self.norm(self.conv(x)).relu(), 0.5, self.training)
        z = self.gru(z.transpose(1, 2))[0].transpose(1, 2)
        return z * frame_mask(lengths, z.shape[-1])[:, None], lengths


class DrawsEverywhere(nn.Module):
    """A user's encoder that draws from every global generator, built and trained."""

    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 12, 1)
        scale = np.random.normal(size=12) + random.random()  # noqa: NPY002
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def forward(self, x, lengths):
        z = F.rrelu(self.conv(x), training=self.training) * self.scale[:, None]
        if self.training:
            z = z * (1 + np.random.rand() + random.random())  # noqa: NPY002
        return z * frame_mask(lengths, z.shape[-1])[:, None], lengths


class Scales(Callback):
    """A user's callback that draws."""

    def on_epoch_begin(self, net, **kwargs):
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter.mul_(1 + 0.1 * np.random.rand() + 0.1 * random.random())  # noqa: NPY002


@dataclass(frozen=True)
class Jitter(LossTerm):
    """A user's term that draws."""

    name = "jitter"

    def __call__(self, outputs, batch):
        h = outputs["embedding"]
        return (h * torch.rand_like(h)).mean()


class WithJitter(DSNetClassifier):
    def _terms(self, data):
        return [*super()._terms(data), Jitter(0.5)]


CODE_OF_USERS = {
    "encoder": {"encoder": DrawsEverywhere},
    "initializer": {"callbacks": [Initializer("*", fn=nn.init.normal_)]},
    "callback": {"callbacks": [Scales()]},
}


@pytest.mark.slow
@pytest.mark.parametrize("code", CODE_OF_USERS)
def test_a_users_code_follows_the_seed_whatever_it_draws_from(
    method, data, weights, code
):
    fits = []
    for seed in (1, 2):
        disturb(seed)
        before = generators()
        model = method(max_epochs=2, **CODE_OF_USERS[code]).fit(**data)
        assert generators() == before
        fits.append(weights(model))
    assert fits[0] == fits[1]
    other = method(max_epochs=2, random_state=1, **CODE_OF_USERS[code]).fit(**data)
    assert weights(other) != fits[0]


def test_a_users_term_follows_the_seed(data, weights):
    fits = []
    for seed in (1, 2):
        disturb(seed)
        before = generators()
        model = WithJitter(encoder="conv", max_epochs=2, random_state=0).fit(**data)
        assert generators() == before
        fits.append(weights(model))
    assert fits[0] == fits[1]


def test_a_callback_that_draws_changes_nothing_else(method, data, weights, fit):
    class Idle(Callback):
        def on_batch_begin(self, net, **kwargs):
            torch.rand(1)
            np.random.rand()  # noqa: NPY002

    found = weights(method(callbacks=[Idle()], **AUGMENTED).fit(**data))
    assert found == fit(**AUGMENTED)


def test_another_kind_of_numpys_generator_stays(method, data, weights):
    expected = weights(method(encoder=DrawsEverywhere).fit(**data))
    own = np.random.get_bit_generator()
    mine = np.random.PCG64(5)
    np.random.set_bit_generator(mine)
    try:
        before = mine.state
        assert weights(method(encoder=DrawsEverywhere).fit(**data)) == expected
        assert np.random.get_bit_generator() is mine
        assert mine.state == before
    finally:
        np.random.set_bit_generator(own)


@pytest.mark.parametrize("how", ["menan", "dat"])
@pytest.mark.parametrize("kind", ["vectors", "log-mels"])
def test_an_adversary_of_weight_zero_changes_no_bit_of_a_users_encoder(data, how, kind):
    X = data["X"]
    if kind == "vectors":
        X = np.array([x.mean(1) for x in X])
    options = {"encoder": FunctionalDropout, "max_epochs": 3, "random_state": 0}
    found = []
    for own in ({"method": None}, {"method": how, "adversary_weight": 0}):
        model = SpeakerAdversarialClassifier(**own, **options)
        model.fit(X, data["y"], speakers=data["speakers"])
        state = model.net_.module_.state_dict()
        found.append({k: v for k, v in state.items() if not k.startswith("SC.")})
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@pytest.mark.parametrize("encoder", [*ENCODERS, DrawsEverywhere])
def test_loading_draws_nothing(method, data, encoder):
    model = method(encoder=encoder).fit(**data)
    before = generators()
    twins = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert generators() == before
    expected = model.predict_proba(data["X"])
    for twin in twins:
        np.testing.assert_array_equal(twin.predict_proba(data["X"]), expected)


class WaitsForAnother(Callback):
    """In the middle of a training, waits until another thread has copied a model."""

    copy_it, copied = Event(), Event()

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 1:
            self.copy_it.set()
            self.copied.wait(60)


def test_a_copy_waits_for_no_training(method, data):
    """Not even for a callback that waits for the copy."""
    model = method().fit(**data)
    callback = WaitsForAnother
    for event in (callback.copy_it, callback.copied):
        event.clear()
    training = Thread(
        target=method(
            encoder=DrawsEverywhere, max_epochs=2, callbacks=[callback()]
        ).fit,
        kwargs=data,
    )
    training.start()
    assert callback.copy_it.wait(60)
    twins = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    waited = not callback.copied.is_set()
    callback.copied.set()
    training.join()
    assert waited
    for twin in twins:
        np.testing.assert_array_equal(
            twin.predict_proba(data["X"]), model.predict_proba(data["X"])
        )


def test_a_users_encoder_is_copied_between_two_batches(method, data):
    """It may draw when it is made, so it waits for a turn, but not for the training."""
    model = method(encoder=DrawsEverywhere).fit(**data)
    started, over = Event(), Event()

    class Starts(Callback):
        def on_batch_begin(self, net, **kwargs):
            started.set()
            if over.is_set():
                raise KeyboardInterrupt

    Starts.__deepcopy__ = lambda self, memo: self
    long = method(encoder=DrawsEverywhere, max_epochs=10**6, callbacks=[Starts()])
    training = Thread(target=long.fit, kwargs=data)
    training.start()
    assert started.wait(60)
    twin = copy.deepcopy(model)
    assert training.is_alive()
    over.set()
    training.join()
    np.testing.assert_array_equal(
        twin.predict_proba(data["X"]), model.predict_proba(data["X"])
    )


@pytest.mark.parametrize(
    "encoder", ["conv_gru", pytest.param("cnn6", marks=pytest.mark.slow)]
)
def test_fits_in_two_threads(method, data, weights, encoder):
    def fit(seed):
        params = {"encoder": encoder, "max_epochs": 2, "random_state": seed}
        return weights(method(**params, **AUGMENTED).fit(**data))

    alone = [fit(seed) for seed in (0, 1)]
    before = generators()
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(fit, [0, 1]))
    assert together == alone
    assert generators() == before


def test_fits_in_two_threads_draw_apart_without_a_seed(method, data, weights):
    def fit(_):
        return weights(method(random_state=None).fit(**data))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(fit, range(2))
    assert first != second


@pytest.mark.parametrize("name", [*AUGMENTED, "validation_fraction"])
def test_each_source_of_chance_acts_and_follows_the_seed(
    method, data, weights, fit, name
):
    plain = dict.fromkeys(AUGMENTED, 0.0)
    changed = {**plain, name: 0.25}
    found = weights(method(**changed).fit(**data))
    assert found == fit(**changed)
    assert found != fit(**plain)
    assert found != fit(**changed, random_state=1)


@pytest.mark.parametrize(
    "names",
    [["z", "y", "x", "w"], [0, 1, 2, 3], ["s00é", "s01é", "s02é", "s03é"]],
    ids=["in another order", "numbers", "not ASCII"],
)
def test_speakers_names_do_not_matter(method, data, weights, fit, names):
    named = dict(zip(["s00", "s01", "s02", "s03"], names, strict=True))
    renamed = {**data, "speakers": [named[name] for name in data["speakers"]]}
    model = method(validation_fraction=0.5).fit(**renamed)
    assert weights(model) == fit(validation_fraction=0.5)


def test_names_of_the_classes_do_not_matter_in_their_order(method, data, weights, fit):
    named = {"anger": "cross", "neutral": "neu", "sadness": "sad"}
    renamed = {**data, "y": np.array([named[y] for y in data["y"]])}
    assert weights(method().fit(**renamed)) == fit()
