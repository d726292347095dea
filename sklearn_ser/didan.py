"""Deep implicit distribution alignment networks: DIDAN and its successor LIDAN.

Zhao, Zong, Lian, Tang, Schuller et al., "Deep Implicit Distribution Alignment Networks
for Cross-Corpus Speech Emotion Recognition", ICASSP 2023, arXiv:2302.08921, and "Layer-
Adapted Implicit Distribution Alignment Networks", 2023, arXiv:2310.03992.

With X_s, Y_s the labelled source corpus, Y_s one-hot, X_t the unlabelled target corpus,
and D_s, D_t features at a fully connected layer, one column of norm one a sample::

    loss = ||Y_s - f(X_s)||_F^2 / n_s + lambda IDA(D_s, D_t)
    IDA  = min_Z (||D_t - D_s Z||_F^2 + tau ||Z||_1) / n_t

Each target sample is reconstructed from few source samples; no form of distribution is
assumed. LIDAN has three such terms on three successive layers: of all samples, of those
of one degree of arousal, and of those of one emotion. Of the target's emotions it takes
the network's own guesses.
"""

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from skorch.callbacks import PassthroughScoring
from torch import nn
from torch.nn import functional as F

from ._sklearn import Interval, StrOptions
from .base import BaseSpeechClassifier
from .domains import DomainAdapterMixin
from .exceptions import warn_caller
from .nn.adaptation import DomainNet, source_and_target
from .nn.encoders import UtteranceEncoder
from .nn.layers import Dropout, LogitLayer
from .nn.losses import LossTerm, linear_ramp
from .nn.sparse_coding import reconstruction_error, sparse_codes

# LIDAN's coarse labels, by the field's words.
_HIGH_AROUSAL = {"anger", "happiness", "excited", "fear", "surprise"}
_LOW_AROUSAL = {"neutral", "sadness", "boredom", "calm", "disgust"}
# A term does nothing where a target recording is made of fewer source recordings than
# the first figure, or where less than the second is left of it.
_LEAST_NONZEROS, _LEAST_RESIDUAL = 0.01, 0.001


@dataclass(frozen=True)
class Regression(LossTerm):
    """||Y_s - f(X_s)||_F^2 / n_s, weighted per sample."""

    name: ClassVar[str] = "task"

    def __call__(self, outputs, batch):
        one_hot = F.one_hot(batch["y"], outputs["logits"].shape[1])
        errors = (one_hot - outputs["logits"]).square().sum(1)
        return (errors * batch["weight"]).mean()


@dataclass(frozen=True)
class ImplicitAlignment(LossTerm):
    """IDA at one layer.

    At its minimum Z has no gradient: it is held fixed, and D_s and D_t follow from it.

    Parameters
    ----------
    layer : str
        A key of ``outputs["layers"]``.
    sparsity : float
        tau, as a share of max 2 |D_s^T D_t|, beyond which Z is zero.
    groups : tuple of int or None
        The group of each class; a target sample is made of source samples of the group
        that it is guessed to belong to. None makes it of any.
    """

    layer: str = "FC3"
    sparsity: float = 0.1
    groups: tuple | None = None
    name: str = "alignment"

    def __call__(self, outputs, batch):
        if "guess" not in outputs:  # a validation batch has no target
            return outputs["logits"].new_zeros(())
        D_s, D_t = (F.normalize(h, dim=1).T for h in outputs["layers"][self.layer])
        Z, tau = self.codes(D_s.detach(), D_t.detach(), batch["y"], outputs["guess"])
        residual = (D_t.detach() - D_s.detach() @ Z).square().sum() / D_t.shape[1]
        outputs["diagnostics"] |= {
            f"{self.name}_nonzeros": float((Z != 0).sum()) / Z.shape[1],
            f"{self.name}_residual": float(residual),
        }
        return reconstruction_error(D_s, D_t, Z, tau)

    def codes(self, D_s, D_t, y, guess):
        """Return Z and tau."""
        exact = torch.float32 if D_s.device.type == "mps" else torch.float64
        a, b, allowed = D_s.to(exact), D_t.to(exact), None
        overlap = 2 * (a.T @ b).abs()
        if self.groups is not None:
            group = torch.tensor(self.groups, device=y.device)
            allowed = group[y][:, None] == group[guess][None]
            overlap = overlap * allowed
        tau = self.sparsity * overlap.max()
        return sparse_codes(a, b, tau, allowed).to(D_s), tau.to(D_s)


class _Regressor(LogitLayer):
    """A linear layer that starts at the frequencies of the classes."""

    def set_prior(self, prior):
        """Set the bias to the (weighted) class frequencies."""
        self.bias.data.copy_(torch.from_numpy(prior.astype(np.float32)))


class DIDAN(nn.Module):
    """A convolutional network, three fully connected layers and the regression.

    The layers are normalised by the batch: features that share a large mean are all
    alike to the alignment, which then has nothing to do.

    Parameters
    ----------
    n_classes : int
    d : int, default=256
        Size of the encoder's embedding.
    own_statistics : bool, default=True
        Whether source and target of a batch are normalised each by itself, or together.
    **encoder
        As for :class:`UtteranceEncoder`.
    """

    def __init__(self, n_classes, d=256, own_statistics=True, **encoder):
        super().__init__()
        self.own_statistics = own_statistics
        self.encoder = UtteranceEncoder(n_embedding=d, **encoder)
        self.FC1, self.FC2, self.FC3 = (
            nn.Sequential(nn.Linear(n, m), nn.BatchNorm1d(m), nn.ReLU())
            for n, m in ((d, d // 2), (d // 2, d // 4), (d // 4, d // 4))
        )
        self.dropout = Dropout(0.5)
        self.f = _Regressor(d // 4, n_classes)

    def layers(self, x, lengths):
        """Return what the fully connected layers say."""
        FC1 = self.FC1(self.encoder(x, lengths))
        FC2 = self.FC2(self.dropout(FC1))
        return {"FC1": FC1, "FC2": FC2, "FC3": self.FC3(self.dropout(FC2))}

    def forward(self, x, lengths, target=None):
        if target is None:
            source = self.layers(x, lengths)
            return {"logits": self.f(source["FC3"]), "embedding": source["FC3"]}
        source, target = source_and_target(
            self,
            self.layers,
            (x, lengths),
            target,
            own_statistics=self.own_statistics,
        )
        return {
            "logits": self.f(source["FC3"]),
            "embedding": source["FC3"],
            "layers": {name: (source[name], target[name]) for name in source},
            "guess": self.f(target["FC3"]).argmax(1),
            "diagnostics": {},
        }


class DIDANNet(DomainNet):
    """A net that says how its alignments do."""

    @property
    def _default_callbacks(self):
        names = [
            f"train_{term.name}_{what}"
            for term in self.terms
            if isinstance(term, ImplicitAlignment)
            for what in ("nonzeros", "residual")
        ]
        own = [(name, PassthroughScoring(name, on_train=True)) for name in names]
        return [*super()._default_callbacks, *own]

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Record what the alignments found beside their values."""
        loss = super().get_loss(y_pred, y_true, X, training=training)
        for name, value in y_pred.get("diagnostics", {}).items():
            self.history.record_batch(f"train_{name}", value)
        return loss


class DIDANDomainAdapter(DomainAdapterMixin, BaseSpeechClassifier):
    """Cross-corpus emotion classifier by implicit distribution alignment.

    Trained on a labelled source corpus and an unlabelled target corpus, for use on the
    target [1]_, [2]_: the network regresses the source's emotions while each target
    utterance is to be a sparse combination of source utterances at a fully connected
    layer.

    Parameters
    ----------
    alignment : {"didan", "lidan"} or None, default="didan"
        One term on the last hidden layer; three, on three layers and of three
        granularities: all utterances, those of a degree of arousal, those of an
        emotion; or none, the network without the target.
    alignment_weight : float, default=1.0
        The paper's lambda, of each term. It rises linearly over the training.
    sparsity : float, default=0.1
        The paper's tau, as a share of that above which all codes are zero.
    normalize_domains : bool, default=True
        Whether each domain's features get mean zero and variance one by statistics of
        its own, which need no label, and batch normalisation has running statistics of
        the source and of the target. Prediction assumes the target, unless
        `sample_domain` says otherwise.
    {shared parameters}

    Attributes
    ----------
    domain_statistics_ : dict
        From a domain of the fit to mean and scale of its features; to None with
        ``normalize_domains=False``.
    {shared attributes}

    See Also
    --------
    sklearn_ser.model_selection.cross_corpus_validate : Evaluation across corpora.

    Notes
    -----
    The network approximates the expectation of the one-hot label;
    ``predict_proba`` is its Euclidean projection onto the distributions, moved by 1e-6
    towards the uniform one, and ranks the classes as the network does.

    The abstracts are what is known of the papers: the sizes, the batch normalisation
    and dropout of the layers, the dictionary (the source utterances of the batch), the
    place of the terms and the groups by arousal are a reconstruction. An emotion that
    is not among the field's words belongs to a third degree of arousal.

    References
    ----------
    .. [1] Zhao et al., "Deep Implicit Distribution Alignment Networks for
       Cross-Corpus Speech Emotion Recognition", ICASSP 2023, arXiv:2302.08921.
    .. [2] Zhao et al., "Layer-Adapted Implicit Distribution Alignment Networks for
       Cross-Corpus Speech Emotion Recognition", 2023, arXiv:2310.03992.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser import DIDANDomainAdapter, LogMelTransformer
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> source = make_emotional_speech(n_speakers=3, n_utterances=2, random_state=0)
    >>> target = make_emotional_speech(
    ...     n_speakers=2, n_utterances=2, channel=1, random_state=1
    ... )
    >>> X = LogMelTransformer().transform(source.data + target.data)
    >>> domain = np.repeat([1, -1], [len(source.data), len(target.data)])
    >>> y = np.concatenate([source.target, np.full(len(target.data), "unknown")])
    >>> model = DIDANDomainAdapter(max_epochs=2, random_state=0)
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> model.predict_proba(X[-5:]).shape
    (5, 4)
    """

    _auto_encoders: ClassVar = {
        **BaseSpeechClassifier._auto_encoders,
        "spectrogram": "conv",
    }

    _parameter_constraints: ClassVar = {
        **{
            name: allowed
            for name, allowed in BaseSpeechClassifier._parameter_constraints.items()
            if name != "label_smoothing"
        },
        "alignment": [StrOptions({"didan", "lidan"}), None],
        "alignment_weight": [Interval(Real, 0, None, closed="left")],
        "sparsity": [Interval(Real, 0, None, closed="left")],
        "normalize_domains": ["boolean"],
    }

    def __init__(
        self,
        *,
        alignment="didan",
        alignment_weight=1.0,
        sparsity=0.1,
        normalize_domains=True,
        encoder="auto",
        max_epochs=20,
        lr=3e-3,
        batch_size=32,
        weight_decay=1e-2,
        schedule="one_cycle",
        gradient_clip_value=5.0,
        class_weight="balanced",
        speed_perturbation=0.1,
        vocal_tract_perturbation=0.1,
        masking=0.15,
        feature_noise=1.0,
        validation_fraction=None,
        callbacks=None,
        device="auto",
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        super().__init__(
            encoder=encoder,
            max_epochs=max_epochs,
            lr=lr,
            batch_size=batch_size,
            weight_decay=weight_decay,
            schedule=schedule,
            gradient_clip_value=gradient_clip_value,
            class_weight=class_weight,
            speed_perturbation=speed_perturbation,
            vocal_tract_perturbation=vocal_tract_perturbation,
            masking=masking,
            feature_noise=feature_noise,
            validation_fraction=validation_fraction,
            callbacks=callbacks,
            device=device,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
        )
        self.alignment = alignment
        self.alignment_weight = alignment_weight
        self.sparsity = sparsity
        self.normalize_domains = normalize_domains

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
        if self.alignment == "didan":
            terms = [("alignment", "FC3", None)]
        else:
            words = [str(c).strip().lower() for c in data.classes]
            arousal = [(w in _HIGH_AROUSAL) + 2 * (w in _LOW_AROUSAL) for w in words]
            terms = [
                ("alignment_all", "FC1", None),
                ("alignment_arousal", "FC2", tuple(arousal)),
                ("alignment_emotion", "FC3", tuple(range(len(words)))),
            ]
        return [Regression()] + [
            ImplicitAlignment(
                self.alignment_weight,
                linear_ramp,
                name=name,
                layer=layer,
                sparsity=self.sparsity,
                groups=groups,
            )
            for name, layer, groups in terms
        ]

    def _train(self, data):
        net = super()._train(data)
        _warn_of_idle_terms(net)
        return net

    def _decide(self, logits):
        return _nearest_distribution(logits.astype(np.float64))


def _warn_of_idle_terms(net):
    for term in net.terms:
        if not isinstance(term, ImplicitAlignment):
            continue
        for what, least, why in (
            (
                "nonzeros",
                _LEAST_NONZEROS,
                "no source recording is used: lower sparsity",
            ),
            ("residual", _LEAST_RESIDUAL, "anything can be rebuilt: raise sparsity"),
        ):
            value = net.history[-1][f"train_{term.name}_{what}"]
            if value < least:
                warn_caller(
                    f"The term {term.name} did nothing, its {what} in the last "
                    f"epoch being {value:.2g}: {why}."
                )


def _nearest_distribution(f, floor=1e-6):
    """Project each row onto the distributions, and a little towards the uniform one."""
    k = f.shape[1]
    ranked = -np.sort(-f, axis=1)
    shift = (np.cumsum(ranked, axis=1) - 1) / np.arange(1, k + 1)
    last = (ranked > shift).sum(axis=1) - 1
    p = np.clip(f - np.take_along_axis(shift, last[:, None], axis=1), 0, None)
    p = p / p.sum(axis=1, keepdims=True)
    return (1 - floor) * p + floor / k
