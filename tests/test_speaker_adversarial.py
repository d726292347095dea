"""MEnAN and DAT: who is trained by which step, and what comes of it."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sklearn_ser import (
    LogMelTransformer,
    SpeakerAdversarialClassifier,
    SpeakersMissingWarning,
)
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import uar_score
from sklearn_ser.nn.batching import Batch
from sklearn_ser.nn.encoders import without_noise
from sklearn_ser.nn.losses import CrossEntropy, linear_ramp, sigmoid_ramp
from sklearn_ser.nn.normalization import set_statistics
from sklearn_ser.speaker_adversarial import (
    DATNet,
    MEnANNet,
    SpeakerAdversarial,
    SpeakerCrossEntropy,
    SpeakerEntropy,
    SpeakerNet,
)

METHODS = [("menan", "batch"), ("menan", "epoch"), ("dat", "batch")]


@pytest.fixture(scope="module")
def data(corpus, log_mels):
    return {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    y, speakers = np.arange(48) % 2, np.repeat(["a", "b", "c"], 16)
    return {"X": rng.normal(size=(48, 6)), "y": y, "speakers": speakers}


def quick(**params):
    defaults = {"encoder": "conv", "max_epochs": 2, "batch_size": 8, "random_state": 0}
    return SpeakerAdversarialClassifier(**{**defaults, **params})


def state(module):
    """Copies of all parameters and buffers."""
    return {k: v.detach().clone() for k, v in module.state_dict().items()}


def moved(before, module):
    """The parts of which anything differs from before."""
    after = module.state_dict()
    return {
        name.partition(".")[0]
        for name, value in before.items()
        if not torch.equal(value, after[name])
    }


def emotion_part(model):
    return {
        name: value
        for name, value in state(model.net_.module_).items()
        if not name.startswith("SC.")
    }


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def with_speakers(module, batch):
    """Return the outputs, with those of SC."""
    outputs = module(batch.x, batch.lengths)
    return outputs | {"speaker_logits": module.SC(outputs["embedding"])}


class Parts:
    """A net in training, and a batch for it."""

    def __init__(self, net, terms, n_speakers=4, dropout=True, **kwargs):
        self.net = net(
            SpeakerAdversarial,
            terms=terms,
            module__n_classes=3,
            module__n_speakers=n_speakers,
            module__n_features=6,
            module__encoder="conv",
            optimizer=torch.optim.AdamW,
            lr=1e-3,
            adversary_lr=3e-3,
            max_epochs=3,
            device="cpu",
            verbose=0,
            callbacks__print_log=None,
            **kwargs,
        ).initialize()
        if not dropout:
            for layer in self.net.module_.modules():
                if hasattr(layer, "p"):
                    layer.p = 0.0
        rng = torch.Generator().manual_seed(0)
        speaker = torch.arange(32) % n_speakers
        x = torch.randn(32, 6, 20, generator=rng) + 2 * speaker[:, None, None]
        self.batch = Batch(
            x,
            torch.full((32,), 20),
            {
                "y": torch.arange(32) % 3,
                "weight": torch.ones(32),
                "speaker": speaker,
                "speaker_weight": torch.ones(32),
            },
        )
        self.net.history.new_epoch()
        self.net.history.record("epoch", 1)
        self.net.history.new_batch()
        self.net.iterator_ = SimpleNamespace(n_batches=4)
        self.module = self.net.module_
        x, lengths = self.batch.x, self.batch.lengths
        set_statistics(self.module, lambda compute: iter([compute(x, lengths)]))
        self.net._set_training(True)
        with torch.no_grad():
            v = self.module(x, lengths)["embedding"]
        if net is MEnANNet:
            self.net.latest_.append({"v": v, **self.batch.columns})

    def at(self, progress):
        """Move to a point of the training, of 3 epochs of 4 batches."""
        epoch, batch = divmod(round(12 * progress), 4)
        self.net.history[-1]["epoch"] = epoch + 1
        self.net.history[-1]["batches"] = [{} for _ in range(batch + 1)]
        return self

    def entropy(self):
        """H(q) as step 2 sees it."""
        self.net._set_training(True)
        with torch.no_grad():
            found = with_speakers(self.module, self.batch)
        return -float(SpeakerEntropy()(found, self.batch))

    def speaker_loss(self):
        self.module.eval()
        with torch.no_grad():
            found = with_speakers(self.module, self.batch)
        return float(SpeakerCrossEntropy()(found, self.batch))


def menan(weight=0.5, **kwargs):
    terms = [CrossEntropy(), SpeakerEntropy(weight, linear_ramp)]
    return Parts(MEnANNet, terms, **kwargs)


# ------------------------------------------------------------------------ the steps


def test_step_1_trains_the_speaker_classifier_alone():
    parts = menan()
    before, loss = state(parts.module), parts.speaker_loss()
    for _ in range(8):
        parts.net.step_1()
    assert moved(before, parts.module) == {"SC"}  # batch statistics included
    assert parts.speaker_loss() < loss
    losses = parts.net.adversary_losses_
    assert losses[-1] < losses[0]


def test_step_2_leaves_the_speaker_classifier():
    parts = menan().at(0.5)
    before = state(parts.module)
    parts.net.step_2((parts.batch, parts.batch["y"]))
    assert moved(before, parts.module) == {"ENC", "EC"}
    assert all(p.requires_grad for p in parts.module.SC.parameters())
    assert all(p.grad is None for p in parts.module.SC.parameters())


def test_step_2_thaws_after_an_error():
    parts = menan()
    with pytest.raises(KeyError, match="y"):
        parts.net.step_2((Batch(parts.batch.x, parts.batch.lengths), None))
    assert all(p.requires_grad for p in parts.module.SC.parameters())


def test_step_2_raises_the_entropy_of_the_speaker_by_its_term():
    after = []
    for weight in (20.0, 0.0):
        parts = menan(weight, dropout=False).at(0.5)
        for _ in range(2):
            parts.net.step_1()
        low = parts.entropy()
        assert low < 0.5 * np.log(4)
        for _ in range(20):
            parts.net.step_2((parts.batch, parts.batch["y"]))
        after.append(parts.entropy())
    assert after[0] > max(low, after[1]) + 0.3


@pytest.mark.parametrize("progress", [0.0, 2 / 3])
def test_the_weight_rises_with_the_training(progress):
    parts = menan(dropout=False).at(progress)
    plain = copy.deepcopy(parts.module)
    plain.train()
    plain.SC.eval()
    outputs = with_speakers(plain, parts.batch)
    (0.5 * progress * SpeakerEntropy()(outputs, parts.batch)).backward()
    parts.net.criterion_.terms = [SpeakerEntropy(0.5, linear_ramp)]
    seen = {}
    parts.net.notify = lambda name, **kwargs: seen.update(
        (n, p.grad.clone()) for n, p in kwargs["named_parameters"] if p.grad is not None
    )
    parts.net.step_2((parts.batch, parts.batch["y"]))
    assert {name.partition(".")[0] for name in seen} == {"ENC"}
    for name, gradient in seen.items():
        expected = plain.get_parameter(name).grad
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)


def test_the_steps_alternate():
    together, apart = menan(dropout=False), menan(dropout=False)
    together.net.train_step((together.batch, together.batch["y"]))
    apart.net.step_2((apart.batch, apart.batch["y"]))
    apart.net.step_1()
    assert same(state(together.module), state(apart.module))
    epochs = menan(alternate="epoch")
    before = state(epochs.module)
    epochs.net.train_step((epochs.batch, epochs.batch["y"]))
    assert moved(before, epochs.module) == {"ENC", "EC"}


# ---------------------------------------------------------------------- the gradient


@pytest.mark.parametrize(("weight", "progress"), [(0.5, 0.0), (2.0, 0.25)])
def test_dat_reverses_the_gradient_of_the_encoder_alone(weight, progress):
    terms = [SpeakerCrossEntropy(-weight, sigmoid_ramp)]
    parts = Parts(DATNet, terms, dropout=False)
    parts.module.double()
    parts.batch.x = parts.batch.x.double()
    plain = copy.deepcopy(parts.module)
    plain.train()
    outputs = with_speakers(plain, parts.batch)
    SpeakerCrossEntropy()(outputs, parts.batch).backward()

    parts.at(progress)
    seen = {}
    parts.net.notify = lambda name, **kwargs: seen.update(
        {n: p.grad.clone() for n, p in parts.module.named_parameters() if n[0] != "E"},
        **{
            n: p.grad.clone()
            for n, p in kwargs["named_parameters"]
            if p.grad is not None
        },
    )
    parts.net.train_step((parts.batch, parts.batch["y"]))
    ramp = 2 / (1 + np.exp(-10 * progress)) - 1
    for name, parameter in plain.named_parameters():
        if name.startswith("EC."):
            assert name not in seen
            continue
        factor = 1.0 if name.startswith("SC.") else -weight * ramp
        torch.testing.assert_close(
            seen[name], factor * parameter.grad, rtol=1e-4, atol=1e-7
        )


def test_dat_trains_all_at_once():
    parts = Parts(DATNet, [CrossEntropy(), SpeakerCrossEntropy(-0.5, sigmoid_ramp)])
    before = state(parts.module)
    parts.net.train_step((parts.batch, parts.batch["y"]))
    assert moved(before, parts.module) == {"ENC", "EC", "SC"}


def test_entropy_of_known_beliefs():
    p = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    outputs = {"speaker_logits": p.clamp(min=1e-30).log()}
    expected = -(np.log(2) + 0 + np.log(3)) / 3
    assert float(SpeakerEntropy()(outputs, None)) == pytest.approx(expected)


# ---------------------------------------------------------------------------- the fit


@pytest.fixture(scope="module")
def plain(data, vectors):
    """Fits without an adversary, on sequences and on vectors with noise."""
    return [quick(encoder=e, method=None).fit(**d) for e, d in inputs(data, vectors)]


def inputs(data, vectors):
    return ("conv", data), ("auto", vectors)


@pytest.mark.parametrize(("method", "alternate"), METHODS)
def test_without_weight_the_encoder_is_the_plain_one(
    data, vectors, plain, method, alternate
):
    adversary = {"method": method, "alternate": alternate}
    for (encoder, given), without in zip(inputs(data, vectors), plain, strict=True):
        expected = emotion_part(without)
        still, model = (
            quick(encoder=encoder, **adversary, adversary_weight=w).fit(**given)
            for w in (0, "auto")
        )
        assert same(emotion_part(still), expected)
        assert not same(emotion_part(model), expected)
        assert still.history_[-1, "train_speaker"] > 0  # SC learns all the same


@pytest.mark.parametrize("method", ["menan", "dat"])
def test_the_speaker_classifier_gets_vectors_without_noise(
    vectors, method, monkeypatch
):
    """Noise would hide the speaker from SC in training, and not from a later probe."""
    found = []

    def listen(self, x, **fit_params):
        outputs = infer(self, x, **fit_params)
        if self.module_.training:
            ENC = self.module_.ENC
            with without_noise(ENC):
                clean = ENC(x.x, x.lengths)
            assert all(m.training for m in ENC.modules())
            found.append((outputs["v_for_SC"], clean, outputs["embedding"]))
        return outputs

    infer = SpeakerNet.infer
    monkeypatch.setattr(SpeakerNet, "infer", listen)
    quick(method=method, encoder="auto", max_epochs=1).fit(**vectors)
    for taken, clean, v in found:
        assert torch.equal(taken, clean)
        assert (taken - v).abs().max() > 1e-2
    found.clear()
    quick(method=method, encoder="auto", max_epochs=1, feature_noise=0).fit(**vectors)
    assert found
    assert all(taken is v for taken, _, v in found)


def test_plain_has_no_adversary(data, plain):
    model = plain[0]
    assert model.n_speakers_ == 0
    assert not hasattr(model.net_.module_, "SC")
    without = quick(method=None).fit(data["X"], data["y"])
    assert same(emotion_part(model), emotion_part(without))


@pytest.mark.parametrize("method", ["menan", "dat"])
def test_one_speaker_changes_nothing(data, plain, method):
    one = {**data, "speakers": ["ann"] * len(data["y"])}
    with pytest.warns(UserWarning, match="no effect: all training samples have one"):
        model = quick(method=method).fit(**one)
    quick(method=method, adversary_weight=0).fit(**one)  # where it is to have none
    quick(method=None).fit(**one)
    assert model.n_speakers_ == 1
    for name, value in emotion_part(plain[0]).items():
        torch.testing.assert_close(emotion_part(model)[name], value)


@pytest.mark.parametrize("method", ["menan", "dat"])
def test_a_validation_part_that_leaves_one_speaker_warns(data, method):
    speakers = np.unique(data["speakers"], return_inverse=True)[1] > 0
    with pytest.warns(UserWarning, match="no effect: all training samples have one"):
        quick(method=method).fit(
            data["X"], data["y"], speakers=speakers, validation=speakers
        )


@pytest.mark.parametrize("method", ["menan", "dat"])
def test_without_speakers_it_warns_and_is_the_plain_net(data, plain, method):
    with pytest.warns(SpeakersMissingWarning, match="for the adversary"):
        model = quick(method=method).fit(data["X"], data["y"])
    assert same(emotion_part(model), emotion_part(plain[0]))
    quick(method=method, adversary_weight=0).fit(data["X"], data["y"])


def test_rare_speakers_weigh_as_much_as_others(data):
    speakers = np.array(["rare", "often"])[(np.arange(24) >= 3).astype(int)]
    columns = quick()._columns(SimpleNamespace(speakers=speakers))
    weight, rare = columns["speaker_weight"], speakers == "rare"
    assert weight.mean() == pytest.approx(1)
    assert weight[rare].sum() == pytest.approx(weight[~rare].sum())


@pytest.mark.parametrize("alternate", ["batch", "epoch"])
def test_the_history_has_every_loss(data, alternate):
    history = quick(alternate=alternate).fit(**data).history_
    for adversary, speaker in history[:, ("train_adversary", "train_speaker")]:
        assert -np.log(4) - 1e-6 <= adversary <= 0 < speaker


@pytest.mark.parametrize(
    ("method", "ramp", "given", "weight"),
    [
        ("dat", sigmoid_ramp, 0.5, -0.5),
        ("menan", linear_ramp, "auto", 0.5),
        ("dat", sigmoid_ramp, "auto", -0.005),
    ],
)
def test_the_loss_is_what_is_minimised(data, method, ramp, given, weight):
    model = quick(method=method, adversary_weight=given).fit(**data)
    names = "train_loss", "train_task", "train_adversary"
    losses = [
        batch for epoch in model.history_[:, "batches", :, names] for batch in epoch
    ]
    assert len(losses) == 6
    for i, (total, task, adversary) in enumerate(losses):
        expected = task + weight * ramp(i / 6) * adversary
        assert total == pytest.approx(expected, abs=1e-5)


def test_the_speaker_classifier_learns_from_all_data(data, monkeypatch):
    seen, step_1 = [], MEnANNet.step_1

    def spied(self):
        seen.append(torch.cat([batch["speaker"] for batch in self.latest_]))
        step_1(self)

    monkeypatch.setattr(MEnANNet, "step_1", spied)
    n_batches = 3
    for alternate in ("batch", "epoch"):
        seen.clear()
        model = quick(alternate=alternate).fit(**data)
        assert len(seen) == 2 * n_batches
        assert model.n_iter_ == 2
        assert len(model.history_[0]["batches"]) == n_batches
        for who in seen[n_batches - 1 :: n_batches]:  # at the end of each epoch
            expected = np.unique(data["speakers"], return_counts=True)[1]
            assert np.bincount(who).tolist() == expected.tolist()
        first = len(seen[0])
        assert first == 24 if alternate == "epoch" else first < 24


def test_validation_needs_no_adversary_and_batches_may_hold_two(data):
    for method in ("menan", "dat"):
        model = quick(method=method, validation_fraction=0.3, batch_size=2).fit(**data)
        assert model.n_speakers_ < 4
        assert len(model.history_[:, "valid_uar"]) == 2


@pytest.mark.parametrize("method", ["menan", "dat"])
def test_warm_start_takes_a_new_adversary(data, method):
    """Its outputs are the speakers of one fit, in the order of their rows."""
    model = quick(method=method, warm_start=True).fit(**data)
    again = copy.deepcopy(model)
    for m in (model, again):
        m.fit(**data)
    assert same(state(model.net_.module_), state(again.net_.module_))
    before = model.net_.module_.EC[-1].weight.detach().clone()
    still = {"lr": 1e-12, "adversary_weight": 0}
    for speakers in (["a", "b"] * 12, None):  # other people, or nobody
        model.set_params(**still, method=method if speakers else None)
        model.fit(data["X"], data["y"], speakers=speakers)
        assert model.n_speakers_ == (2 if speakers else 0)
        torch.testing.assert_close(model.net_.module_.EC[-1].weight, before)


# ------------------------------------------------------------------------- the claim


def gain(seed):
    """What MEnAN gains on unseen speakers, in UAR, where the voice tells the emotion.

    Of the training speakers women say six utterances of two emotions and one of the
    others, men the other way round. The new speakers say what was rare for theirs.
    """
    corpus = make_emotional_speech(n_speakers=24, n_utterances=6, random_state=seed)
    features = LogMelTransformer(
        n_mels=40, hop_length=320, top_db=50, normalize="level"
    )
    X = features.transform(corpus.data)
    emotion = np.unique(corpus.target, return_inverse=True)[1]
    seen = corpus.speakers < "s12"
    usual = (emotion % 2 == 0) == (corpus.genders == "f")
    train = np.flatnonzero(seen & (usual | (corpus.utterances == 0)))
    test = np.flatnonzero(~seen & ~usual)
    still = {"speed_perturbation": 0, "vocal_tract_perturbation": 0}
    own = {"adversary_weight": 0.5, "encoder": "conv", "max_epochs": 100, **still}
    uars = []
    for method in ("menan", None):
        model = SpeakerAdversarialClassifier(method=method, random_state=seed, **own)
        y, speakers = corpus.target[train], corpus.speakers[train]
        model.fit([X[i] for i in train], y, speakers=speakers)
        predicted = model.predict([X[i] for i in test])
        uars.append(uar_score(corpus.target[test], predicted))
    return uars[0] - uars[1]


@pytest.mark.slow
def test_menan_wins_where_the_voice_misled():
    assert np.mean([gain(seed) for seed in (4, 5, 6)]) > 0.05
