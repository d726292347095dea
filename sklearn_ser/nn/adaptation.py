"""Networks with a source and a target: pairs of batches, statistics of each."""

import numpy as np

from .batching import side_by_side
from .net import SpeechNet, to_numpy, to_tensor
from .normalization import batch_norms, with_own_statistics
from .process import own_settings

# A source batch chooses from this many times as many target recordings as it needs.
WAITING_BATCHES = 4


def source_and_target(layers, batch, target, *, own_statistics):
    """Apply layers to a batch of the source and to one of the target.

    ``layers(x, lengths)`` returns a dict of tensors with one row per sample. With
    `own_statistics`, each batch is normalised by its own statistics, otherwise both by
    common ones. Source and target each get a dict.
    """
    if own_statistics:
        return layers(*batch), layers(target.x, target.lengths)
    both = layers(*side_by_side(batch, (target.x, target.lengths)))
    n = len(batch[0])
    return {k: h[:n] for k, h in both.items()}, {k: h[n:] for k, h in both.items()}


class DomainNet(SpeechNet):
    """A net whose batch normalisation has statistics of the source and of the target.

    The list ``target_modules_`` holds the module with the target's statistics, which
    shares its parameters with the net's; it is empty where both sides have the same. (A
    list, because skorch would initialise a module that stands in an attribute.)
    """

    def initialize(self):
        """Start without statistics of a target."""
        self.target_modules_ = []
        return super().initialize()

    def normalized_by(self, dataset):
        """Add the target, unless it has statistics of its own."""
        draw = dataset.draw_companions
        if getattr(self.module_, "own_statistics", True) or draw is None:
            return [dataset]
        return [dataset, draw.dataset]

    @own_settings()
    def set_target_statistics(self, sequences):
        """Set the statistics of the target; one sequence alone has no variance."""
        if len(sequences) < 2:
            return
        module = with_own_statistics(self.module_)
        self.set_statistics(module, [self.get_dataset(sequences)])
        self.target_modules_ = [module]

    def outputs(self, sequences, key, *, of_target=False):
        """Return one output for each sequence, under the statistics of its side."""
        module = self.module_
        if of_target and self.target_modules_:
            [module] = self.target_modules_
        return super().outputs(sequences, key, module)

    def __getstate__(self):
        """Return the state of a SpeechNet, and the statistics of the target."""
        state = super().__getstate__()
        for module in self.target_modules_:
            state["target_statistics"] = [
                [to_numpy(values) for values in (m.running_mean, m.running_var)]
                for m in batch_norms(module)
            ]
        return state

    @own_settings()
    def __setstate__(self, state):
        """Rebuild the net, and the module for the target beside the source's."""
        super().__setstate__(state)
        if "target_statistics" not in state:
            return
        module = with_own_statistics(self.module_)
        saved = state["target_statistics"]
        for norm, (mean, var) in zip(batch_norms(module), saved, strict=True):
            norm.running_mean.copy_(to_tensor(mean))
            norm.running_var.copy_(to_tensor(var))
        self.target_modules_ = [module]


class TargetBatches:
    """Draws as many target recordings as a batch has source recordings.

    The target is shuffled, and each recording is drawn once before any is drawn again.
    Those at the front are candidates; those that are about as long as the source's are
    taken, since padding only costs time.
    """

    def __init__(self, dataset):
        self.dataset = dataset
        self.waiting = []

    def __call__(self, source, rows, rng, frame_budget):
        n_frames = self.dataset.n_frames
        length, drawn = np.median(source.n_frames[rows]), []
        while len(drawn) < len(rows):
            if not self.waiting:
                self.waiting = rng.permutation(len(n_frames)).tolist()
            pool = self.waiting[: WAITING_BATCHES * len(rows)]
            pool.sort(key=lambda row: n_frames[row])
            n = min(len(rows) - len(drawn), len(pool))
            nearest = int(np.searchsorted(n_frames[pool], length)) - n // 2
            start = min(max(nearest, 0), len(pool) - n)
            drawn += pool[start : start + n]
            self.waiting[: len(pool)] = pool[:start] + pool[start + n :]
        return {"target": self.dataset.batch(drawn, frame_budget // len(drawn), rng)}
