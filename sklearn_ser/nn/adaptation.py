"""Networks with a source and a target: pairs of batches, statistics of each."""


from .batching import BatchIterator, SequenceDataset, side_by_side, summary
from .devices import threads_for
from .net import SpeechNet, to_numpy, to_tensor
from .normalization import batch_norms, estimate_statistics, kept_statistics, twin


def source_and_target(module, layers, batch, target, *, own_statistics):
    """Apply layers to a batch of the source and to one of the target.

    Parameters
    ----------
    module : nn.Module
        The network to which the layers belong.
    layers : callable
        Called as ``layers(x, lengths)``. It returns a dict of tensors with one row per
        sample.
    batch : (tensor, tensor)
        ``x`` and ``lengths`` of the source.
    target : Batch
    own_statistics : bool
        Whether each batch is normalised by its own statistics, or both by common ones.

    Returns
    -------
    source, target : dict of tensors
    """
    if own_statistics:
        source = layers(*batch)
        with kept_statistics(module):  # those of the target are estimated afterwards
            return source, layers(target.x, target.lengths)
    both = layers(*side_by_side(batch, (target.x, target.lengths)))
    n = len(batch[0])
    return {k: h[:n] for k, h in both.items()}, {k: h[n:] for k, h in both.items()}


class DomainNet(SpeechNet):
    """A net whose batch normalisation has running statistics of source and target.

    Attributes
    ----------
    target_modules_ : list of nn.Module
        It holds the module with the statistics of the target, which shares its
        parameters with the net's module. It is empty where source and target have the
        same statistics. (A list, because skorch would initialise a module that stands
        in an attribute.)
    """

    def initialize(self):
        """Start without statistics of a target."""
        self.target_modules_ = []
        return super().initialize()

    def estimate_target_statistics(self, sequences):
        """Estimate the statistics of the target from its sequences.

        A single sequence has no variance. The source's statistics are used then.
        """
        if len(sequences) < 2:
            return
        if self.summarize:
            sequences = [summary(x) for x in sequences]
        dataset = SequenceDataset(sequences, device=self.device)
        module = twin(self.module_)
        batches = BatchIterator(dataset, self.batch_size, self.rng_)
        with threads_for(module):
            estimate_statistics(module, ((b.x, b.lengths) for b, _ in batches))
        self.target_modules_ = [module]

    def outputs(self, sequences, key, *, of_target=False):
        """Return one output for each sequence, under the statistics of its side.

        Parameters
        ----------
        sequences : list of arrays of shape (n_features, n_frames)
        key : str
            Name of the output.
        of_target : bool, default=False
            True if the sequences belong to the target.

        Returns
        -------
        array of shape (n_samples, n_outputs), float32
        """
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

    def __setstate__(self, state):
        """Rebuild the net, and the module for the target beside the source's."""
        super().__setstate__(state)
        if "target_statistics" not in state:
            return
        module = twin(self.module_)
        saved = state["target_statistics"]
        for norm, (mean, var) in zip(batch_norms(module), saved, strict=True):
            norm.running_mean.copy_(to_tensor(mean, "float32"))
            norm.running_var.copy_(to_tensor(var, "float32"))
        self.target_modules_ = [module]
