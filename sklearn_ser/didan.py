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

import warnings
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted
from skorch.callbacks import PassthroughScoring
from torch import nn
from torch.nn import functional as F

from .base import BaseSpeechClassifier
from .domains import (
    check_domain_numbers,
    check_mixed_labels,
    check_sample_domain,
)
from .nn.batching import SequenceDataset
from .nn.encoders import UtteranceEncoder
from .nn.layers import Dropout, LogitLayer, kept_statistics, scale_gradient
from .nn.losses import LossTerm
from .nn.net import SpeechNet, available_device
from .nn.sparse_coding import reconstruction_error, sparse_codes
from .sequences import (
    check_sequences,
    check_speakers,
    frame_statistics,
    is_missing,
    standardized,
)

# LIDAN's coarse labels, by the field's words.
_HIGH_AROUSAL = {"anger", "happiness", "excited", "fear", "surprise"}
_LOW_AROUSAL = {"neutral", "sadness", "boredom", "calm", "disgust"}
# Below these the term has nothing to say: no atom is used, or any sample is rebuilt.
_FEW, _CLOSE = 0.01, 0.001


class TargetMissingWarning(UserWarning):
    """A fit that aligns corpora was given no target."""


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
        if "guess" not in outputs:  # of a validation batch
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

    def fit(self, prior):
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

    def _both(self, x, lengths, target):
        if self.own_statistics:
            source = self.layers(x, lengths)
            with kept_statistics(self):  # prediction goes by the source's
                return source, self.layers(target.x, target.lengths)
        width = max(x.shape[-1], target.x.shape[-1])
        both = torch.cat([F.pad(s, (0, width - s.shape[-1])) for s in (x, target.x)])
        both = self.layers(both, torch.cat([lengths, target.lengths]))
        n = len(x)
        return {k: h[:n] for k, h in both.items()}, {k: h[n:] for k, h in both.items()}

    def forward(self, x, lengths, target=None, alignment_factor=1.0):
        if target is None:
            source = self.layers(x, lengths)
            return {"logits": self.f(source["FC3"]), "embedding": source["FC3"]}
        parts = self._both(x, lengths, target)
        logits, guess = (self.f(part["FC3"]) for part in parts)
        return {
            "logits": logits,
            "embedding": parts[0]["FC3"],
            "layers": {
                name: [scale_gradient(part[name], alignment_factor) for part in parts]
                for name in parts[0]
            },
            "guess": guess.argmax(1),
            "diagnostics": {},
        }


class DIDANNet(SpeechNet):
    """A net whose alignment gains weight with the training, and says how it does."""

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

    def train_step(self, batch, **fit_params):
        """Let the weight of the alignment rise linearly."""
        if "target" in batch[0].companions:
            batch[0].companions["alignment_factor"] = self.progress()
        return super().train_step(batch, **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Record what the alignments found beside their values."""
        loss = super().get_loss(y_pred, y_true, X, training=training)
        for name, value in y_pred.get("diagnostics", {}).items():
            self.history.record_batch(f"train_{name}", value)
        return loss


class TargetBatches:
    """Draws as many target utterances as a batch has source utterances.

    Of those that wait, a random few batches, it takes the ones about as long as the
    source's: what is padded to a common length costs time and teaches nothing.

    Parameters
    ----------
    dataset : SequenceDataset
        The target's, each drawn once before any is drawn again.
    """

    n_batches = 4

    def __init__(self, dataset):
        self.dataset = dataset
        self.waiting = []

    def __call__(self, source, rows, rng):
        n_frames = self.dataset.n_frames
        length, drawn = np.median(source.n_frames[rows]), []
        while len(drawn) < len(rows):
            if not self.waiting:
                self.waiting = rng.permutation(len(n_frames)).tolist()
            pool = self.waiting[: self.n_batches * len(rows)]
            pool.sort(key=lambda row: n_frames[row])
            n = min(len(rows) - len(drawn), len(pool))
            nearest = int(np.searchsorted(n_frames[pool], length)) - n // 2
            start = min(max(nearest, 0), len(pool) - n)
            drawn += pool[start : start + n]
            self.waiting[: len(pool)] = pool[:start] + pool[start + n :]
        return {"target": self.dataset.batch(drawn)}


class DIDANDomainAdapter(BaseSpeechClassifier):
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
        its own, which need no label, as does each domain's part of a batch inside the
        network. Prediction assumes the features of the target, unless `sample_domain`
        says otherwise.
    encoder : str or nn.Module class, default="conv"
        "conv", "conv_gru" and "conv_lstm" are compact enough for a laptop; "cnn6"
        wants a GPU. Or a class built with ``(n_features)`` whose
        ``forward(x, lengths)`` returns ``(z, lengths)``, z of shape
        (n_samples, n_channels, n_frames).
    max_epochs : int, default=20
        Passes over the source.
    lr : float, default=3e-3
        Learning rate of AdamW, the peak of the schedule.
    batch_size : int, default=32
        Utterances of the source in a batch; as many of the target join them.
    weight_decay : float, default=1e-2
        Decoupled weight decay.
    schedule : "one_cycle" or None, default="one_cycle"
        Course of the learning rate; None keeps it constant.
    class_weight : dict, "balanced" or None, default="balanced"
        Weights of the source's classes in the regression.
    speed_perturbation : float, default=0.1
        Training utterances change their tempo by a factor of up to 1 +- this.
    vocal_tract_perturbation : float, default=0.1
        The frequency axis of training utterances is stretched likewise.
    masking : float, default=0.15
        Up to this share of the bands, and of the frames, is masked in training.
    validation_fraction : float or None, default=None
        Share of the source's speakers that is set aside; the epoch with the best
        UAR on them is kept.
    callbacks : list of skorch callbacks, default=None
        Further callbacks of the net; each fit works on copies.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, else MPS, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seeds initialisation, shuffling, dropout and augmentation.
    warm_start : bool, default=False
        Whether a fit continues the one before.
    verbose : int, default=0
        Positive shows a progress bar.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The emotions of the source.
    domain_statistics_ : dict
        From a domain of the fit to mean and scale of its features, with
        ``normalize_domains=True``.
    default_statistics_ : tuple of two arrays of shape (n_features,)
        Those of the whole target, or of a source without one.
    n_features_in_ : int
        Number of features of a sequence.
    n_iter_ : int
        Number of epochs.
    net_ : SpeechNet
        The fitted skorch net; ``net_.module_`` has the parts encoder, FC1, FC2, FC3, f.
    history_ : skorch.history.History
        One record per epoch with every loss term and, of each alignment, the number of
        source utterances that one of the target is made of (``..._nonzeros``) and the
        share of it that they leave out (``..._residual``).

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

    __metadata_request__fit: ClassVar = {"speakers": True, "sample_domain": True}
    __metadata_request__predict: ClassVar = {
        "sample_domain": True,
        "allow_source": True,
    }
    __metadata_request__predict_proba: ClassVar = __metadata_request__predict
    __metadata_request__score: ClassVar = {
        "sample_domain": True,
        "allow_source": True,
        "sample_weight": True,
    }

    _net_class = DIDANNet

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
        encoder="conv",
        max_epochs=20,
        lr=3e-3,
        batch_size=32,
        weight_decay=1e-2,
        schedule="one_cycle",
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
        self.alignment = alignment
        self.alignment_weight = alignment_weight
        self.sparsity = sparsity
        self.normalize_domains = normalize_domains
        self.encoder = encoder
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.schedule = schedule
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

    def fit(self, X, y, *, sample_domain=None, speakers=None, sample_weight=None):
        """Fit the classifier to the source, and align it with the target.

        Parameters
        ----------
        X : list or object array of (n_features, n_frames) arrays, or array of \
                shape (n_samples, n_features, n_frames) or (n_samples, n_features)
            Sequences of source and target, such as log-mel spectrograms.
        y : array-like of shape (n_samples,)
            Emotions of the source; what stands at the target's rows is not read.
        sample_domain : array-like of shape (n_samples,), default=None
            The domain of each sample, an integer: the source's are 0 or positive, the
            target's negative. By default those with a y of -1 are the target.
        speakers : array-like of shape (n_samples,), default=None
            Who speaks, for ``validation_fraction``.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source's samples in the regression.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the input is not as described, or `sample_domain` lacks source or target.
        """
        self._validate_params()
        warm = self.warm_start and hasattr(self, "net_")
        sequences = check_sequences(X, estimator=self, reset=not warm)
        n = len(sequences)
        y = check_mixed_labels(y, n, estimator=self)
        domain = check_sample_domain(sample_domain, y)
        speakers = check_speakers(speakers, n)
        weight = _check_sample_weight(sample_weight, np.empty((n, 1)), dtype=np.float64)
        source, target = np.flatnonzero(domain >= 0), np.flatnonzero(domain < 0)
        for i in source if y.dtype.kind == "O" else ():
            if is_missing(y[i]):
                raise ValueError(f"y[{i}] is {y[i]}, expected a label of the source.")
        if not len(target) and self._aligns:
            warnings.warn(
                f"{type(self).__name__} aligns with a target and got none: pass "
                "sample_domain, negative at the rows of the target, or set "
                "alignment=None. The fit is on the source alone.",
                TargetMissingWarning,
                stacklevel=2,
            )
        if self.normalize_domains:
            parts = {int(d): np.flatnonzero(domain == d) for d in np.unique(domain)}
            self.domain_statistics_ = {
                name: frame_statistics([sequences[i] for i in part])
                for name, part in parts.items()
            }
            default = target if len(target) else source
            self.default_statistics_ = frame_statistics([sequences[i] for i in default])
        sequences = self._normalize(sequences, domain)
        self._target = [sequences[i] for i in target]
        try:
            self._fit(
                [sequences[i] for i in source],
                np.array(y[source].tolist()),
                speakers=None if speakers is None else speakers[source],
                sample_weight=weight[source],
            )
        finally:
            del self._target
        self._warn_of_idle_terms()
        return self

    @property
    def _aligns(self):
        return self.alignment is not None and self.alignment_weight > 0

    def _module(self):
        return DIDAN, {
            "n_classes": len(self.classes_),
            "own_statistics": self.normalize_domains,
            **self._encoder_arguments(),
        }

    def _terms(self):
        if not (self._aligns and self._target):
            return [Regression()]
        if self.alignment == "didan":
            terms = [("alignment", "FC3", None)]
        else:
            words = [str(c).strip().lower() for c in self.classes_]
            arousal = [(w in _HIGH_AROUSAL) + 2 * (w in _LOW_AROUSAL) for w in words]
            terms = [
                ("alignment_all", "FC1", None),
                ("alignment_arousal", "FC2", tuple(arousal)),
                ("alignment_emotion", "FC3", tuple(range(len(words)))),
            ]
        return [Regression()] + [
            ImplicitAlignment(
                self.alignment_weight,
                name=name,
                layer=layer,
                sparsity=self.sparsity,
                groups=groups,
            )
            for name, layer, groups in terms
        ]

    def _companions(self, y, speakers):
        if not (self._aligns and self._target):
            return None
        device = available_device(self.device)
        return TargetBatches(SequenceDataset(self._target, device=device))

    def _warn_of_idle_terms(self):
        last = self.history_[-1]
        for term in self.net_.terms:
            if not isinstance(term, ImplicitAlignment):
                continue
            for what, bound, why in (
                ("nonzeros", _FEW, "no source utterance is used: lower sparsity"),
                ("residual", _CLOSE, "anything can be rebuilt: raise sparsity"),
            ):
                value = last[f"train_{term.name}_{what}"]
                if value < bound:
                    warnings.warn(
                        f"The term {term.name} did nothing, its {what} in the last "
                        f"epoch being {value:.2g}: {why}.",
                        stacklevel=3,
                    )

    def _normalize(self, sequences, domain):
        if not self.normalize_domains:
            return sequences
        default = self.default_statistics_
        return [
            standardized(x, *self.domain_statistics_.get(int(d), default))
            for x, d in zip(sequences, domain, strict=True)
        ]

    def _outputs(self, X, key, sample_domain=None):
        check_is_fitted(self, "net_")
        sequences = check_sequences(X, estimator=self, reset=False)
        n = len(sequences)
        if sample_domain is None:
            # In no fit, so that the default statistics serve.
            domain = np.full(n, np.iinfo(np.int64).min)
        else:
            domain = check_domain_numbers(sample_domain, n)
        return self.net_.outputs(self._normalize(sequences, domain), key)

    def _decide(self, logits):
        return _nearest_distribution(logits.astype(np.float64))

    def predict_proba(self, X, sample_domain=None, allow_source=False):
        """Return the probability of each class.

        Parameters
        ----------
        X : sequences
            As in ``fit``.
        sample_domain : array-like of shape (n_samples,), default=None
            By whose statistics a sample is normalised, where it is a domain of the
            fit. By default all belong to the target.
        allow_source : bool, default=False
            Accepted for skada; source samples are always welcome.

        Returns
        -------
        array of shape (n_samples, n_classes), float64
            In the order of ``classes_``: the distribution nearest to what the network
            regresses.
        """
        return self._decide(self._outputs(X, "logits", sample_domain))

    def predict(self, X, sample_domain=None, allow_source=False):
        """Return the most probable class of each sample.

        Parameters
        ----------
        X, sample_domain, allow_source
            As in ``predict_proba``.

        Returns
        -------
        array of shape (n_samples,)
        """
        probabilities = self.predict_proba(X, sample_domain, allow_source)
        return self.classes_[probabilities.argmax(axis=1)]

    def score(
        self, X, y, sample_weight=None, *, sample_domain=None, allow_source=False
    ):
        """Return the accuracy.

        Parameters
        ----------
        X, sample_domain, allow_source
            As in ``predict_proba``.
        y : array-like of shape (n_samples,)
            Emotions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
        """
        predicted = self.predict(X, sample_domain, allow_source)
        return accuracy_score(y, predicted, sample_weight=sample_weight)

    def embed(self, X, *, sample_domain=None):
        """Return the last hidden layer, which is aligned.

        Parameters
        ----------
        X, sample_domain
            As in ``predict_proba``.

        Returns
        -------
        array of shape (n_samples, 64), float32
        """
        return self._outputs(X, "embedding", sample_domain)


def _nearest_distribution(f, floor=1e-6):
    """Project each row onto the distributions, and a little towards the uniform one."""
    k = f.shape[1]
    ranked = -np.sort(-f, axis=1)
    shift = (np.cumsum(ranked, axis=1) - 1) / np.arange(1, k + 1)
    last = (ranked > shift).sum(axis=1) - 1
    p = np.clip(f - np.take_along_axis(shift, last[:, None], axis=1), 0, None)
    p = p / p.sum(axis=1, keepdims=True)
    return (1 - floor) * p + floor / k
