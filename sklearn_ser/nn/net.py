"""The skorch net behind every estimator."""

import threading
from contextlib import contextmanager, nullcontext, suppress

import numpy as np
import skorch
import torch
from skorch.callbacks import PassthroughScoring

from .batching import BatchIterator, SequenceDataset
from .layers import LogitLayer, Standardize
from .losses import TermSum

# Modules initialise themselves from the global generator: one at a time.
_INITIALISING = threading.RLock()


@contextmanager
def seeded(seed, device="cpu"):
    """Seed PyTorch's global generators inside, restore them afterwards."""
    cuda = [device] if torch.device(device).type == "cuda" else []
    with _INITIALISING, torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield


def available_device(device):
    """Return the torch device meant, with "auto" the best one at hand.

    A CUDA or MPS device that this machine lacks becomes the CPU.
    """
    try:
        kind = torch.device("cuda" if device == "auto" else device).type
    except RuntimeError as error:
        raise ValueError(f"device is {device!r}: {error}") from error
    if kind == "cuda" and torch.cuda.is_available():
        return torch.device("cuda" if device == "auto" else device)
    if kind == "mps" or device == "auto":
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    return torch.device("cpu" if kind == "cuda" else device)


def _draws_globally(module):
    """Tell whether a user's layer knows PyTorch's global generators only."""
    recurrent = isinstance(module, torch.nn.RNNBase) and module.dropout
    return recurrent or isinstance(module, torch.nn.modules.dropout._DropoutNd)


def _to_numpy(tensor):
    return tensor.detach().cpu().numpy().copy()


_SETTINGS = ("seed", "batch_size", "max_epochs", "lr", "keep_optimizer")


class _StopTraining(Exception):
    """A callback wants no further epoch."""


class SpeechNet(skorch.NeuralNet):
    """A skorch net on dictionaries of outputs, sums of terms and padded batches.

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
    **kwargs
        As for :class:`skorch.net.NeuralNet`.
    """

    def __init__(self, module, *, terms, seed=0, keep_optimizer=False, **kwargs):
        self.terms = terms
        self.seed = seed
        self.keep_optimizer = keep_optimizer
        kwargs.setdefault("criterion", TermSum)
        kwargs.setdefault("train_split", None)
        super().__init__(module, **kwargs)

    @property
    def _default_callbacks(self):
        names = ["train_loss"] + [f"train_{t.name}" for t in self.terms if t.weight]
        return [(name, PassthroughScoring(name, on_train=True)) for name in names]

    def initialize_criterion(self):
        """Sum the terms given to ``__init__``."""
        self.criterion_ = self.criterion(self.terms)
        return self

    def initialize(self):
        """Initialise from the seed alone, wherever the global generator stands."""
        seeds = np.random.SeedSequence(self.seed).spawn(2)
        with seeded(int(seeds[0].generate_state(1)[0])):
            super().initialize()
        self.rng_ = np.random.default_rng(seeds[1])
        return self

    def start_from(self, sequences, prior):
        """Set feature statistics and class prior from the training data."""
        for layer in self.module_.modules():
            if isinstance(layer, Standardize):
                layer.fit(sequences)
            elif isinstance(layer, LogitLayer):
                layer.fit(prior)

    def continue_from(self, net):
        """Take over the weights, and the optimiser's state if it was kept."""
        self.module_.load_state_dict(net.module_.state_dict())
        if net.keep_optimizer:
            for name in self._optimizers:
                state = getattr(net, f"{name}_").state_dict()["state"]
                self._load_optimizer(name, state)

    def _load_optimizer(self, name, state):
        optimizer = getattr(self, f"{name}_")
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})

    def __getstate__(self):
        """Return arrays and plain values only, beside the module's class."""
        state = {
            "module": self.module,
            "arguments": self.get_params_for("module"),
            "settings": {name: getattr(self, name) for name in _SETTINGS},
            "device": str(self.device),
            "history": list(self.history),
            "weights": {k: _to_numpy(v) for k, v in self.module_.state_dict().items()},
        }
        if self.keep_optimizer:
            state["optimizers"] = {
                name: [
                    {key: _to_numpy(value) for key, value in values.items()}
                    for values in optimizer.state_dict()["state"].values()
                ]
                for name in self._optimizers
                if (optimizer := getattr(self, f"{name}_"))
            }
        return state

    def __setstate__(self, state):
        """Rebuild the net, on the CPU where the device it was on is missing."""
        arguments = {f"module__{k}": v for k, v in state["arguments"].items()}
        device = available_device(state["device"])
        self.__init__(
            state["module"],
            terms=[],
            device=device,
            verbose=0,
            optimizer=torch.optim.AdamW,
            **arguments,
            **state["settings"],
        )
        self.initialize()
        self.history = skorch.history.History(state["history"])
        self.module_.load_state_dict(
            {k: torch.as_tensor(v) for k, v in state["weights"].items()}
        )
        if self.keep_optimizer:
            for name, saved in state["optimizers"].items():
                values = {
                    i: {k: torch.as_tensor(v) for k, v in values.items()}
                    for i, values in enumerate(saved)
                }
                self._load_optimizer(name, values)

    def random_layers(self):
        """Yield each random layer, with the NumPy generator that seeds it."""
        for layer in self.module_.modules():
            if hasattr(layer, "generator"):
                yield layer, self.rng_

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train with the module's random layers on generators of their own."""
        layers = []
        for layer, rng in self.random_layers():
            layer.generator = torch.Generator(self.device)
            layer.generator.manual_seed(int(rng.integers(2**63)))
            layers.append(layer)
        guard = nullcontext()
        if any(_draws_globally(m) for m in self.module_.modules()):
            guard = seeded(int(self.rng_.integers(2**63)), self.device)
        try:
            with guard:
                return super().fit_loop(X, y, epochs, **fit_params)
        finally:
            for layer in layers:
                layer.generator = None

    def run_single_epoch(self, iterator, training, **kwargs):
        """Know how many batches make an epoch."""
        if training:
            self.n_batches_ = len(iterator)
        super().run_single_epoch(iterator, training, **kwargs)

    def progress(self):
        """Return the part of the training that is done, in [0, 1)."""
        epoch = self.history[-1]
        done = (len(epoch["batches"]) - 1) / self.n_batches_
        return (epoch["epoch"] - 1 + done) / self.max_epochs

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """Train on; an interruption by the user is not taken for the end."""
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        with suppress(_StopTraining):
            self.fit_loop(X, y)
        self.notify("on_train_end", X=X, y=y)
        return self

    def notify(self, method_name, **cb_kwargs):
        """Tell the callbacks; skorch's ask for a stop by KeyboardInterrupt."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt:
            if method_name == "on_epoch_end":
                raise _StopTraining from None
            raise

    def check_data(self, X, y=None):
        """Leave checking to the estimator."""

    def get_dataset(self, X, y=None):
        """Take a SequenceDataset as it is."""
        return X

    def get_iterator(self, dataset, training=False):
        """Cut length-bucketed batches, shuffled in training."""
        rng = self.rng_ if training else None
        return BatchIterator(dataset, self.batch_size, rng)

    def infer(self, x, **fit_params):
        """Apply the module to a Batch."""
        return self.module_(x.x, x.lengths, **x.companions)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Sum the terms and record each one of a training batch."""
        total, values = self.criterion_(y_pred, X)
        if training:
            for name, value in values.items():
                self.history.record_batch(f"train_{name}", value.item())
        return total

    def outputs(self, sequences, key):
        """Return one output of the module for each sequence, in their order.

        Parameters
        ----------
        sequences : list of arrays of shape (n_features, n_frames)
        key : str
            Name of the output.

        Returns
        -------
        array of shape (n_samples, n_outputs), float32
        """
        dataset = SequenceDataset(sequences, device=self.device)
        iterator = self.get_iterator(dataset)
        out = None
        # Of one frame each: batches of one shape, which BLAS rounds alike.
        full = self.batch_size if dataset.n_frames.max() == 1 else 0
        for rows in iterator.rows():
            batch = dataset.batch(np.resize(rows, max(len(rows), full)))
            values = self.evaluation_step((batch, None))[key].cpu().numpy()
            if out is None:
                out = np.empty((len(dataset), values.shape[1]), values.dtype)
            out[rows] = values[: len(rows)]
        return out
