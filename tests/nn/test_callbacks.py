"""skorch's callbacks, and a user's, in the training of every method."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss, recall_score
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)

from sklearn_ser.nn.batching import SequenceDataset
from sklearn_ser.nn.callbacks import check_owners


@pytest.fixture(scope="module")
def data():
    """Forty-eight vectors of four speakers, easy to classify."""
    rng = np.random.default_rng(0)
    y, speakers = np.arange(48) % 3, np.arange(48) // 12
    X = rng.normal(size=(48, 6)) + 2 * np.eye(6)[y]
    return {"X": X, "y": np.array(["joy", "neutral", "anger"])[y], "speakers": speakers}


@pytest.fixture
def make(method):
    """Return a function to a classifier that trains three epochs on vectors."""

    def make(**params):
        return method(**{"encoder": "pointwise", "max_epochs": 3} | params)

    return make


@pytest.fixture
def valid(data):
    """The validation part, one speaker."""
    return data["speakers"] == 1


# ------------------------------------------------------------------ skorch's contract


class SeesValidation(Callback):
    """Keeps the targets and what callbacks get as predictions."""

    def on_epoch_begin(self, net, **kwargs):
        self.y, self.logits = [], []

    def on_batch_end(self, net, batch=None, training=False, y_pred=None, **kwargs):
        if not training:
            self.y.append(batch[1].numpy())
            self.logits.append(y_pred.numpy())


def of_kind(model, kind):
    [found] = [c for _, c in model.net_.callbacks_ if type(c) is kind]
    return found


def test_every_loss_and_score_has_its_best(make, data, valid):
    model = make().fit(**data, validation=valid)
    for row in model.history_:
        for name in ("train_loss", "train_task", "valid_loss", "valid_uar"):
            assert np.isfinite(row[name])
            assert isinstance(row[f"{name}_best"], bool)
    uars = model.history_[:, "valid_uar"]
    running = np.maximum.accumulate([-np.inf, *uars])[:-1]
    assert model.history_[:, "valid_uar_best"] == (uars > running).tolist()
    assert "valid_loss" not in make().fit(**data).history_[-1]


def test_scores_are_those_of_the_validation_part(make, data, valid):
    scores = [
        EpochScoring("accuracy", lower_is_better=False),
        EpochScoring("neg_log_loss", lower_is_better=False),
        EpochScoring("recall_macro", lower_is_better=False),
        EpochScoring("accuracy", on_train=True, name="train_accuracy"),
    ]
    model = make(callbacks=[*scores, SeesValidation()], temperature=None)
    model.fit(**data, validation=valid)
    seen = of_kind(model, SeesValidation)
    y, logits = np.concatenate(seen.y), np.concatenate(seen.logits)
    last = model.history_[-1]
    found = model.net_.decide(logits.astype(np.float64))
    assert last["accuracy"] == accuracy_score(y, logits.argmax(1))
    assert last["valid_uar"] == pytest.approx(
        recall_score(y, logits.argmax(1), average="macro")
    )
    assert last["recall_macro"] == pytest.approx(last["valid_uar"])
    assert last["neg_log_loss"] == pytest.approx(-log_loss(y, found))
    assert 0 <= last["train_accuracy"] <= 1


def of_the_net(net, X, y=None):
    """A score that predicts by itself, so that the order of rows counts."""
    codes = X.columns["y"].numpy()
    assert net.predict_proba(X).shape == (len(X), 3)
    return float((net.predict(X) == codes).mean())


def test_a_score_without_cached_predictions(make, data, valid):
    own = EpochScoring(of_the_net, use_caching=False, lower_is_better=False, name="own")
    cached = EpochScoring("accuracy", lower_is_better=False)
    model = make(callbacks=[own, cached]).fit(**data, validation=valid)
    assert model.history_[:, "own"] == pytest.approx(model.history_[:, "accuracy"])


def test_the_net_predicts_by_itself(method, make, corpus, log_mels):
    """Rows come in their order, though batches are cut by length."""
    data = {"X": log_mels, "y": corpus.y, "speakers": corpus.speakers}
    model = make(encoder="conv", **method.raw).fit(**data)
    for X in (log_mels, SequenceDataset(log_mels)):
        found = model.net_.predict_proba(X)
        np.testing.assert_allclose(found, model.predict_proba(log_mels), atol=1e-6)
        codes = model.net_.predict(X)
        np.testing.assert_array_equal(model.classes_[codes], model.predict(log_mels))
    with pytest.raises(ValueError, match="training is True"):
        next(model.net_.forward_iter(log_mels, training=True))
    assert model.net_.forward(log_mels).shape == (24, 3)


def test_early_stopping_and_a_plateau_follow_the_validation_loss(make, data, valid):
    still = {"lr": 1e-9, "schedule": None, "max_epochs": 40}
    if "adversary_lr" in make().get_params():
        still["adversary_lr"] = 1e-9
    plateau = LRScheduler("ReduceLROnPlateau", monitor="valid_loss", patience=0, eps=0)
    model = make(callbacks=[plateau, EarlyStopping()], **still)
    model.fit(**data, validation=valid)
    assert model.n_iter_ < 40
    assert model.history_[-1, "event_lr"] < 1e-9


@pytest.mark.parametrize("monitor", ["valid_loss_best", "valid_uar_best"])
def test_checkpoints(make, data, valid, tmp_path, monitor):
    kept = Checkpoint(monitor=monitor, dirname=str(tmp_path), load_best=True)
    model = make(callbacks=[kept]).fit(**data, validation=valid)
    assert {p.name for p in tmp_path.iterdir()} == {
        "params.pt", "optimizer.pt", "criterion.pt", "history.json"
    }  # fmt: skip
    assert model.history_[:, "event_cp"] == model.history_[:, monitor]
    state = torch.load(tmp_path / "params.pt")
    for name, value in model.net_.module_.named_parameters():
        assert torch.equal(value, state[name])


def test_the_best_epoch_has_one_owner(make, data, valid, tmp_path):
    """A callback that goes back to its own best epoch takes the place of the UAR's."""
    owners = {
        None: True,
        EarlyStopping(patience=9): True,
        EarlyStopping(patience=9, load_best=True): False,
        Checkpoint(dirname=str(tmp_path), load_best=True): False,
    }
    for callback, by_uar in owners.items():
        callbacks = None if callback is None else [callback]
        model = make(callbacks=callbacks).fit(**data, validation=valid)
        names = [name for name, _ in model.net_.callbacks_]
        assert ("best_epoch" in names) is by_uar
        assert "valid_uar" in model.history_[-1]


@pytest.mark.parametrize("how", [lambda c: c, lambda c: ("mine", c), type])
def test_a_setting_has_one_owner(make, data, how):
    twice = {
        "schedule": LRScheduler("StepLR", step_size=1),
        "gradient_clip_value": GradientNormClipping(1.0),
    }
    for name, callback in twice.items():
        message = f"{type(callback).__name__} beside {name}=.*Set {name}=None"
        with pytest.raises(ValueError, match=message):
            make(callbacks=[how(callback)]).fit(**data)
    make(callbacks=[how(twice["gradient_clip_value"])], gradient_clip_value=None).fit(
        **data
    )
    given = twice["schedule"], ("mine", twice["schedule"])
    for callback in given:
        model = make(callbacks=[callback], schedule=None).fit(**data)
        assert len(set(model.history_[:, "event_lr"])) > 1


@pytest.mark.parametrize("odd", ["EarlyStopping", 3, print, int, (), ("mine",)])
def test_what_is_no_callback_is_named(odd):
    settings = {"schedule": "one_cycle", "gradient_clip_value": None}
    check_owners([None, ("a", None), ["b", EarlyStopping()], EarlyStopping], settings)
    with pytest.raises(TypeError, match=r"^callbacks\[1\] is .*, expected a skorch"):
        check_owners([EarlyStopping(), odd], settings)


def test_probabilities_of_the_net_need_no_more_than_logits(make, data):
    net = make().fit(**data).net_
    found = net.decide(np.array([[2.0, 0.0, -1.0]]))
    assert found.sum() == pytest.approx(1)
    expected = softmax(np.array([[2.0, 0.0, -1.0]]) / net.temperature, axis=1)
    np.testing.assert_allclose(found, expected)


# --------------------------------------------------------------------- stopping early


class Stops(Callback):
    """Ends the training as skorch's callbacks do, at one event of an epoch."""

    def __init__(self, event, epoch=2):
        self.event, self.epoch = event, epoch
        setattr(self, event, self._stop)

    def _stop(self, net, *args, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


EVENTS = [
    "on_epoch_begin", "on_batch_begin", "on_grad_computed", "on_batch_end",
    "on_epoch_end",
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("validate", [False, True])
def test_a_callback_that_stops_keeps_the_fit(make, data, valid, event, validate):
    model = make(callbacks=[Stops(event)], max_epochs=5)
    part = {"validation": valid} if validate else {}
    model.fit(**data, **part)
    assert model.n_iter_ == 2
    assert model.predict(data["X"]).shape == (48,)
    first, second = model.history_
    assert second.keys() == first.keys()
    whole = event == "on_epoch_end"
    assert (second["train_batch_count"] == first["train_batch_count"]) is whole
    assert whole or second["train_batch_count"] == 1


def test_an_adversary_that_waits_for_the_end_of_an_epoch(data):
    from sklearn_ser import SpeakerAdversarialClassifier

    model = SpeakerAdversarialClassifier(
        alternate="epoch", encoder="pointwise", max_epochs=5, batch_size=8,
        callbacks=[Stops("on_batch_end", epoch=1)], random_state=0,
    ).fit(**data)  # fmt: skip
    assert model.n_iter_ == 1
    assert not model.net_.latest_
    assert "train_speaker" not in model.history_[-1]


# ------------------------------------------------------- predictions inside a callback


class Predicts(Callback):
    """Predicts with a fitted model, and looks at the number of threads."""

    model, X = None, None

    def on_batch_end(self, net, **kwargs):
        before = torch.get_num_threads()
        type(self).model.predict(type(self).X)
        self.seen = (before, torch.get_num_threads())


def test_a_prediction_inside_a_callback_keeps_the_threads(make, data):
    Predicts.model, Predicts.X = make().fit(**data), data["X"]
    torch.set_num_threads(2)
    try:
        model = make(callbacks=[Predicts()]).fit(**data)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert of_kind(model, Predicts).seen == (1, 1)
