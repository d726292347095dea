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
from math import exp
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn
from torch.nn import functional as F

from .base import BaseSpeechClassifier
from .nn.callbacks import GRADIENT_NORM
from .nn.encoders import UtteranceEncoder
from .nn.layers import Dropout, LogitLayer, scale_gradient
from .nn.losses import CrossEntropy, LossTerm
from .nn.net import SpeechNet


class SpeakerAdversarial(nn.Module):
    """ENC and EC, and beside them SC, on which no prediction depends."""

    def __init__(self, n_classes, n_speakers, d=256, **encoder):
        super().__init__()
        self.ENC = UtteranceEncoder(n_embedding=d, **encoder)
        self.EC = _head(d, LogitLayer(d, n_classes))
        if n_speakers:
            # Of the batch at hand: what ENC could gain by moving or shrinking all of v,
            # faster than SC follows, would teach it nothing.
            norm = nn.BatchNorm1d(d, affine=False, track_running_stats=False)
            self.SC = nn.Sequential(norm, *_head(d, nn.Linear(d, n_speakers)))

    def forward(self, x, lengths, gradient_factor=None):
        v = self.ENC(x, lengths)
        outputs = {"logits": self.EC(v), "embedding": v}
        if gradient_factor is not None:
            outputs["speaker_logits"] = self.SC(scale_gradient(v, gradient_factor))
        return outputs


def _head(d, last):
    return nn.Sequential(nn.Linear(d, d), nn.PReLU(), Dropout(0.5), last)


@dataclass(frozen=True)
class SpeakerEntropy(LossTerm):
    """-H(q), the mean negative entropy of q = softmax(SC(v)): MEnAN's step 2."""

    name: ClassVar[str] = "adversary"

    def __call__(self, outputs, batch):
        if "speaker_logits" not in outputs:  # of a validation batch
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
    """

    def __init__(self, module, *, adversary_lr=3e-3, **kwargs):
        self.adversary_lr = adversary_lr
        super().__init__(module, **kwargs)

    def initialize(self):
        """Seed SC's generator beside the one that ENC and EC draw from."""
        seed = np.random.SeedSequence(self.seed).spawn(3)[2]
        self.adversary_rng_ = np.random.default_rng(seed)
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

    def _step_adversary(self):
        nn.utils.clip_grad_norm_(self.module_.SC.parameters(), GRADIENT_NORM)
        self.adversary_optimizer_.step()


# Of step 1. ENC moves fast: only an SC that follows closely has something to teach.
_STEPS = 5
_BATCHES = 8  # the latest, whose v SC learns from
_SIZE = 128  # of its own batches


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

    def step_1(self):
        """Train SC to tell the speakers from v = ENC(x), which step 2 left here."""
        latest = {
            name: torch.cat([batch[name] for batch in self.latest_])
            for name in self.latest_[0]
        }
        self.module_.SC.train()
        for _ in range(_STEPS):
            rows = self.adversary_rng_.permutation(len(latest["v"]))[:_SIZE]
            part = {name: values[rows] for name, values in latest.items()}
            self.adversary_optimizer_.zero_grad()
            outputs = {"speaker_logits": self.module_.SC(part["v"])}
            loss = SpeakerCrossEntropy()(outputs, part)
            loss.backward()
            self._step_adversary()
        self.speaker_losses_.append(loss.item())

    def step_2(self, batch, **fit_params):
        """Train EC, and ENC until SC, frozen but differentiable, cannot tell."""
        batch[0].companions["gradient_factor"] = self.progress()
        with _frozen(self.module_.SC):
            step = super().train_step(batch, **fit_params)
        v = step["y_pred"]["embedding"].detach()
        self.latest_.append({"v": v, **batch[0].columns})
        return step

    def train_step(self, batch, **fit_params):
        """Take step 2 and, unless the epoch will end with it, step 1."""
        step = self.step_2(batch, **fit_params)
        if self.alternate == "batch":
            self.step_1()
        return step

    def run_single_epoch(self, iterator, training, **kwargs):
        """Record SC's loss beside the others."""
        each = self.alternate == "batch"
        if training:
            self.latest_ = deque(maxlen=_BATCHES if each else len(iterator))
            self.speaker_losses_ = []
        super().run_single_epoch(iterator, training, **kwargs)
        if not training:
            return
        if not each:
            for _ in range(self.n_batches_):
                self.step_1()
        self.history.record("train_speaker", float(np.mean(self.speaker_losses_)))

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
    """One step, the gradient of SC's loss reversed on its way to ENC.

    Parameters
    ----------
    module, **kwargs
        As for :class:`AdversarialNet`.
    adversary_weight : float
        What lambda rises to.
    """

    def __init__(self, module, *, adversary_weight=0.5, **kwargs):
        self.adversary_weight = adversary_weight
        super().__init__(module, **kwargs)

    def train_step(self, batch, **fit_params):
        """Train ENC, EC and SC at once."""
        ramp = 2 / (1 + exp(-10 * self.progress())) - 1
        batch[0].companions["gradient_factor"] = -self.adversary_weight * ramp
        return super().train_step(batch, **fit_params)

    def _step_optimizer(self, step_fn):
        super()._step_optimizer(step_fn)
        self._step_adversary()


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
    adversary_weight : float, default=0.5
        The paper's lambda, of the entropy or of the reversed gradient. Over the part p
        of the training done it rises as p for MEnAN, as 2 / (1 + exp(-10 p)) - 1 for
        DAT.
    alternate : {"batch", "epoch"}, default="batch"
        Whether the steps of MEnAN alternate with each batch or with each epoch.
    adversary_lr : float, default=3e-3
        Learning rate of SC's Adam.
    encoder : str or nn.Module class, default="conv_gru"
        "conv", "conv_gru" and "conv_lstm" are compact enough for a laptop; "cnn6"
        wants a GPU. Or a class built with ``(n_features)`` whose
        ``forward(x, lengths)`` returns ``(z, lengths)``, z of shape
        (n_samples, n_channels, n_frames).
    max_epochs : int, default=40
        Passes over the training data.
    lr : float, default=3e-3
        Learning rate of AdamW, the peak of the schedule, for encoder and emotions.
    batch_size : int, default=32
        Utterances in a batch.
    weight_decay : float, default=1e-2
        Decoupled weight decay.
    schedule : "one_cycle" or None, default="one_cycle"
        Course of the learning rate; None keeps it constant.
    label_smoothing : float, default=0.1
        In [0, 1), of the cross-entropy.
    class_weight : dict, "balanced" or None, default="balanced"
        Weights of the classes in the cross-entropy.
    speed_perturbation : float, default=0.1
        Training utterances change their tempo by a factor of up to 1 +- this.
    vocal_tract_perturbation : float, default=0.1
        The frequency axis of training utterances is stretched likewise.
    masking : float, default=0.15
        Up to this share of the bands, and of the frames, is masked in training.
    validation_fraction : float or None, default=None
        Share of the training speakers that is set aside; the epoch with the best
        UAR on them is kept.
    callbacks : list of skorch callbacks, default=None
        Further callbacks of the net; each fit works on copies.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, else MPS, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seeds initialisation, shuffling, dropout and augmentation.
    warm_start : bool, default=False
        Whether a fit continues the one before, on as many speakers.
    verbose : int, default=0
        Positive shows a progress bar.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The emotions.
    n_speakers_ : int
        Number of speakers that SC tells apart; 0 if it was not trained.
    n_features_in_ : int
        Number of features of a sequence.
    n_iter_ : int
        Number of epochs.
    net_ : SpeechNet
        The fitted skorch net; ``net_.module_`` has the parts ENC, EC and SC.
    history_ : skorch.history.History
        One record per epoch with every loss term, ``train_speaker`` for SC's own.

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
        adversary_weight=0.5,
        alternate="batch",
        adversary_lr=3e-3,
        encoder="conv_gru",
        max_epochs=40,
        lr=3e-3,
        batch_size=32,
        weight_decay=1e-2,
        schedule="one_cycle",
        label_smoothing=0.1,
        class_weight="balanced",
        speed_perturbation=0.1,
        vocal_tract_perturbation=0.1,
        masking=0.15,
        validation_fraction=None,
        callbacks=None,
        device="auto",
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        self.method = method
        self.adversary_weight = adversary_weight
        self.alternate = alternate
        self.adversary_lr = adversary_lr
        self.encoder = encoder
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.speed_perturbation = speed_perturbation
        self.vocal_tract_perturbation = vocal_tract_perturbation
        self.masking = masking
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    @property
    def _net_class(self):
        if not self.n_speakers_:
            return SpeechNet
        if self.method == "menan":
            net, own = MEnANNet, {"alternate": self.alternate}
        else:
            net, own = DATNet, {"adversary_weight": self.adversary_weight}
        return partial(net, adversary_lr=self.adversary_lr, **own)

    def _module(self):
        return SpeakerAdversarial, {
            "n_classes": len(self.classes_),
            "n_speakers": self.n_speakers_,
            **self._encoder_arguments(),
        }

    def _terms(self):
        terms = [CrossEntropy(label_smoothing=self.label_smoothing)]
        if self.n_speakers_:
            menan = self.method == "menan"  # DAT's weight is on the gradient
            own = SpeakerEntropy(self.adversary_weight)
            terms.append(own if menan else SpeakerCrossEntropy())
        return terms

    def _speaker_use(self):
        return "the adversary" if self.method and self.adversary_weight else None

    def _columns(self, y, speakers):
        n_speakers, columns = 0, {}
        if self.method is not None and speakers is not None:
            names, code = np.unique(speakers, return_inverse=True)
            weight = compute_class_weight("balanced", classes=names, y=speakers)
            columns["speaker"] = code
            columns["speaker_weight"] = weight[code].astype(np.float32)
            n_speakers = len(names)
        if hasattr(self, "net_") and n_speakers != self.n_speakers_:
            raise ValueError(
                f"speakers has {n_speakers} speakers, but warm_start=True continues a "
                f"fit on {self.n_speakers_}."
            )
        self.n_speakers_ = n_speakers
        return columns
