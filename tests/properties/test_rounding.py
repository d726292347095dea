"""The option that rounds initial weights otherwise reaches all trainings, no more."""

import os
import pickle
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from torch import nn

from sklearn_ser import SpeakerAdversarialClassifier
from sklearn_ser.nn.net import SpeechNet

FOLDER = Path(__file__).parents[1] / "rounding"
_spec = spec_from_file_location("rounding", FOLDER / "sitecustomize.py")
rounding = module_from_spec(_spec)
_spec.loader.exec_module(rounding)


@pytest.fixture
def data(corpus, log_mels):
    return {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}


@pytest.fixture
def rounded(monkeypatch):
    """Return a function that rounds by a seed from now on."""
    before = SpeechNet.initialize

    def start(seed):
        monkeypatch.setattr(SpeechNet, "initialize", before)
        rounding.patch(SpeechNet, seed)

    monkeypatch.setattr(SpeechNet, "initialize", before)
    return start


def test_weights_move_in_the_fifth_digit():
    layer = nn.Linear(100, 100)
    before = layer.weight.detach().double().clone()
    rounding.round_weights(layer, 5)
    moved = (layer.weight.detach().double() / before - 1) / 1e-5
    assert moved.mean().abs() < 0.1
    assert 0.9 < moved.std() < 1.1


def test_a_seed_is_one_rounding(rounded, method, data, weights):
    found = [weights(method().fit(**data))]
    for seed in (5, 5, 6):
        rounded(seed)
        found.append(weights(method().fit(**data)))
    assert found[0] != found[1] == found[2] != found[3]


def test_what_is_loaded_or_continued_is_not_rounded(rounded, data, weights):
    rounded(5)
    model = SpeakerAdversarialClassifier(
        method=None, encoder="conv", max_epochs=1, warm_start=True, random_state=0
    ).fit(**data)
    assert weights(pickle.loads(pickle.dumps(model))) == weights(model)
    before = {k: v.clone() for k, v in model.net_.module_.named_parameters()}
    model.set_params(lr=1e-30, weight_decay=0.0).fit(**data)
    after = dict(model.net_.module_.named_parameters())
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_processes_that_a_test_starts_round_too():
    code = "from sklearn_ser.nn.net import SpeechNet as S; print(S.initialize.seed)"
    found = []
    for seed in ("7", ""):
        env = {**os.environ, rounding.VARIABLE: seed, "PYTHONPATH": str(FOLDER)}
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        found.append(done.stdout.strip() or done.stderr.splitlines()[-1])
    assert found == ["7", "AttributeError: 'function' object has no attribute 'seed'"]
