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

H is the entropy. DAT is satisfied where one speaker is taken for another, MEnAN only
where no speaker can be told.
"""

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils import compute_class_weight
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional as F

from ._sklearn import Interval, StrOptions
from .base import BaseSpeechClassifier
from .nn.encoders import UtteranceEncoder
from .nn.layers import Dropout, LogitLayer
from .nn.losses import CrossEntropy, LossTerm, linear_ramp, sigmoid_ramp
from .nn.net import SpeechNet

# MEnAN's step 1 for each step 2. ENC moves fast, and only an SC that follows closely
# has something to teach: it takes small steps on the embeddings of several batches.
SC_STEPS = 5
SC_MEMORY = 8  # the latest batches, whose v SC learns from
SC_BATCH_SIZE = 128  # embeddings in a step


class SpeakerAdversarial(nn.Module):
    """ENC and EC, and beside them SC, on which no prediction depends."""

    def __init__(self, n_classes, n_speakers, d=256, **encoder):
        super().__init__()
        self.n_speakers = n_speakers
        self.ENC = UtteranceEncoder(n_embedding=d, **encoder)
        self.EC = _head(d, LogitLayer(d, n_classes))
        if n_speakers:
            # The statistics are those of the batch at hand: ENC would learn nothing if
            # it could win by moving or shrinking all of v faster than SC follows.
            norm = nn.BatchNorm1d(d, affine=False, track_running_stats=False)
            self.SC = nn.Sequential(norm, *_head(d, nn.Linear(d, n_speakers)))

    def forward(self, x, lengths, with_speakers=False):
        v = self.ENC(x, lengths)
        outputs = {"logits": self.EC(v), "embedding": v}
        if with_speakers:
            outputs["speaker_logits"] = self.SC(v)
        return outputs


def _head(d, last):
    return nn.Sequential(nn.Linear(d, d), nn.PReLU(), Dropout(0.5), last)


@dataclass(frozen=True)
class SpeakerEntropy(LossTerm):
    """-H(q), the mean negative entropy of q = softmax(SC(v)): MEnAN's step 2."""

    name: ClassVar[str] = "adversary"

    def __call__(self, outputs, batch):
        if "speaker_logits" not in outputs:  # a validation batch asks no speaker
            return outputs["logits"].new_zeros(())
        log_q = outputs["speaker_logits"].log_softmax(1)
        return (log_q.exp() * log_q).sum(1).mean()


@dataclass(frozen=True)
class SpeakerCrossEntropy(LossTerm):
    """CE(SC(v), s), in which every speaker counts the same."""

    name: ClassVar[str] = "adversary"

    def __call__(self, outputs, batch):
        if "speaker_logits" not in outputs:
            return outputs["logits"].new_zeros(())
        losses = F.cross_entropy(
            outputs["speaker_logits"], batch["speaker"], reduction="none"
        )
        return (losses * batch["speaker_weight"]).mean()


class AdversarialNet(SpeechNet):
    """A net in which SC has an optimiser and a random generator of its own.

    Parameters
    ----------
    module, **kwargs
        As for :class:`SpeechNet`.
    adversary_lr : float
        Learning rate of SC.
    adversary_clip : float or None
        Largest norm of SC's gradient.
    """

    def __init__(self, module, *, adversary_lr=3e-3, adversary_clip=5.0, **kwargs):
        self.adversary_lr = adversary_lr
        self.adversary_clip = adversary_clip
        super().__init__(module, **kwargs)

    def initialize(self):
        """Seed SC's generator beside the one that ENC and EC draw from."""
        seed = np.random.SeedSequence(self.seed).spawn(3)[2]
        self.adversary_rng_ = np.random.default_rng(seed)
        self.speaker_losses_ = []
        return super().initialize()

    def random_layers(self):
        """Yield SC's layers with SC's generator."""
        own = set(self.module_.SC.modules())
        for layer, rng in super().random_layers():
            yield layer, self.adversary_rng_ if layer in own else rng

    def get_all_learnable_params(self):
        """Yield what the first optimiser trains and its callbacks clip: ENC and EC."""
        for name, parameter in super().get_all_learnable_params():
            if not name.startswith("SC."):
                yield name, parameter

    def initialize_optimizer(self):
        """Make one optimiser for ENC and EC and one for SC."""
        super().initialize_optimizer()
        self.adversary_optimizer_ = torch.optim.Adam(
            self.module_.SC.parameters(), lr=self.adversary_lr
        )
        return self

    def _step_optimizer(self, step_fn):
        self.optimizer_.step(step_fn)

    def _step_adversary(self, loss):
        """Step SC by the gradients at hand, and keep its loss for the history."""
        if self.adversary_clip is not None:
            nn.utils.clip_grad_norm_(self.module_.SC.parameters(), self.adversary_clip)
        self.adversary_optimizer_.step()
        self.speaker_losses_.append(loss.item())

    def run_single_epoch(self, iterator, training, **kwargs):
        """Record SC's loss beside the others."""
        super().run_single_epoch(iterator, training, **kwargs)
        if training:
            self.history.record("train_speaker", float(np.mean(self.speaker_losses_)))
            self.speaker_losses_.clear()


class MEnANNet(AdversarialNet):
    """Two alternating steps.

    Parameters
    ----------
    module, **kwargs
        As for :class:`AdversarialNet`.
    alternate : "batch" or "epoch"
        Whether the steps alternate with each batch or with each epoch.
    """

    def __init__(self, module, *, alternate="batch", **kwargs):
        self.alternate = alternate
        super().__init__(module, **kwargs)

    def initialize(self):
        """Keep the embeddings of the latest batches, or of an epoch, for step 1."""
        each_batch = self.alternate == "batch"
        self.latest_ = deque(maxlen=SC_MEMORY if each_batch else None)
        return super().initialize()

    def step_1(self):
        """Train SC to tell the speakers from v = ENC(x), which step 2 left here."""
        latest = {
            name: torch.cat([batch[name] for batch in self.latest_])
            for name in self.latest_[0]
        }
        self.module_.SC.train()
        for _ in range(SC_STEPS):
            rows = self.adversary_rng_.permutation(len(latest["v"]))[:SC_BATCH_SIZE]
            part = {name: values[rows] for name, values in latest.items()}
            self.adversary_optimizer_.zero_grad()
            outputs = {"speaker_logits": self.module_.SC(part["v"])}
            loss = SpeakerCrossEntropy()(outputs, part)
            loss.backward()
            self._step_adversary(loss)

    def step_2(self, batch, **fit_params):
        """Train EC, and ENC until SC, frozen but differentiable, cannot tell."""
        batch[0].companions["with_speakers"] = True
        with _frozen(self.module_.SC):
            step = super().train_step(batch, **fit_params)
        v = step["y_pred"]["embedding"].detach()
        self.latest_.append({"v": v, **batch[0].columns})
        return step

    def train_step(self, batch, **fit_params):
        """Take step 2 and, unless step 1 waits for the end of the epoch, step 1."""
        step = self.step_2(batch, **fit_params)
        last = len(self.history[-1]["batches"]) == self.iterator_.n_batches
        if self.alternate == "batch":
            self.step_1()
        elif last:
            for _ in range(self.iterator_.n_batches):
                self.step_1()
        return step

    def run_single_epoch(self, iterator, training, **kwargs):
        """Forget the embeddings of the epoch before."""
        if training:
            self.latest_.clear()
        super().run_single_epoch(iterator, training, **kwargs)

    def _set_training(self, training=True):
        super()._set_training(training)
        self.module_.SC.eval()


@contextmanager
def _frozen(module):
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


class DATNet(AdversarialNet):
    """One step, the gradient of SC's loss reversed on its way to ENC."""

    def train_step_single(self, batch, **fit_params):
        """Compute the gradients of ENC and EC, and those of SC beside them."""
        self._set_training(True)
        batch[0].companions["with_speakers"] = True
        outputs = self.infer(batch[0], **fit_params)
        loss = self.get_loss(outputs, batch[1], X=batch[0], training=True)
        # The total has SC's loss with the sign that ENC wants.
        self.speaker_loss_ = SpeakerCrossEntropy()(outputs, batch[0])
        own = list(self.module_.SC.parameters())
        gradients = torch.autograd.grad(self.speaker_loss_, own, retain_graph=True)
        loss.backward()
        for parameter, gradient in zip(own, gradients, strict=True):
            parameter.grad = gradient
        return {"loss": loss, "y_pred": outputs}

    def _step_optimizer(self, step_fn):
        super()._step_optimizer(step_fn)
        self._step_adversary(self.speaker_loss_)


class SpeakerAdversarialClassifier(BaseSpeechClassifier):
    """Speaker-invariant emotion classifier by adversarial training (MEnAN, DAT).

    A speaker classifier SC learns to tell the training speakers from the embedding v
    of an utterance, while the encoder learns to hide them from it [1]_: by maximising
    the entropy of what SC believes (MEnAN) or by reversing SC's gradient (DAT).
    Prediction needs no speaker, and new speakers are what it is for.

    Parameters
    ----------
    method : {"menan", "dat"} or None, default="menan"
        Maximum entropy adversarial network, domain adversarial training, or neither:
        the plain net.
    adversary_weight : float, default=0.2
        The paper's lambda, of the entropy or of the reversed loss; its own figure is
        0.5. Over the part p of the training done it rises as p for MEnAN, as
        2 / (1 + exp(-10 p)) - 1 for DAT, which wants a tenth of it.
    alternate : {"batch", "epoch"}, default="batch"
        Whether the steps of MEnAN alternate with each batch or with each epoch.
    adversary_lr : float, default=3e-3
        Learning rate of SC's Adam.
    {shared parameters}

    Attributes
    ----------
    {shared attributes}
    n_speakers_ : int
        Number of speakers that SC tells apart; 0 if it was not trained.

    See Also
    --------
    sklearn_ser.metrics.speaker_probe_score : What the embedding knows of the speaker.

    Notes
    -----
    SC's loss gives every speaker the same weight. It draws from a generator of its
    own, so that ``adversary_weight=0`` fits the encoder of ``method=None``, to the bit,
    while SC learns. The sizes of the network are a reconstruction; the encoder ends in
    the attention pooling that all methods here share. So are two parts of MEnAN: its
    step 1 is five small steps on the embeddings of the latest eight batches (or of the
    epoch), as step 2 computed them, and lambda grows from zero. With one step a batch
    SC falls behind the encoder, and with a full lambda from the start the encoder
    does not learn the emotions.

    References
    ----------
    .. [1] Li et al., "Speaker-invariant Affective Representation Learning via
       Adversarial Training", ICASSP 2020, arXiv:1911.01533.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_ser import LogMelTransformer, SpeakerAdversarialClassifier
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> corpus = make_emotional_speech(n_speakers=3, n_utterances=2, random_state=0)
    >>> model = make_pipeline(
    ...     LogMelTransformer(),
    ...     SpeakerAdversarialClassifier(max_epochs=2, random_state=0),
    ... )
    >>> model = model.fit(
    ...     corpus.data,
    ...     corpus.target,
    ...     speakeradversarialclassifier__speakers=corpus.speakers,
    ... )
    >>> model.predict_proba(corpus.data[:5]).shape
    (5, 4)
    """

    _parameter_constraints: ClassVar = {
        **BaseSpeechClassifier._parameter_constraints,
        "method": [StrOptions({"menan", "dat"}), None],
        "adversary_weight": [Interval(Real, 0, None, closed="left")],
        "alternate": [StrOptions({"batch", "epoch"})],
        "adversary_lr": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        method="menan",
        adversary_weight=0.2,
        alternate="batch",
        adversary_lr=3e-3,
        encoder="auto",
        max_epochs=40,
        lr=3e-3,
        batch_size=32,
        weight_decay=1e-2,
        schedule="one_cycle",
        gradient_clip_value=5.0,
        label_smoothing=0.1,
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
        self.method = method
        self.adversary_weight = adversary_weight
        self.alternate = alternate
        self.adversary_lr = adversary_lr
        self.label_smoothing = label_smoothing

    @property
    def n_speakers_(self):
        """Number of speakers that SC tells apart; 0 if it was not trained."""
        check_is_fitted(self, "net_")
        return self.net_.module_.n_speakers

    def _n_speakers(self, data):
        """Return the number of speakers to tell apart, 0 for a plain net."""
        if self.method is None or data.speakers is None:
            n_speakers = 0
        else:
            n_speakers = len(np.unique(data.speakers))
        if self._continues and n_speakers != self.n_speakers_:
            raise ValueError(
                f"speakers has {n_speakers} speakers, but warm_start=True continues a "
                f"fit on {self.n_speakers_}."
            )
        return n_speakers

    def _net_class(self, data):
        if not self._n_speakers(data):
            return SpeechNet
        options = {
            "adversary_lr": self.adversary_lr,
            "adversary_clip": self.gradient_clip_value,
        }
        if self.method == "menan":
            return partial(MEnANNet, alternate=self.alternate, **options)
        return partial(DATNet, **options)

    def _module(self, data):
        return SpeakerAdversarial, {
            "n_classes": len(data.classes),
            "n_speakers": self._n_speakers(data),
            **self._encoder_arguments(data),
        }

    def _terms(self, data):
        terms = [CrossEntropy(label_smoothing=self.label_smoothing)]
        if not self._n_speakers(data):
            return terms
        if self.method == "menan":
            adversary = SpeakerEntropy(self.adversary_weight, linear_ramp)
        else:
            adversary = SpeakerCrossEntropy(-self.adversary_weight, sigmoid_ramp)
        return [*terms, adversary]

    def _speaker_use(self):
        return "the adversary" if self.method and self.adversary_weight else None

    def _columns(self, data):
        if not self._n_speakers(data):
            return {}
        names, code = np.unique(data.speakers, return_inverse=True)
        weight = compute_class_weight("balanced", classes=names, y=data.speakers)
        return {"speaker": code, "speaker_weight": weight[code].astype(np.float32)}
