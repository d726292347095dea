"""The skorch net behind every estimator."""

from contextlib import closing, nullcontext

import numpy as np
import skorch
import torch
from skorch.callbacks import Callback, PassthroughScoring
from skorch.utils import to_device

from ..exceptions import TrainingDivergedError
from .batching import (
    BatchIterator,
    OutOfMemoryError,
    SequenceDataset,
    in_batches_that_fit,
)
from .callbacks import (
    TOO_LARGE,
    check_last_step,
    check_outputs,
    diverged,
    interrupts_noticed,
    largest_weight,
)
from .encoders import pooled
from .layers import ClassNoise, LogitLayer, Standardize
from .losses import CrossEntropy, TermSum
from .normalization import keep_statistics, set_statistics
from .process import (
    Draws,
    NothingDrawn,
    existing_device,
    is_own,
    own_settings,
    threads_for,
)

# Batches of up to this many recordings, if their frames fit, for the statistics.
_FEW = 64
# Smaller batches of vectors are filled up to this size, or to the net's batch size.
_FILLED = 128
# By the size of a number: the integers in which NumPy can hold its bits.
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}

_SETTINGS = ("seed", "batch_size", "max_epochs", "lr", "temperature")


class _StopTraining(Exception):
    """A callback asked for the training to end, and the epoch is over."""


class SpeechNet(skorch.NeuralNet):
    """A skorch net whose outputs are dicts, whose loss is a sum of terms.

    The module's ``forward(x, lengths, **companions)`` returns a dict with at least
    ``"logits"``. All that is random follows from `seed`. The `library_callbacks` come
    before the user's. Callbacks get the logits as ``y_pred``, and ``predict`` returns
    positions among the classes. Logits are divided by the `temperature`, if there is
    one, before they become probabilities.
    """

    def __init__(
        self,
        module,
        *,
        terms,
        seed=0,
        library_callbacks=(),
        temperature=None,
        **kwargs,
    ):
        self.terms = terms
        self.seed = seed
        self.library_callbacks = library_callbacks
        self.temperature = temperature
        kwargs.setdefault("criterion", TermSum)
        kwargs.setdefault("train_split", None)
        super().__init__(module, **kwargs)

    @property
    def _default_callbacks(self):
        terms = [term for term in self.terms if term.weight]
        names = ["train_loss"] + [f"train_{term.name}" for term in terms]
        names += [f"train_{t.name}_{what}" for t in terms for what in t.diagnostics]
        losses = [(name, PassthroughScoring(name, on_train=True)) for name in names]
        valid = [("valid_loss", PassthroughScoring("valid_loss"))]
        return [*losses, *valid, *self.library_callbacks]

    @property
    def only_predicts(self):
        """Whether this net was loaded or copied, and has no optimiser."""
        return self.optimizer is None

    @property
    def encoder(self):
        """The encoder of the module, a name or a class."""
        return self.get_params_for("module").get("encoder")

    def initialize_optimizer(self, triggered_directly=None):
        """Make the optimiser, unless this net only predicts.

        The first optimiser of a process takes seconds: torch imports its compiler.
        """
        if self.only_predicts:
            return self
        if any(p.is_complex() for p in self.module_.parameters()):
            self.set_params(optimizer__fused=False)  # which takes real numbers only
        return super().initialize_optimizer()

    def initialize_criterion(self):
        """Sum the terms given to ``__init__``."""
        self.criterion_ = self.criterion(self.terms)
        return self

    def initialize(self):
        """Initialise from the seed alone; the global generators have no influence."""
        seeds = np.random.SeedSequence(self.seed).spawn(4)
        self.rng_ = np.random.default_rng(seeds[1])
        made_of = self.module, *self.get_params_for("module").values()
        ours = all(is_own(part) for part in made_of if callable(part))
        loads = self.only_predicts and ours
        with NothingDrawn() if loads else Draws(int(seeds[0].generate_state(1)[0])):
            super().initialize()
        # The third seed is the adversary's, where there is one.
        self.draws_ = Draws(int(seeds[3].generate_state(1)[0]), self.device)
        parts = [*map(type, self.module_.modules()), *map(type, self.terms)]
        self.may_draw_ = not all(map(is_own, parts))
        own = {id(callback) for _, callback in self.library_callbacks}
        kinds = {type(c) for _, c in self.callbacks_ if id(c) not in own}
        self.users_events_ = {
            event
            for event, default in vars(Callback).items()
            if event.startswith("on_")
            and any(getattr(kind, event) is not default for kind in kinds)
        }
        keep_statistics(self.module_)
        self.stale_ = False  # whether weights have moved since the last statistics
        self.sharpened_ = False
        return self

    def start_from(self, statistics, prior):
        """Set the mean and scale of the features, and the class prior."""
        for term in self.terms:
            if isinstance(term, CrossEntropy):
                prior = term.smooth(prior)
        for layer in self.module_.modules():
            if isinstance(layer, Standardize):
                layer.set_statistics(*statistics)
            elif isinstance(layer, LogitLayer):
                layer.set_prior(prior)

    def set_residuals(self, residuals):
        """Set the differences of vectors within classes, from which noise is made."""
        layers = list(self.module_.modules())
        scales = [m.scale.cpu().numpy() for m in layers if isinstance(m, Standardize)]
        residuals = (residuals / next(iter(scales), 1.0)).astype(np.float32)
        for layer in layers:
            if isinstance(layer, ClassNoise):
                layer.set_residuals(torch.from_numpy(residuals).to(self.device))

    def continue_from(self, net):
        """Copy the weights that last. The optimiser starts anew."""
        restore(self.module_, all_tensors(self.module_) | net.lasting_weights())

    def lasting_weights(self):
        """Return the weights that a continued fit starts from."""
        return all_tensors(self.module_)

    def forget_training(self):
        """Let go of what only the training needed, whatever holds it."""
        self.train_split = None
        for name in ("iterator_", "normalized_by_", "draws_"):
            vars(self).pop(name, None)
        for parameter in self.module_.parameters():
            parameter.grad = None
        for name in self._optimizers:
            getattr(self, f"{name}_").state.clear()
        for layer in self.module_.modules():
            if isinstance(layer, ClassNoise):
                layer.set_residuals(None)
        for _, callback in self.callbacks_:
            if hasattr(callback, "best_model_weights_"):  # of skorch's EarlyStopping
                callback.best_model_weights_ = None

    def __getstate__(self):
        """Return the module's class, arrays and plain values, and nothing else."""
        tensors = all_tensors(self.module_)
        return {
            "module": self.module,
            "arguments": self.get_params_for("module"),
            "settings": {name: getattr(self, name) for name in _SETTINGS},
            "device": str(self.device),
            "history": list(self.history),
            "sharpened": self.sharpened_,
            "weights": {name: to_numpy(value) for name, value in tensors.items()},
            "dtypes": {
                name: str(value.dtype).removeprefix("torch.")
                for name, value in tensors.items()
                if isinstance(value, torch.Tensor)
            },
        }

    @own_settings()
    def __setstate__(self, state):
        """Rebuild the net, on a device that this machine has."""
        arguments = {f"module__{k}": v for k, v in state["arguments"].items()}
        self.__init__(
            state["module"],
            terms=[],
            device=existing_device(state["device"]),
            verbose=0,
            optimizer=None,
            **arguments,
            **state["settings"],
        )
        self.initialize()
        self.history = skorch.history.History(state["history"])
        if state["sharpened"]:
            self.sharpen()
        weights, dtypes = state["weights"], state["dtypes"]
        restore(
            self.module_,
            {
                name: to_tensor(value, dtypes[name]) if name in dtypes else value
                for name, value in weights.items()
            },
            self.device,
        )

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
        try:
            with threads_for(self.module_):
                return super().fit_loop(X, y, epochs, **fit_params)
        finally:
            for layer in layers:
                layer.generator = None

    def match_statistics(self):
        """Set the statistics of batch normalisation to those of the present weights."""
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
            self.sharpened_ = True

    def set_statistics(self, module, datasets):
        """Set the statistics of a module to those of all recordings in datasets."""

        def in_batches(compute):
            for dataset in datasets:
                batches = self.get_iterator(dataset)
                # Each layer takes a pass, but for all of them if there is one batch.
                batches.batch_size = max(batches.batch_size, _FEW)
                for _, found in self.in_batches(batches, module, compute):
                    yield found

        with threads_for(module):
            set_statistics(module, in_batches)

    def in_batches(self, batches, module, compute, least=0):
        """Yield rows and ``compute(x, lengths)`` of them, without gradients.

        Batches of less than `least` recordings are filled up with copies of their rows.
        """

        def compute_rows(rows):
            batch = batches.dataset.batch(np.resize(rows, max(len(rows), least)))
            if module.training:  # to walk through the layers takes a tenth of a clip
                module.eval()
            with torch.inference_mode():
                return compute(batch.x, batch.lengths)

        return in_batches_that_fit(batches, compute_rows)

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

    def run_single_epoch(self, iterator, training, prefix, step_fn, **kwargs):
        """Take the steps of an epoch; a callback may end the training after a batch."""
        if iterator is None:
            return
        if training:
            self.iterator_ = iterator  # ``progress`` needs its number of batches

        def step(batch, **fit_params):
            try:
                found = step_fn(batch, **fit_params)
            except TrainingDivergedError:
                raise
            except Exception as error:  # what fails for weights that diverged says so
                if (largest := largest_weight(self.module_)) < TOO_LARGE:
                    raise
                what = f"A step failed at a weight of {largest:.0e}"
                raise diverged(self, what, batch[0]) from error
            return found | {"y_pred": found["y_pred"]["logits"].detach()}

        with closing(self._guarded(iterator, training)) as batches:
            super().run_single_epoch(batches, training, prefix, step, **kwargs)

    def _guarded(self, iterator, training):
        """Yield batches. While one is at work, a user's code draws from the seed."""
        for batch in iterator:
            with self.draws_ if self.may_draw_ else nullcontext():
                yield batch
            if training and self.stopping_:
                return

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
        self.stopping_ = False
        self.normalized_by_ = self.normalized_by(X)
        try:
            with interrupts_noticed() as self.interrupted_:
                self.notify("on_train_begin", X=X, y=y)
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
        self.sharpen()
        self.stale_ = True  # a callback may have returned to earlier weights
        check_last_step(self, X)
        self.forget_training()
        return self

    def normalized_by(self, dataset):
        """Return the datasets whose statistics validation and prediction use."""
        return [dataset]

    def notify(self, method_name, **cb_kwargs):
        """Call the callbacks. Those of skorch raise KeyboardInterrupt to stop.

        The training then ends with the batch at hand, and its epoch is completed by the
        validation, so that the history has no half of an epoch.
        """
        try:
            with self.draws_ if method_name in self.users_events_ else nullcontext():
                super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt:
            if self.interrupted_.is_set():
                raise
            self.stopping_ = True
        if method_name == "on_epoch_end" and self.stopping_:
            raise _StopTraining

    def check_data(self, X, y=None):
        """Do nothing, because the estimator has checked the data."""

    def get_dataset(self, X, y=None):
        """Take a SequenceDataset as it is, and make one of sequences."""
        if X is None or isinstance(X, SequenceDataset):
            return X
        return SequenceDataset(pooled(X, self.encoder), device=self.device)

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
        """Sum the terms; record each one of a training batch, and its diagnostics.

        In validation each term has its whole weight, so that epochs can be compared.
        """
        check_outputs(self, y_pred, X)  # since a term may fail for NaN
        progress = self.progress() if training else 1.0
        total, values, diagnostics = self.criterion_(y_pred, X, progress)
        if training:
            for name, value in values.items():
                if not np.isfinite(value := value.item()):
                    raise diverged(self, f"The loss term {name!r} is {value}", X)
                self.history.record_batch(f"train_{name}", value)
            if not torch.isfinite(total):
                what = "The loss, each term times its weight, is not finite"
                raise diverged(self, what, X)
            for name, value in diagnostics.items():
                self.history.record_batch(f"train_{name}", value)
        return total

    def forward_iter(self, X, training=False, device="cpu"):
        """Yield the logits of all rows at once, since batches have another order."""
        if training:
            raise ValueError(
                "training is True, but a fitted net predicts without dropout and "
                "noise. Expected False."
            )
        yield to_device(torch.from_numpy(self.outputs(X, "logits")), device)

    def predict_proba(self, X):
        """Return the probability of each class for sequences or a SequenceDataset."""
        return self.decide(self.forward(X).numpy())

    def predict(self, X):
        """Return the position of the most probable class of each sample."""
        return self.predict_proba(X).argmax(axis=1)

    @property
    def classes_(self):
        """The positions of the classes, which scikit-learn's scorers ask for."""
        return np.arange(self.module__n_classes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        return tags

    def probabilities(self, logits):
        """Return the probability of each class, from a float64 tensor of logits."""
        return (logits / (self.temperature or 1.0)).softmax(1)

    def decide(self, logits):
        """Return the probability of each class, from an array of logits."""
        return self.probabilities(torch.from_numpy(logits).double()).numpy()

    @own_settings()
    def outputs(self, sequences, key, module=None):
        """Return one output of a module, by default the net's, for each sequence."""
        self.match_statistics()
        module = self.module_ if module is None else module
        dataset = self.get_dataset(sequences)
        batches = self.get_iterator(dataset)
        # BLAS may round a row differently in a batch of another size. Batches of few
        # vectors are filled up to one size, so that their outputs never vary.
        least = min(self.batch_size, _FILLED) if dataset.vectors else 0
        out = None

        def compute(x, lengths):
            return module(x, lengths)[key].cpu().numpy()

        with threads_for(module):
            for rows, values in self.in_batches(batches, module, compute, least):
                if out is None:
                    out = np.empty((len(dataset), values.shape[1]), values.dtype)
                out[rows] = values[: len(rows)]
        return out


def all_tensors(module):
    """Return parameters and buffers by name, with those that no state dict has."""
    return dict(module.named_buffers()) | module.state_dict()


def restore(module, tensors, device=None):
    """Put what `all_tensors` returned into a module of the same class."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, value in tensors.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        if name not in parameters and isinstance(value, torch.Tensor):
            buffer, own = value.detach().clone().to(device), getattr(owner, leaf, None)
            if own is not None and own.shape == buffer.shape:
                buffer = buffer.to(own.dtype)  # a net in training is in float32
            if leaf in owner._buffers:
                owner._buffers[leaf] = buffer
            else:
                owner.register_buffer(leaf, buffer)
    persistent = module.state_dict().keys()
    module.load_state_dict({k: v for k, v in tensors.items() if k in persistent})


def to_numpy(value):
    """Copy a tensor to an array; its bits, if NumPy lacks the type of its numbers."""
    if not isinstance(value, torch.Tensor):  # a module's "extra state"
        return value
    value = value.detach().cpu().clone()
    try:
        return value.numpy()
    except TypeError:
        return value.view(_BITS[value.element_size()]).numpy()


def to_tensor(array, dtype=None):
    """Copy an array, which may be read-only, to a tensor of the type with this name."""
    tensor = torch.from_numpy(np.array(array))
    own = tensor.dtype if dtype is None else getattr(torch, dtype)
    return tensor if tensor.dtype == own else tensor.view(own)
