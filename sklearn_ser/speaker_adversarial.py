"""Speaker-invariant affective representation by adversarial training: DAT and MEnAN.

Li, Tu, Huang, Narayanan and Georgiou, "Speaker-invariant Affective Representation
Learning via Adversarial Training", ICASSP 2020, arXiv:1911.01533.

With x an utterance, y its emotion, s its speaker, and ENC, EC, SC the encoder, the
emotion classifier and the speaker classifier::

    v = ENC(x)    q = softmax(SC(v))
    MEnAN, step 1:  SC          minimises  CE(SC(v), s)
           step 2:  ENC and EC  minimise   CE(EC(v), y) - lambda H(q)
    DAT            SC          minimises  CE(SC(v), s)
                   ENC and EC  minimise   CE(EC(v), y) - lambda CE(SC(v), s)
                   in one step, the gradient reversed between SC and ENC

H is the entropy. DAT reaches its optimum when SC takes one speaker for another, MEnAN
only when SC cannot tell any speakers apart.
"""

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils import compute_class_weight
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional as F

from ._sklearn import AUTO, NOT_NEGATIVE, POSITIVE, SHARE, StrOptions
from .base import BaseSpeechClassifier
from .exceptions import warn_caller
from .nn.encoders import UtteranceEncoder, without_noise
from .nn.layers import Dropout, LogitLayer
from .nn.losses import CrossEntropy, LossTerm, linear_ramp, sigmoid_ramp
from .nn.net import SpeechNet

# ENC moves fast, and only an SC that follows it closely has something to teach. So each
# step 1 of MEnAN makes several small steps, on the embeddings of several batches.
SC_STEPS = 5  # small steps in a step 1
SC_MEMORY = 8  # the latest batches, whose embeddings SC learns from
SC_BATCH_SIZE = 128  # embeddings in a small step


class SpeakerAdversarial(nn.Module):
    """ENC, EC and SC. No prediction depends on SC."""

    sharpens = True

    def __init__(self, n_classes, n_speakers, d=256, **encoder):
        super().__init__()
        self.n_speakers = n_speakers
        self.ENC = UtteranceEncoder(n_embedding=d, **encoder)
        self.EC = _head(d, LogitLayer(d, n_classes))
        if n_speakers:
            # SC normalises v by the batch at hand. With running statistics ENC could
            # win by moving or shrinking all of v faster than SC follows.
            norm = nn.BatchNorm1d(d, affine=False, track_running_stats=False)
            self.SC = nn.Sequential(norm, *_head(d, nn.Linear(d, n_speakers)))

    def forward(self, x, lengths):
        v = self.ENC(x, lengths)
        return {"logits": self.EC(v), "embedding": v}


def _head(d, last):
    return nn.Sequential(nn.Linear(d, d), nn.PReLU(), Dropout(0.5), last)


@dataclass(frozen=True)
class SpeakerEntropy(LossTerm):
    """-H(q), the mean negative entropy of q = softmax(SC(v)): MEnAN's step 2."""

    name: ClassVar[str] = "adversary"

    def __call__(self, outputs, batch):
        if "speaker_logits" not in outputs:  # validation does not ask for speakers
            return outputs["logits"].new_zeros(())
        log_q = outputs["speaker_logits"].log_softmax(1)
        return (log_q.exp() * log_q).sum(1).mean()


@dataclass(frozen=True)
class SpeakerCrossEntropy(LossTerm):
    """CE(SC(v), s), with the same weight for every speaker."""

    name: ClassVar[str] = "adversary"

    def __call__(self, outputs, batch):
        if "speaker_logits" not in outputs:
            return outputs["logits"].new_zeros(())
        losses = F.cross_entropy(
            outputs["speaker_logits"], batch["speaker"], reduction="none"
        )
        return (losses * batch["speaker_weight"]).mean()


class SpeakerNet(SpeechNet):
    """A net in which SC learns from the training batches, with an Adam of its own."""

    def __init__(self, module, *, adversary_lr=3e-3, adversary_clip=5.0, **kwargs):
        self.adversary_lr = adversary_lr
        self.adversary_clip = adversary_clip
        super().__init__(module, **kwargs)

    def initialize(self):
        """Seed SC's generator beside the one of ENC and EC."""
        seed = np.random.SeedSequence(self.seed).spawn(3)[2]
        self.adversary_rng_ = np.random.default_rng(seed)
        self.adversary_losses_ = []
        return super().initialize()

    def random_layers(self):
        """Yield SC's layers with SC's generator."""
        own = set(self.module_.SC.modules())
        for layer, rng in super().random_layers():
            yield layer, self.adversary_rng_ if layer in own else rng

    def lasting_weights(self):
        """Leave out SC: its outputs are the speakers of one fit."""
        weights = super().lasting_weights()
        return {k: v for k, v in weights.items() if not k.startswith("SC.")}

    def get_all_learnable_params(self):
        """Yield the parameters of ENC and EC, which the first optimiser trains."""
        for name, parameter in super().get_all_learnable_params():
            if not name.startswith("SC."):
                yield name, parameter

    def initialize_optimizer(self):
        """Make one optimiser for SC and one for ENC and EC."""
        super().initialize_optimizer()
        if self.only_predicts:
            return self
        self.adversary_optimizer_ = torch.optim.Adam(
            self.module_.SC.parameters(),
            lr=self.adversary_lr,
            fused=torch.device(self.device).type in ("cpu", "cuda"),
        )
        return self

    def _step_optimizer(self, step_fn):
        self.optimizer_.step(step_fn)

    def infer(self, x, **fit_params):
        """Apply ENC and EC to a batch, and SC to a batch of the training."""
        outputs = super().infer(x, **fit_params)
        if self.module_.training:
            ENC, v = self.module_.ENC, outputs["embedding"]
            if ENC.noise.acts_on(x.x):  # it hides speakers from SC, not from a probe
                with without_noise(ENC):
                    v = ENC(x.x, x.lengths)
            outputs |= {"v_for_SC": v, "speaker_logits": self.module_.SC(v)}
        return outputs

    def step_adversary(self, loss):
        """Take a step of SC's optimiser, and keep its loss."""
        if self.adversary_clip is not None:
            nn.utils.clip_grad_norm_(self.module_.SC.parameters(), self.adversary_clip)
        self.adversary_optimizer_.step()
        self.adversary_losses_.append(loss.item())

    def run_single_epoch(self, iterator, training, **kwargs):
        """Record SC's loss beside the others."""
        super().run_single_epoch(iterator, training, **kwargs)
        if training and self.adversary_losses_:  # none if a callback ended the epoch
            mean = float(np.mean(self.adversary_losses_))
            self.history.record("train_speaker", mean)
            self.adversary_losses_.clear()


class MEnANNet(SpeakerNet):
    """Two steps that alternate, with each "batch" or with each "epoch"."""

    def __init__(self, module, *, alternate="batch", **kwargs):
        self.alternate = alternate
        super().__init__(module, **kwargs)

    def initialize(self):
        """Keep the embeddings of the latest batches, or of an epoch, for step 1."""
        self.latest_ = deque(maxlen=SC_MEMORY if self.alternate == "batch" else None)
        return super().initialize()

    def step_1(self):
        """Train SC to tell the speakers apart, on the v = ENC(x) that step 2 kept."""
        names = "v", "speaker", "speaker_weight"
        latest = {name: torch.cat([b[name] for b in self.latest_]) for name in names}
        self.module_.SC.train()
        for _ in range(SC_STEPS):
            rows = self.adversary_rng_.permutation(len(latest["v"]))[:SC_BATCH_SIZE]
            part = {name: values[rows] for name, values in latest.items()}
            self.adversary_optimizer_.zero_grad()
            logits = self.module_.SC(part["v"])
            loss = SpeakerCrossEntropy()({"speaker_logits": logits}, part)
            loss.backward()
            self.step_adversary(loss)

    def step_2(self, batch, **fit_params):
        """Train EC, and train ENC against SC, which is frozen but differentiable."""
        self.module_.SC.requires_grad_(False)
        try:
            step = super().train_step(batch, **fit_params)
        finally:
            self.module_.SC.requires_grad_(True)
        v = step["y_pred"]["v_for_SC"].detach()
        self.latest_.append({"v": v, **batch[0].columns})
        return step

    def train_step(self, batch, **fit_params):
        """Take step 2 and, unless step 1 waits for the end of the epoch, step 1."""
        step = self.step_2(batch, **fit_params)
        n_batches = self.iterator_.n_batches
        last = len(self.history[-1]["batches"]) == n_batches
        at_the_end = n_batches if last else 0
        for _ in range(1 if self.alternate == "batch" else at_the_end):
            self.step_1()
        if last:  # the next epoch starts with its own embeddings
            self.latest_.clear()
        return step

    def forget_training(self):
        """Forget the embeddings of an epoch that a callback ended, too."""
        super().forget_training()
        self.latest_.clear()

    def _set_training(self, training=True):
        super()._set_training(training)
        self.module_.SC.eval()


class DATNet(SpeakerNet):
    """One step: the gradient of SC's loss is reversed on its way to ENC."""

    def train_step_single(self, batch, **fit_params):
        """Compute the gradients of ENC and EC, and those of SC beside them."""
        self._set_training(True)
        outputs = self.infer(batch[0], **fit_params)
        loss = self.get_loss(outputs, batch[1], X=batch[0], training=True)
        # In `loss`, SC's loss has the sign that ENC wants; SC itself wants the other.
        self.speaker_loss_ = SpeakerCrossEntropy()(outputs, batch[0])
        own = list(self.module_.SC.parameters())
        gradients = torch.autograd.grad(self.speaker_loss_, own, retain_graph=True)
        loss.backward()
        for parameter, gradient in zip(own, gradients, strict=True):
            parameter.grad = gradient
        return {"loss": loss, "y_pred": outputs}

    def _step_optimizer(self, step_fn):
        super()._step_optimizer(step_fn)
        self.step_adversary(self.speaker_loss_)
        del self.speaker_loss_  # it holds the graph of the batch


class SpeakerAdversarialClassifier(BaseSpeechClassifier):
    """Speaker-invariant emotion classifier by adversarial training (MEnAN, DAT).

    A speaker classifier SC learns to recognise the training speakers from the embedding
    v of an utterance. The encoder learns to hide the speakers from SC [1]_. It
    maximises the entropy of SC's prediction (MEnAN) or reverses SC's gradient (DAT).
    Prediction needs no speaker and is meant for new speakers.

    Parameters
    ----------
    method : {"menan", "dat"} or None, default="menan"
        Maximum entropy adversarial network, domain adversarial training, or neither.
    adversary_weight : float or "auto", default="auto"
        The paper's lambda. "auto" is 0.5 for MEnAN, the paper's value, and 0.005 for
        DAT, whose speaker loss has no upper bound and hides the emotions at 0.5. After
        the share p of the training, its factor is p for MEnAN and
        2 / (1 + exp(-10 p)) - 1 for DAT. On log-mels of few speakers MEnAN needs less
        than 0.5: 0.2.
    alternate : {"batch", "epoch"}, default="batch"
        The steps of MEnAN alternate with each batch or with each epoch.
    adversary_lr : float or "auto", default="auto"
        Learning rate of SC's Adam. "auto" is 0.003, and 0.02 for vectors.
    {shared parameters}

    Attributes
    ----------
    {shared attributes}
    n_speakers_ : int
        Number of speakers that SC tells apart, or 0 if it was not trained.

    See Also
    --------
    sklearn_ser.metrics.speaker_probe_score : How well a probe reads the speaker.

    Notes
    -----
    SC's loss gives every speaker the same weight. SC has its own random generator. With
    ``adversary_weight=0`` SC learns, and the encoder equals that of ``method=None`` to
    the bit. The sizes of the network and two parts of MEnAN are a reconstruction.
    First, step 1 takes five small steps on the embeddings that step 2 computed for the
    latest eight batches of the epoch (or for the whole epoch). With a single step SC
    learns too slowly. Second, lambda grows from zero. With the full lambda from the
    start the encoder does not learn the emotions. With ``warm_start=True``, SC starts
    anew in each fit, because a fit may have other speakers.

    References
    ----------
    .. [1] Li et al., "Speaker-invariant Affective Representation Learning via
       Adversarial Training", ICASSP 2020, arXiv:1911.01533.

    Examples
    --------
    >>> from sklearn_ser import LogMelTransformer, SpeakerAdversarialClassifier
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> corpus = make_emotional_speech(n_speakers=3, n_utterances=2, random_state=0)
    >>> X = LogMelTransformer().transform(corpus.data)
    >>> model = SpeakerAdversarialClassifier(max_epochs=2, random_state=0)
    >>> model = model.fit(X, corpus.target, speakers=corpus.speakers)
    >>> model.predict_proba(X[:5]).shape
    (5, 4)
    """

    _parameter_constraints: ClassVar = {
        **BaseSpeechClassifier._parameter_constraints,
        "label_smoothing": [SHARE],
        "method": [StrOptions({"menan", "dat"}), None],
        "adversary_weight": [AUTO, NOT_NEGATIVE],
        "alternate": [StrOptions({"batch", "epoch"})],
        "adversary_lr": [AUTO, POSITIVE],
    }

    method: str | None = "menan"
    adversary_weight: float | str = "auto"
    alternate: str = "batch"
    adversary_lr: float | str = "auto"
    label_smoothing: float = 0.1

    @property
    def n_speakers_(self):
        """Number of speakers that SC tells apart, or 0 if it was not trained."""
        check_is_fitted(self, "net_")
        return self.net_.module_.n_speakers

    def _n_speakers(self, data):
        """Return the number of speakers for SC; 0 means a net without SC."""
        with_adversary = self.method is not None and data.speakers is not None
        return len(np.unique(data.speakers)) if with_adversary else 0

    def _net_class(self, data):
        if not self._n_speakers(data):
            return SpeechNet
        lr = self.adversary_lr
        if lr == "auto":
            lr = 2e-2 if data.kind == "vector" else 3e-3
        options = {"adversary_lr": lr, "adversary_clip": self.gradient_clip_value}
        if self.method == "menan":
            return partial(MEnANNet, alternate=self.alternate, **options)
        return partial(DATNet, **options)

    def _module(self, data):
        return SpeakerAdversarial, {
            "n_classes": len(data.classes),
            "n_speakers": self._n_speakers(data),
            **self._encoder_arguments(data),
        }

    @property
    def _lambda(self):
        if self.adversary_weight != "auto":
            return self.adversary_weight
        return {"menan": 0.5, "dat": 0.005, None: 0.0}[self.method]

    def _terms(self, data):
        terms = [CrossEntropy(label_smoothing=self.label_smoothing)]
        if not self._n_speakers(data):
            return terms
        if self.method == "menan":
            return [*terms, SpeakerEntropy(self._lambda, linear_ramp)]
        return [*terms, SpeakerCrossEntropy(-self._lambda, sigmoid_ramp)]

    def _purpose_of_speakers(self):
        return "the adversary" if self._lambda else None

    def _columns(self, data):
        if not (n_speakers := self._n_speakers(data)):
            return {}
        if n_speakers == 1 and self._lambda:
            warn_caller(
                "The adversary has no effect: all training samples have one speaker."
            )
        names, code = np.unique(data.speakers, return_inverse=True)
        weight = compute_class_weight("balanced", classes=names, y=data.speakers)
        return {"speaker": code, "speaker_weight": weight[code].astype(np.float32)}
