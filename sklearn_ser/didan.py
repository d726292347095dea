"""Deep implicit distribution alignment networks: DIDAN and its successor LIDAN.

Zhao, Zong, Lian, Tang, Schuller et al., "Deep Implicit Distribution Alignment Networks
for Cross-Corpus Speech Emotion Recognition", ICASSP 2023, arXiv:2302.08921, and "Layer-
Adapted Implicit Distribution Alignment Networks", 2023, arXiv:2310.03992.

X_s, Y_s is the labelled source corpus, with one-hot Y_s. X_t is the unlabelled target
corpus. D_s, D_t are features at a fully connected layer; a sample is a unit column::

    loss = ||Y_s - f(X_s)||_F^2 / n_s + lambda IDA(D_s, D_t)
    IDA  = min_Z (||D_t - D_s Z||_F^2 + tau ||Z||_1) / n_t

A few source samples reconstruct each target sample; the term assumes no form of the
distribution. LIDAN has three such terms, on three layers: it uses all source samples,
those with the same degree of arousal, and those with the same emotion. The network
predicts the emotion of a target sample.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ._sklearn import NOT_NEGATIVE, StrOptions
from .base import BaseSpeechClassifier
from .domains import DomainAdapterMixin
from .exceptions import warn_caller
from .nn.adaptation import DomainNet, source_and_target
from .nn.encoders import UtteranceEncoder
from .nn.layers import Dropout, LogitLayer
from .nn.losses import LossTerm, linear_ramp

# Emotions by arousal, in the field's words: the coarse labels of LIDAN.
_HIGH_AROUSAL = {"anger", "happiness", "excited", "fear", "surprise"}
_LOW_AROUSAL = {"neutral", "sadness", "boredom", "calm", "disgust"}
# An alignment does nothing where a target recording is made of fewer source recordings
# than the first figure, on average, or where less than the second is left of it.
_IDLE_BELOW = {
    "nonzeros": (0.01, "no source recording is used; lower sparsity"),
    "residual": (0.001, "anything can be rebuilt; raise sparsity"),
}


@dataclass(frozen=True)
class Regression(LossTerm):
    """||Y_s - f(X_s)||_F^2 / n_s, weighted per sample."""

    name: ClassVar[str] = "task"

    def __call__(self, outputs, batch):
        one_hot = F.one_hot(batch["y"], outputs["logits"].shape[1])
        errors = (one_hot - outputs["logits"]).square().sum(1)
        return (errors * batch["weight"]).mean()


@torch.no_grad()
def sparse_codes(D_s, D_t, tau, allowed=None, *, tol=1e-6, max_iter=500):
    """Minimise ||D_t - D_s Z||_F^2 + tau ||Z||_1 over Z by FISTA.

    D_s is (d, n_s), the dictionary with one atom a column; D_t is (d, n_t).
    `allowed`, (n_s, n_t), tells which atoms each sample may use. Each column of Z
    equals the coefficients of ``Lasso(alpha=tau / (2 * d), fit_intercept=False)``. The
    search stops when Z changes by less than `tol`, relative to its norm.
    """
    gram, goal = D_s.T @ D_s, D_s.T @ D_t
    step = 1 / eigenvalue_bound(gram).clamp(min=1e-12)
    # A gradient step is y -> ahead @ y + shift. Codes that are not allowed are shrunk
    # to zero.
    ahead = torch.eye(len(goal)).to(gram) - step * gram
    shift = step * goal
    most = torch.zeros_like(goal) + step * tau / 2
    if allowed is not None:
        most = most.masked_fill(~allowed, torch.inf)
    least = -most
    z = y = torch.zeros_like(goal)
    t = 1.0
    for i in range(max_iter):
        new = ahead @ y + shift
        new = new - new.clamp(least, most)
        change = new - z
        if ((y - new) * change).sum() > 0:  # momentum points uphill: start it anew
            t = 1.0
        t, before = (1 + (1 + 4 * t**2) ** 0.5) / 2, t
        y = torch.add(new, change, alpha=(before - 1) / t)
        z = new
        if i % 10 == 9 and change.norm() <= tol * z.norm():
            break
    return z


def eigenvalue_bound(gram):
    """Return an upper bound of the largest eigenvalue, at most n^(1/32) times as large.

    The Frobenius norm of the 16th power is no less than the 16th power of the
    eigenvalue, so a step by this bound is never too long. An estimate by power
    iteration comes from below, and an eigensolver raises an error for NaN.
    """
    unit = gram.abs().max()
    power = gram / unit.clamp(min=torch.finfo(gram.dtype).tiny)
    for _ in range(4):
        power = power @ power
    return unit * power.square().sum() ** (1 / 32)


def reconstruction_error(D_s, D_t, Z, tau):
    """Return (||D_t - D_s Z||_F^2 + tau ||Z||_1) / n_t."""
    error = (D_t - D_s @ Z).square().sum() + tau * Z.abs().sum()
    return error / D_t.shape[-1]


@dataclass(frozen=True)
class ImplicitAlignment(LossTerm):
    """IDA at one layer; Z stays fixed at its minimum for the gradient.

    `sparsity` is tau as a share of max 2 |D_s^T D_t|, beyond which Z is zero. `groups`
    has the group of each class: a target sample is then made of source samples of the
    group of its guessed class.
    """

    layer: str = "FC3"
    sparsity: float = 0.1
    groups: tuple | None = None
    name: str = "alignment"  # type: ignore[misc]
    diagnostics: ClassVar[tuple] = ("nonzeros", "residual")

    def __call__(self, outputs, batch):
        if "guess" not in outputs:  # a validation batch has no target
            return outputs["logits"].new_zeros(()), {}
        D_s, D_t = (F.normalize(h, dim=1).T for h in outputs["layers"][self.layer])
        Z, tau = self.codes(D_s.detach(), D_t.detach(), batch["y"], outputs["guess"])
        residual = (D_t.detach() - D_s.detach() @ Z).square().sum() / D_t.shape[1]
        diagnostics = {
            "nonzeros": float((Z != 0).sum()) / Z.shape[1],
            "residual": float(residual),
        }
        return reconstruction_error(D_s, D_t, Z, tau), diagnostics

    def codes(self, D_s, D_t, y, guess):
        """Return Z and tau, computed on the CPU: not every device has float64."""
        a, b, allowed = D_s.cpu().double(), D_t.cpu().double(), None
        overlap = 2 * (a.T @ b).abs()
        if self.groups is not None:
            group = torch.tensor(self.groups)
            allowed = group[y.cpu()][:, None] == group[guess.cpu()][None]
            overlap = overlap * allowed
        tau = self.sparsity * overlap.max()
        Z = sparse_codes(a, b, tau, allowed)
        return (v.to(D_s.dtype).to(D_s.device) for v in (Z, tau))


class RegressionLayer(LogitLayer):
    """A linear layer that starts at the frequencies of the classes."""

    def set_prior(self, prior):
        """Set the bias to the (weighted) class frequencies."""
        self.bias.data.copy_(torch.from_numpy(prior.astype(np.float32)))


def nearest_distribution(f, floor=1e-6):
    """Project each row onto the distributions, then mix in a little of the uniform one.

    No entry is below ``floor / n_classes``.
    """
    k = f.shape[1]
    ranked = f.sort(dim=1, descending=True)[0]
    shift = (ranked.cumsum(1) - 1) / torch.arange(1, k + 1)
    last = (ranked > shift).sum(1, keepdim=True) - 1
    p = (f - shift.gather(1, last)).clamp(min=0)
    p = p / p.sum(1, keepdim=True)
    return (1 - floor) * p + floor / k


class DIDAN(nn.Module):
    """A convolutional network, three fully connected layers and the regression.

    Batch normalisation follows the layers. Without it all features share a large mean,
    so all samples are close to each other and there is nothing to align. With
    `own_statistics`, source and target of a batch are normalised separately.
    """

    sharpens = True

    def __init__(self, n_classes, d=256, own_statistics=True, **encoder):
        super().__init__()
        self.own_statistics = own_statistics
        self.encoder = UtteranceEncoder(n_embedding=d, **encoder)
        self.FC1, self.FC2, self.FC3 = (
            nn.Sequential(nn.Linear(n, m), nn.BatchNorm1d(m), nn.ReLU())
            for n, m in ((d, d // 2), (d // 2, d // 4), (d // 4, d // 4))
        )
        self.dropout = Dropout(0.5)
        self.f = RegressionLayer(d // 4, n_classes)

    def layers(self, x, lengths):
        """Return the outputs of the fully connected layers."""
        FC1 = self.FC1(self.encoder(x, lengths))
        FC2 = self.FC2(self.dropout(FC1))
        return {"FC1": FC1, "FC2": FC2, "FC3": self.FC3(self.dropout(FC2))}

    def forward(self, x, lengths, target=None):
        if target is None:
            source = self.layers(x, lengths)
            return {"logits": self.f(source["FC3"]), "embedding": source["FC3"]}
        own = self.own_statistics
        source, target = source_and_target(
            self.layers, (x, lengths), target, own_statistics=own
        )
        return {
            "logits": self.f(source["FC3"]),
            "embedding": source["FC3"],
            "layers": {name: (source[name], target[name]) for name in source},
            "guess": self.f(target["FC3"]).argmax(1),
        }


class DIDANNet(DomainNet):
    """A net that warns of alignments without an effect."""

    def partial_fit(self, X, y=None, **kwargs):
        """Train, and warn of each term that had no effect in the last epoch."""
        super().partial_fit(X, y, **kwargs)
        for name, what in [(t.name, w) for t in self.terms for w in t.diagnostics]:
            value = self.history[-1][f"train_{name}_{what}"]
            least, why = _IDLE_BELOW[what]
            if value < least:
                warn_caller(
                    f"The term {name} did nothing: its {what} in the last epoch is "
                    f"{value:.2g}, so {why}."
                )
        return self

    def probabilities(self, logits):
        """Return the nearest distribution, if the net has no temperature."""
        if self.temperature is None:
            return nearest_distribution(logits)
        return super().probabilities(logits)


class DIDANDomainAdapter(DomainAdapterMixin, BaseSpeechClassifier):
    """Cross-corpus emotion classifier by implicit distribution alignment.

    The classifier learns from a labelled source corpus and an unlabelled target corpus,
    and is meant for the target [1]_, [2]_. The network regresses the source's emotions.
    At a fully connected layer, the training moves each target utterance towards a
    sparse combination of source utterances.

    Parameters
    ----------
    alignment : {"didan", "lidan"} or None, default="didan"
        "didan" has one term, on the last hidden layer. "lidan" has three terms, on
        three layers: for all utterances, by degree of arousal, and by emotion. None
        trains the network without the target.
    alignment_weight : float, default=1.0
        The paper's lambda, for each term. It rises linearly during the training.
    sparsity : float, default=0.1
        The paper's tau, as a share of the value above which all codes are zero.
    normalize_domains : bool, default=True
        If True, each domain's own statistics normalise its features to mean zero and
        variance one, without labels. Batch normalisation has running statistics for
        both sides. Prediction uses the target's, unless `sample_domain` says otherwise.
        A domain of one recording, or of equal ones, takes the whole source's.
    {shared parameters}

    Attributes
    ----------
    domain_statistics_ : dict
        Mean and scale of the features of each domain of the fit. It exists only with
        ``normalize_domains=True``.
    {shared attributes}

    See Also
    --------
    sklearn_ser.model_selection.cross_corpus_validate : Evaluation across corpora.

    Notes
    -----
    The network approximates the expectation of the one-hot label. ``predict_proba`` is
    the softmax of its outputs, divided by a temperature from the source's speakers.
    With ``temperature=None`` it projects the outputs onto the distributions, and moves
    them by 1e-6 towards the uniform one; classes below zero are tied. The most probable
    class is the network's.

    We know only the abstracts of the papers. The sizes, batch normalisation and dropout
    of the layers, the dictionary (the source utterances of the batch), the layers of
    the terms and the groups by arousal are a reconstruction. An emotion with an unknown
    name belongs to a third degree of arousal.

    References
    ----------
    .. [1] Zhao et al., "Deep Implicit Distribution Alignment Networks for
       Cross-Corpus Speech Emotion Recognition", ICASSP 2023, arXiv:2302.08921.
    .. [2] Zhao et al., "Layer-Adapted Implicit Distribution Alignment Networks for
       Cross-Corpus Speech Emotion Recognition", 2023, arXiv:2310.03992.

    Examples
    --------
    >>> from sklearn_ser import DIDANDomainAdapter, LogMelTransformer
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> source = make_emotional_speech(n_speakers=3, n_utterances=2, random_state=0)
    >>> target = make_emotional_speech(
    ...     n_speakers=2, n_utterances=2, channel=1, random_state=1
    ... )
    >>> X = LogMelTransformer().transform(source.data + target.data)
    >>> domain = [1] * len(source.data) + [-1] * len(target.data)
    >>> y = [*source.target, *["unknown"] * len(target.data)]
    >>> model = DIDANDomainAdapter(max_epochs=2).fit(X, y, sample_domain=domain)
    >>> model.predict_proba(X[-5:]).shape
    (5, 4)
    """

    _auto_encoders: ClassVar = {
        **BaseSpeechClassifier._auto_encoders,
        "spectrogram": "conv",
    }
    # The source's part of a batch is the dictionary, whose codes cost its cube.
    _most_vectors: ClassVar = 32

    _parameter_constraints: ClassVar = {
        **BaseSpeechClassifier._parameter_constraints,
        "alignment": [StrOptions({"didan", "lidan"}), None],
        "alignment_weight": [NOT_NEGATIVE],
        "sparsity": [NOT_NEGATIVE],
        "normalize_domains": ["boolean"],
    }

    alignment: str | None = "didan"
    alignment_weight: float = 1.0
    sparsity: float = 0.1
    normalize_domains: bool = True

    @property
    def _aligns(self):
        return self.alignment is not None and self.alignment_weight > 0

    def _net_class(self, data):
        return DIDANNet

    def _module(self, data):
        return DIDAN, {
            "n_classes": len(data.classes),
            "own_statistics": self.normalize_domains,
            **self._encoder_arguments(data),
        }

    def _terms(self, data):
        if not (self._aligns and data.target):
            return [Regression()]
        weight = self.alignment_weight, linear_ramp
        align = partial(ImplicitAlignment, *weight, sparsity=self.sparsity)
        if self.alignment == "didan":
            return [Regression(), align(layer="FC3")]
        words = [str(c).strip().lower() for c in data.classes]
        arousal = tuple((w in _HIGH_AROUSAL) + 2 * (w in _LOW_AROUSAL) for w in words)
        emotion = tuple(range(len(words)))
        return [
            Regression(),
            align(name="alignment_all", layer="FC1"),
            align(name="alignment_arousal", layer="FC2", groups=arousal),
            align(name="alignment_emotion", layer="FC3", groups=emotion),
        ]
