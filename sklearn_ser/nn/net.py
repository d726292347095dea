"""The skorch net behind every estimator."""

import copy
from contextlib import nullcontext

import numpy as np
import skorch
import torch
from skorch.callbacks import PassthroughScoring

from .._vectors import Vectors
from .augment import ClassNoise
from .batching import BatchIterator, SequenceDataset, summary
from .devices import existing_device, threads_for
from .faults import (
    OutOfMemoryError,
    check_last_step,
    diverged,
    in_batches_that_fit,
    interrupts_noticed,
)
from .layers import LogitLayer
from .losses import TermSum
from .normalization import Standardize, keep_statistics, set_statistics
from .randomness import draws_globally, seeded
from .settings import own_settings

_SETTINGS = ("seed", "batch_size", "max_epochs", "lr", "keep_optimizer", "summarize")


class _StopTraining(Exception):
    """A callback asked for the training to end."""


class SpeechNet(skorch.NeuralNet):
    """A skorch net whose outputs are dicts, whose loss is a sum of terms.

    The module's ``forward(x, lengths, **companions)`` returns a dict with at least
    ``"logits"``; the criterion is a :class:`TermSum`.

    Parameters
    ----------
    module : nn.Module class
    terms : list of LossTerm
    seed : int, default=0
        Initialisation, shuffling, dropout and augmentation follow from it.
    keep_optimizer : bool, default=False
        Whether copies and pickles carry the optimiser's state.
    summarize : bool, default=False
        Whether the module gets, for each sequence, one frame with the mean and the
        deviation of each feature over the frames.
    **kwargs
        As for :class:`skorch.net.NeuralNet`.
    """

    def __init__(
        self,
        module,
        *,
        terms,
        seed=0,
        keep_optimizer=False,
        summarize=False,
        **kwargs,
    ):
        self.terms = terms
        self.seed = seed
        self.keep_optimizer = keep_optimizer
        self.summarize = summarize
        kwargs.setdefault("criterion", TermSum)
        kwargs.setdefault("train_split", None)
        super().__init__(module, **kwargs)

    @property
    def _default_callbacks(self):
        terms = [term for term in self.terms if term.weight]
        names = ["train_loss"] + [f"train_{term.name}" for term in terms]
        names += [f"train_{t.name}_{what}" for t in terms for what in t.diagnostics]
        return [(name, PassthroughScoring(name, on_train=True)) for name in names]

    def initialize_optimizer(self, triggered_directly=None):
        """Make the optimiser, with torch's compiler, unless the net only predicts."""
        return self if self.optimizer is None else super().initialize_optimizer()

    def initialize_criterion(self):
        """Sum the terms given to ``__init__``."""
        self.criterion_ = self.criterion(self.terms)
        return self

    def initialize(self):
        """Initialise from the seed alone; the global generators have no influence."""
        seeds = np.random.SeedSequence(self.seed).spawn(2)
        with seeded(int(seeds[0].generate_state(1)[0])):
            super().initialize()
        self.rng_ = np.random.default_rng(seeds[1])
        keep_statistics(self.module_)
        self.stale_ = False  # whether weights have moved since the last statistics
        return self

    def start_from(self, statistics, prior):
        """Set the mean and scale of the features, and the class prior."""
        for layer in self.module_.modules():
            if isinstance(layer, Standardize):
                layer.set_statistics(*statistics)
            elif isinstance(layer, LogitLayer):
                layer.set_prior(prior)

    def set_residuals(self, residuals):
        """Set the differences of vectors within classes, from which noise is made."""
        for layer in self.module_.modules():
            if isinstance(layer, ClassNoise):
                layer.set_residuals(torch.as_tensor(residuals).to(self.device))

    def continue_from(self, net):
        """Copy the weights that last, and the optimiser's state if it was kept."""
        own, lasting = self.module_.state_dict(), self.lasting_weights()
        passing = {name: own[name] for name in own.keys() - lasting.keys()}
        self.module_.load_state_dict(passing | net.lasting_weights())
        if net.keep_optimizer:
            # The steps of this net must not change the tensors of the other.
            state = copy.deepcopy(net.optimizer_.state_dict()["state"])
            self._load_optimizer(state)

    def lasting_weights(self):
        """Return the weights that a continued fit starts from."""
        return self.module_.state_dict()

    def _load_optimizer(self, state):
        groups = self.optimizer_.state_dict()["param_groups"]
        self.optimizer_.load_state_dict({"state": state, "param_groups": groups})

    def _optimizer_state(self):
        """Return the state of each parameter; one that had no gradient has none."""
        saved = self.optimizer_.state_dict()
        numbers = [i for group in saved["param_groups"] for i in group["params"]]
        return [
            {name: to_numpy(value) for name, value in saved["state"].get(i, {}).items()}
            for i in numbers
        ]

    def __getstate__(self):
        """Return the module's class, arrays and plain values, and nothing else."""
        state = {
            "module": self.module,
            "arguments": self.get_params_for("module"),
            "settings": {name: getattr(self, name) for name in _SETTINGS},
            "device": str(self.device),
            "history": list(self.history),
            "weights": {k: to_numpy(v) for k, v in self.module_.state_dict().items()},
        }
        if self.keep_optimizer:
            state["optimizers"] = {"optimizer": self._optimizer_state()}
        return state

    @own_settings()
    def __setstate__(self, state):
        """Rebuild the net, on a device that this machine has."""
        arguments = {f"module__{k}": v for k, v in state["arguments"].items()}
        settings = state["settings"]
        self.__init__(
            state["module"],
            terms=[],
            device=existing_device(state["device"]),
            verbose=0,
            optimizer=torch.optim.AdamW if settings["keep_optimizer"] else None,
            **arguments,
            **settings,
        )
        self.initialize()
        self.history = skorch.history.History(state["history"])
        if any(v.dtype == np.float64 for v in state["weights"].values()):
            self.sharpen()
        self.module_.load_state_dict(
            {k: torch.as_tensor(v) for k, v in state["weights"].items()}
        )
        if self.keep_optimizer:
            saved = state["optimizers"]["optimizer"]
            values = {
                i: {k: torch.as_tensor(v) for k, v in own.items()}
                for i, own in enumerate(saved)
                if own
            }
            # Earlier releases left out the parameters without a state, so that nobody
            # knows whose the others are. Then the optimiser starts anew.
            if len(saved) == len(self._optimizer_state()):
                self._load_optimizer(values)

    def random_layers(self):
        """Yield each random layer, with the NumPy generator that seeds it."""
        for layer in self.module_.modules():
            if hasattr(layer, "generator"):
                yield layer, self.rng_

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train, while the module's random layers use their own generators."""
        layers = []
        for layer, rng in self.random_layers():
            layer.generator = torch.Generator(self.device)
            layer.generator.manual_seed(int(rng.integers(2**63)))
            layers.append(layer)
        guard = nullcontext()
        if any(draws_globally(m) for m in self.module_.modules()):
            guard = seeded(int(self.rng_.integers(2**63)), self.device)
        try:
            with guard, threads_for(self.module_):
                return super().fit_loop(X, y, epochs, **fit_params)
        finally:
            for layer in layers:
                layer.generator = None

    def match_statistics(self):
        """Set the statistics of batch normalisation to those of the present weights.

        They are those of the whole training set. Predictions and validation need them;
        training steps use the statistics of their batch.
        """
        if self.stale_:
            self.stale_ = False
            self.set_statistics(self.module_, self.normalized_by_)

    def sharpen(self):
        """Let prediction compute what follows the frames of the encoder in float64.

        Recordings differ little in their embedding before the training has gone far.
        Batch normalisation then magnifies the rounding errors of float32, which depend
        on the other recordings of a batch. The network's class says that it can do so.
        """
        on_device = torch.device(self.device).type != "mps"  # which has no float64
        if on_device and getattr(self.module_, "sharpens", False):
            for part in self.module_.children():
                getattr(part, "pool", part).double()

    def set_statistics(self, module, datasets):
        """Set the statistics of a module to those of all recordings of some datasets.

        Parameters
        ----------
        module : nn.Module
        datasets : list of SequenceDataset
        """

        def in_batches(compute):
            for dataset in datasets:
                for _, found in self.in_batches(dataset, module, compute):
                    yield found

        with threads_for(module):
            set_statistics(module, in_batches)

    def in_batches(self, dataset, module, compute):
        """Compute something for all recordings of a dataset, without gradients.

        Parameters
        ----------
        dataset : SequenceDataset
        module : nn.Module
            It is put into evaluation mode.
        compute : callable
            It takes the padded ``x`` and the lengths of a batch.

        Yields
        ------
        rows : int array
        values : object
        """
        # BLAS may round a row differently in a batch of another size. Batches of few
        # vectors are filled up to one size, so that their outputs never vary.
        least = self.batch_size if dataset.n_frames.max() == 1 else 0

        def compute_rows(rows):
            batch = dataset.batch(np.resize(rows, max(len(rows), least)))
            if module.training:  # to walk through the layers takes a tenth of a clip
                module.eval()
            with torch.inference_mode():
                return compute(batch.x, batch.lengths)

        return in_batches_that_fit(self.get_iterator(dataset), compute_rows)

    def train_step(self, batch, **fit_params):
        """Take a step, after which the statistics are not those of the weights."""
        self.stale_ = True
        return super().train_step(batch, **fit_params)

    def validation_step(self, batch, **fit_params):
        """Validate a batch under the statistics of the present weights."""
        self.match_statistics()
        return super().validation_step(batch, **fit_params)

    def evaluation_step(self, batch, training=False):
        """Apply the module to a batch under the statistics of the present weights."""
        if not training:
            self.match_statistics()
        return super().evaluation_step(batch, training)

    def run_single_epoch(self, iterator, training, **kwargs):
        """Keep the iterator, whose number of batches ``progress`` needs."""
        if training:
            self.iterator_ = iterator
        super().run_single_epoch(iterator, training, **kwargs)

    def progress(self):
        """Return the finished share of the training, in [0, 1)."""
        epoch = self.history[-1]
        done = (len(epoch["batches"]) - 1) / self.iterator_.n_batches
        # Batches of the validation part follow those of the training; they add nothing.
        return (epoch["epoch"] - 1 + min(done, 1)) / self.max_epochs

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """Train on. If the user interrupts, raise an error and do not end quietly."""
        if not self.initialized_:
            self.initialize()
        self.normalized_by_ = self.normalized_by(X)
        self.notify("on_train_begin", X=X, y=y)
        try:
            with interrupts_noticed() as self.interrupted_:
                self.fit_loop(X, y)
        except _StopTraining:
            pass
        except BaseException as error:
            if isinstance(error, OutOfMemoryError):
                error.add_note(f"Lower batch_size (now {self.batch_size}).")
            for _, callback in self.callbacks_:
                if hasattr(callback, "on_train_interrupted"):
                    callback.on_train_interrupted()
            raise
        self.notify("on_train_end", X=X, y=y)
        if not X.vectors:
            self.sharpen()
        self.stale_ = True  # a callback may have returned to earlier weights
        self.match_statistics()
        check_last_step(self, X)
        return self

    def normalized_by(self, dataset):
        """Return the datasets whose statistics validation and prediction use."""
        return [dataset]

    def notify(self, method_name, **cb_kwargs):
        """Call the callbacks. Those of skorch raise KeyboardInterrupt to stop."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt:
            if method_name == "on_epoch_end" and not self.interrupted_.is_set():
                raise _StopTraining from None
            raise

    def check_data(self, X, y=None):
        """Do nothing, because the estimator has checked the data."""

    def get_dataset(self, X, y=None):
        """Take a SequenceDataset as it is."""
        return X

    def get_iterator(self, dataset, training=False):
        """Cut length-bucketed batches, shuffled in training."""
        rng = self.rng_ if training else None
        return BatchIterator(dataset, self.batch_size, rng)

    def _set_training(self, training=True):
        """Walk through the layers only if their mode changes."""
        if self.module_.training != training:
            super()._set_training(training)

    def infer(self, x, **fit_params):
        """Apply the module to a Batch."""
        return self.module_(x.x, x.lengths, **x.companions)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Sum the terms; record each one of a training batch, and its diagnostics."""
        total, values = self.criterion_(y_pred, X, self.progress())
        if training:
            for name, value in values.items():
                self._record(name, value.item(), X)
            for name, value in y_pred.get("diagnostics", {}).items():
                self.history.record_batch(f"train_{name}", value)
        return total

    def _record(self, name, value, batch):
        """Record a term's value of a batch, which must be finite."""
        if not np.isfinite(value):
            raise diverged(self, name, value, batch)
        self.history.record_batch(f"train_{name}", value)

    @own_settings()
    def outputs(self, sequences, key, module=None):
        """Return one output of the module for each sequence, in their order.

        Parameters
        ----------
        sequences : list of arrays of shape (n_features, n_frames)
        key : str
            Name of the output.
        module : nn.Module, default=None
            By default the net's own.

        Returns
        -------
        array of shape (n_samples, n_outputs)
        """
        self.match_statistics()
        module = self.module_ if module is None else module
        if self.summarize and not isinstance(sequences, Vectors):
            sequences = Vectors(np.hstack([summary(x) for x in sequences]).T)
        dataset = SequenceDataset(sequences, device=self.device)
        out = None

        def compute(x, lengths):
            return module(x, lengths)[key].cpu().numpy()

        with threads_for(module):
            for rows, values in self.in_batches(dataset, module, compute):
                if out is None:
                    out = np.empty((len(dataset), values.shape[1]), values.dtype)
                out[rows] = values[: len(rows)]
        return out


def to_numpy(tensor):
    """Copy a tensor to an array."""
    return tensor.detach().cpu().numpy().copy()
