"""DSNet: disentangled siamese network with neutral calibration.

Chen and Zhang, "DSNet: Disentangled Siamese Network with Neutral Calibration for
Speech Emotion Recognition", 2023, arXiv:2312.15593.

x is an utterance, x_n a neutral utterance of the same speaker. E, T, T2, D and C are
the encoder, the two projectors, the decoder and the classifier::

    e = E(x)    n = E(x_n)    u = T(e)    r = T2(e)
    loss = CE(C(r), y) + JS(softmax(u), softmax(n))
         + ||U^T R||_F^2 / d^2 + MSE(D([u; r]), e)

r is the emotion-relevant and u the emotion-irrelevant subspace. Only r has a ReLU.
"""

from dataclasses import dataclass
from itertools import chain
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ._sklearn import NOT_NEGATIVE, SHARE, Interval
from ._validation import shown
from .base import BaseSpeechClassifier
from .exceptions import warn_caller
from .nn.batching import side_by_side
from .nn.encoders import UtteranceEncoder
from .nn.layers import Dropout, LogitLayer
from .nn.losses import CrossEntropy, LossTerm

NEUTRAL = {"neutral", "neu", "n"}


class Projector(nn.Module):
    """A gate and a linear layer: W(g * e + e), g = sigmoid(W2 ReLU(W1 e))."""

    def __init__(self, d):
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(d, d // 2), nn.ReLU(), nn.Linear(d // 2, d), nn.Sigmoid()
        )
        self.linear = nn.Linear(d, d)

    def forward(self, e):
        return self.linear(self.gate(e) * e + e)


class DSNet(nn.Module):
    """The network of the paper."""

    sharpens = True

    def __init__(self, n_classes, d=256, **encoder):
        super().__init__()
        self.E = UtteranceEncoder(n_embedding=d, **encoder)
        self.T = Projector(d)
        self.T2 = Projector(d)
        self.D = nn.Sequential(nn.Linear(2 * d, d), nn.ReLU(), nn.Linear(d, d))
        self.C = nn.Sequential(
            nn.Linear(d, d),
            nn.PReLU(),
            Dropout(0.5),
            nn.BatchNorm1d(d),
            LogitLayer(d, n_classes),
        )
        parts = (part.modules() for part in (self.T, self.T2, self.D, self.C))
        for layer in chain(self.E.library_layers(), *parts):
            if isinstance(layer, LogitLayer):
                continue  # Xavier's weights would outweigh the classes' prior
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x, lengths, neutral=None):
        both = x, lengths
        if neutral is not None:  # one pass, so that both sides share batch statistics
            both = side_by_side(both, (neutral.x, neutral.lengths))
        both = self.E(*both)
        e, n = both[: x.shape[0]], both[x.shape[0] :]  # len would freeze a trace
        u, r = self.T(e), self.T2(e).relu()
        return {
            "logits": self.C(r),
            "embedding": r,
            "irrelevant": u,
            "encoded": e,
            "neutral": n,
            "decoded": self.D(torch.cat([u, r], dim=1)),
        }


@dataclass(frozen=True)
class NeutralCalibration(LossTerm):
    """JS(softmax(u), softmax(n)), averaged over the rows with a neutral partner."""

    name: ClassVar[str] = "calibration"

    def __call__(self, outputs, batch):
        if "neutral" not in batch.companions:
            return outputs["irrelevant"].new_zeros(())
        neutral = batch.companions["neutral"]
        u = outputs["irrelevant"][neutral["calibrated"]]
        n = outputs["neutral"][neutral["partner"]]
        p, q = u.log_softmax(1), n.log_softmax(1)
        m = torch.logaddexp(p, q) - np.log(2)
        js = [F.kl_div(m, a, reduction="batchmean", log_target=True) for a in (p, q)]
        return sum(js) / 2


@dataclass(frozen=True)
class Orthogonality(LossTerm):
    """||U^T R||_F^2 / d^2, where rows are centred and divided by their own norms."""

    name: ClassVar[str] = "orthogonality"

    def __call__(self, outputs, batch):
        u, r = outputs["irrelevant"], outputs["embedding"]
        u, r = (
            a / (a.norm(dim=1, keepdim=True).detach() + 1e-6)
            for a in (u - u.mean(0), r - r.mean(0))
        )
        return (u.T @ r).square().mean()


@dataclass(frozen=True)
class Reconstruction(LossTerm):
    """Mean squared error of D([u; r]) against e."""

    name: ClassVar[str] = "reconstruction"

    def __call__(self, outputs, batch):
        return F.mse_loss(outputs["decoded"], outputs["encoded"])


class NeutralPartners:
    """Draws neutral utterances of the speakers of a batch, new ones for each batch.

    They are drawn from the first `n_neutral` of a speaker, or from all of them. With
    `shared`, the rows of one speaker share a partner, which is then encoded once.
    """

    def __init__(self, is_neutral, speakers, n_neutral, shared=True):
        names, self.speaker = np.unique(speakers, return_inverse=True)
        self.shared = shared
        self.pools = [
            np.flatnonzero(is_neutral & (self.speaker == i))[:n_neutral]
            for i in range(len(names))
        ]

    def __call__(self, dataset, rows, rng, frame_budget):
        speaker = self.speaker[rows]
        present = [i for i in np.unique(speaker) if len(self.pools[i])]
        if not present:
            return {}
        calibrated = np.flatnonzero(np.isin(speaker, present))
        if self.shared:
            drawn_for = present
            partner = np.searchsorted(present, speaker[calibrated])
        else:
            drawn_for = speaker[calibrated]
            partner = np.arange(len(calibrated))
        drawn = [rng.choice(self.pools[i]) for i in drawn_for]
        # The network joins batch and partners, padded to one length. A partner that is
        # longer than both the batch and its share of the budget is cropped.
        width = min(dataset.n_frames[rows].max(), frame_budget // len(rows))
        share = frame_budget // (len(rows) + len(drawn))
        neutral = dataset.batch(drawn, max(width, share), rng)
        for name, values in ("calibrated", calibrated), ("partner", partner):
            neutral.columns[name] = torch.as_tensor(values, device=neutral.x.device)
        return {"neutral": neutral}


def neutral_classes(classes, neutral_label):
    """Return the classes that are neutral; "auto" recognises neutral, neu and n."""
    if isinstance(neutral_label, str) and neutral_label == "auto":
        return [c for c in classes if str(c).strip().lower() in NEUTRAL]
    if neutral_label not in classes:
        raise ValueError(
            f"neutral_label={shown(neutral_label)} does not occur in y, whose classes "
            f"are {classes}. (If a meta-estimator encodes y, pass the number of "
            "the class.)"
        )
    return [neutral_label]


class DSNetClassifier(BaseSpeechClassifier):
    """Disentangled siamese network with neutral calibration (DSNet).

    The network splits an utterance's embedding into two parts [1]_. It classifies the
    emotion-relevant part r. The irrelevant part u learns to equal the embedding of a
    neutral utterance of the speaker. Prediction needs no speaker and no neutral speech.

    Parameters
    ----------
    calibration_weight, orthogonality_weight, reconstruction_weight : float, default=1
        Weights of the three terms beside the cross-entropy. Zero removes a term.
    neutral_label : label or "auto", default="auto"
        The neutral class. "auto" recognises neutral, neu and n in any letter case. With
        a meta-estimator that encodes y, such as VotingClassifier, pass the number of
        the class.
    n_neutral : int or None, default=3
        Each batch draws neutral partners from the first `n_neutral` neutral utterances
        of a speaker, as published. None draws from all.
    share_neutral : bool, default=True
        If True, the utterances of a speaker in a batch share one neutral partner, and
        the network encodes it once. False draws one for each utterance, as published.
    {shared parameters}

    Attributes
    ----------
    {shared attributes}

    Notes
    -----
    The authors' own setting, on ``LogMelTransformer(duration=6)``, is::

        DSNetClassifier(
            share_neutral=False, encoder="cnn6", max_epochs=80, lr=1e-3,
            weight_decay=0, schedule=None, label_smoothing=0,
            gradient_clip_value=None, class_weight=None, speed_perturbation=0,
            vocal_tract_perturbation=0, masking=0, validation_fraction=0.1,
            callbacks=[LRScheduler("ReduceLROnPlateau", monitor="valid_uar",
                                   mode="max", patience=15, factor=0.1),
                       EarlyStopping("valid_uar", lower_is_better=False, patience=20)])

    with the callbacks of skorch. It deviates from their code in six ways:

    - The validation speaker is random, unless a protocol or the `validation` of ``fit``
      names one. Theirs is the other speaker of the test speaker's session.
    - Log-mels are standardised before the batch normalisation; their window is Hann's.
    - The projectors use their gate, as in the paper; the code does not.
    - u has no ReLU. With the code's ReLU, all of u was zero after training on three
      corpora, so the terms had no effect.
    - The output starts at the frequencies of the classes, instead of a bias of zero:
      its weights are smaller than Xavier's.
    - Batches hold recordings of similar length; ``duration=6`` makes all lengths equal.

    References
    ----------
    .. [1] Chen and Zhang, "DSNet: Disentangled Siamese Network with Neutral
       Calibration for Speech Emotion Recognition", 2023, arXiv:2312.15593.

    Examples
    --------
    >>> from sklearn_ser import DSNetClassifier, LogMelTransformer
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> corpus = make_emotional_speech(n_speakers=3, n_utterances=2, random_state=0)
    >>> X = LogMelTransformer().transform(corpus.data)
    >>> model = DSNetClassifier(max_epochs=2, random_state=0)
    >>> model = model.fit(X, corpus.target, speakers=corpus.speakers)
    >>> model.predict_proba(X[:5]).shape
    (5, 4)
    """

    _parameter_constraints: ClassVar = {
        **BaseSpeechClassifier._parameter_constraints,
        "calibration_weight": [NOT_NEGATIVE],
        "orthogonality_weight": [NOT_NEGATIVE],
        "reconstruction_weight": [NOT_NEGATIVE],
        "label_smoothing": [SHARE],
        "n_neutral": [Interval(Integral, 1, None, closed="left"), None],
        "share_neutral": ["boolean"],
    }

    calibration_weight: float = 1.0
    orthogonality_weight: float = 1.0
    reconstruction_weight: float = 1.0
    neutral_label: object = "auto"
    n_neutral: int | None = 3
    share_neutral: bool = True
    label_smoothing: float = 0.1

    def embed(self, X, *, subspace="relevant"):
        """Return the emotion-relevant embedding r, or the irrelevant one u.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        subspace : {"relevant", "irrelevant"}, default="relevant"
            The part to return.

        Returns
        -------
        array of shape (n_samples, 256), float32
        """
        outputs = {"relevant": "embedding", "irrelevant": "irrelevant"}
        if subspace not in outputs:
            raise ValueError(
                f"subspace is {subspace!r}, expected one of {sorted(outputs)}."
            )
        return self._outputs(X, outputs[subspace]).astype(np.float32)

    def _module(self, data):
        sizes = {"n_classes": len(data.classes)}
        return DSNet, sizes | self._encoder_arguments(data)

    def _terms(self, data):
        return [
            CrossEntropy(label_smoothing=self.label_smoothing),
            NeutralCalibration(self.calibration_weight),
            Orthogonality(self.orthogonality_weight),
            Reconstruction(self.reconstruction_weight),
        ]

    def _purpose_of_speakers(self):
        return "the neutral calibration" if self.calibration_weight else None

    def _companions(self, data, device):
        if not self.calibration_weight:
            return None
        neutral = neutral_classes(data.classes.tolist(), self.neutral_label)
        if data.speakers is None:
            return None
        if not neutral:
            warn_caller(
                f"No class of {data.classes.tolist()} looks neutral: the calibration "
                "term is left out. Pass the class as neutral_label, or set "
                "calibration_weight=0."
            )
            return None
        is_neutral = np.isin(data.y, neutral)
        return NeutralPartners(
            is_neutral, data.speakers, self.n_neutral, self.share_neutral
        )
