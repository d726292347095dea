"""A seed decides everything, and nothing outside of the fit is touched."""

import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_ser.nn.encoders import ENCODERS
from sklearn_ser.nn.layers import frame_mask

AUGMENTED = {
    "speed_perturbation": 0.3,
    "vocal_tract_perturbation": 0.3,
    "masking": 0.5,
}


@pytest.fixture(scope="module")
def data(corpus, log_mels):
    return {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}


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
    found = [
        weights(method(encoder=encoder, max_epochs=2, **AUGMENTED).fit(**data))
        for _ in range(2)
    ]
    assert found[0] == found[1]


def test_seeds_differ(method, data, weights):
    fits = [weights(method(random_state=seed).fit(**data)) for seed in (0, 1)]
    assert fits[0] != fits[1]


def test_without_a_seed_fits_differ(method, data, weights):
    # Under one global seed each: that generator has no part in it.
    fits = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        fits.append(weights(method(random_state=None).fit(**data)))
    assert fits[0] != fits[1]


def test_random_state_instances(method, data, weights):
    seeded = [
        weights(method(random_state=np.random.RandomState(3)).fit(**data))
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1]
    state = np.random.RandomState(3)
    running = [weights(method(random_state=state).fit(**data)) for _ in range(2)]
    assert running[0] == seeded[0]
    assert running[1] != running[0]


def test_the_global_generators_have_no_part_in_it(method, data, weights):
    fits = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        random.seed(seed)
        fits.append(weights(method(**AUGMENTED).fit(**data)))
    assert fits[0] == fits[1]


@pytest.mark.parametrize("random_state", [None, 0, np.random.RandomState(0)])
def test_the_global_generators_stay_as_they_were(method, data, random_state):
    before = generators()
    model = method(
        random_state=random_state, validation_fraction=0.25, encoder="conv_gru",
        **AUGMENTED,
    ).fit(**data)  # fmt: skip
    assert generators() == before
    model.predict_proba(data["X"])
    model.embed(data["X"])
    assert generators() == before


class DroppingEncoder(nn.Module):
    """A user's encoder with PyTorch's own dropout."""

    def __init__(self, n_features):
        super().__init__()
        self.conv = nn.Conv1d(n_features, 12, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, lengths):
        z = self.dropout(self.conv(x).relu())
        return z * frame_mask(lengths, z.shape[-1])[:, None], lengths


def test_a_users_encoder_with_dropout_follows_the_seed(method, data, weights):
    fits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = generators()
        fits.append(weights(method(encoder=DroppingEncoder).fit(**data)))
        assert generators() == before
    assert fits[0] == fits[1]


@pytest.mark.parametrize(
    "encoder", ["conv_gru", pytest.param("cnn6", marks=pytest.mark.slow)]
)
def test_fits_in_two_threads(method, data, weights, encoder):
    def fit(seed):
        model = method(
            encoder=encoder, max_epochs=2, random_state=seed, **AUGMENTED
        )  # fmt: skip
        return weights(model.fit(**data))

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
def test_each_source_of_chance_acts_and_follows_the_seed(method, data, weights, name):
    plain = dict.fromkeys(AUGMENTED, 0.0)
    changed = {**plain, name: 0.25}
    fits = [weights(method(**changed).fit(**data)) for _ in range(2)]
    assert fits[0] == fits[1]
    assert fits[0] != weights(method(**plain).fit(**data))
    assert fits[0] != weights(method(**changed, random_state=1).fit(**data))


def test_prediction_has_no_chance_in_it(method, data):
    model = method(**AUGMENTED).fit(**data)
    first = model.predict_proba(data["X"])
    np.testing.assert_array_equal(model.predict_proba(data["X"]), first)


@pytest.mark.parametrize(
    "rename",
    [lambda name: f"x{name}", lambda name: int(name[1:]), lambda name: f"{name}é"],
)
def test_speakers_names_do_not_matter(method, data, weights, rename):
    expected = weights(method(validation_fraction=0.5).fit(**data))
    renamed = {**data, "speakers": [rename(name) for name in data["speakers"]]}
    assert weights(method(validation_fraction=0.5).fit(**renamed)) == expected


def test_the_order_of_speakers_names_does_not_matter(method, data, weights):
    # The same people under names that sort the other way round.
    turned = {"s00": "z", "s01": "y", "s02": "x", "s03": "w"}
    renamed = {**data, "speakers": [turned[name] for name in data["speakers"]]}
    assert weights(method().fit(**renamed)) == weights(method().fit(**data))


def test_names_of_the_classes_do_not_matter_in_their_order(method, data, weights):
    renamed = {
        **data,
        "y": np.array(
            [
                {"anger": "cross", "neutral": "neu", "sadness": "sad"}[y]
                for y in data["y"]
            ]
        ),
    }
    assert weights(method().fit(**renamed)) == weights(method().fit(**data))
