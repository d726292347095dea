"""Datasets of sequences and the length-bucketed batches cut from them."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.data import Dataset

from .layers import round_up

# A batch is cut from this many batches' worth of shuffled sequences, sorted by
# length: short padding without batches of one length (and one emotion) only.
_POOL = 16
# Data above this share of a GPU's free memory stays on the host.
_RESIDENT_SHARE = 0.5


@dataclass
class Batch:
    """Padded sequences and what is known of each.

    Attributes
    ----------
    x : tensor of shape (n_samples, n_features, n_frames)
        Zero beyond each length.
    lengths : tensor of shape (n_samples,)
    columns : dict of tensors, each with one row per sample
        Target, weight, speaker and the like, by name.
    companions : dict
        Passed to the module's ``forward``: what a method draws beside the batch.
    """

    x: torch.Tensor
    lengths: torch.Tensor
    columns: dict = field(default_factory=dict)
    companions: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, name):
        return self.columns[name]


class SequenceDataset(Dataset):
    """Checked sequences with their columns, resident on a device if they fit.

    Parameters
    ----------
    sequences : list of float32 arrays of shape (n_features, n_frames)
    columns : dict of arrays, each with one row per sequence
    device : str or torch.device, default="cpu"
        Where batches are wanted. On the CPU sequences are never copied, so that
        memory-mapped ones stay on disk.
    draw_companions : callable, default=None
        Called as ``draw_companions(dataset, rows, rng)`` for each training batch;
        returns the batch's ``companions``.
    """

    def __init__(self, sequences, columns=None, *, device="cpu", draw_companions=None):
        self.device = torch.device(device)
        self.n_frames = np.array([s.shape[1] for s in sequences])
        self.columns = {
            name: torch.as_tensor(values).to(self.device)
            for name, values in (columns or {}).items()
        }
        self.draw_companions = draw_companions
        self.sequences = self._resident(sequences)

    def __len__(self):
        return len(self.sequences)

    def __getitem__(self, row):
        return self.sequences[row]

    def _resident(self, sequences):
        """Move the sequences to a GPU once, where they fit; leave them elsewise."""
        if self.device.type != "cuda":
            return sequences
        n_bytes = sum(4 * s.size for s in sequences)
        if n_bytes > _RESIDENT_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return sequences
        return [torch.from_numpy(np.array(s)).to(self.device) for s in sequences]

    def batch(self, rows, rng=None):
        """Return the Batch of these rows; with ``rng``, one for training."""
        x, lengths = pad([self.sequences[row] for row in rows], self.device)
        index = torch.as_tensor(rows, device=self.device)
        batch = Batch(x, lengths, {k: v[index] for k, v in self.columns.items()})
        if rng is not None and self.draw_companions is not None:
            batch.companions = self.draw_companions(self, rows, rng)
        return batch


def pad(sequences, device="cpu"):
    """Stack sequences into one zero-padded tensor on the device, with lengths."""
    device = torch.device(device)
    lengths = torch.tensor([s.shape[1] for s in sequences])
    shape = len(sequences), len(sequences[0]), round_up(int(lengths.max()))
    if isinstance(sequences[0], torch.Tensor):
        rows = x = torch.zeros(shape, device=device)
    else:  # NumPy copies from memory maps and read-only arrays without complaint.
        x = torch.zeros(shape, pin_memory=device.type == "cuda")
        rows = x.numpy()
    for row, s in zip(rows, sequences, strict=True):
        row[:, : s.shape[1]] = s
    return x.to(device, non_blocking=True), lengths.to(device)


class BatchIterator:
    """Length-bucketed batches, in an order that ``rng`` decides.

    Parameters
    ----------
    dataset : SequenceDataset
    batch_size : int
    rng : numpy.random.Generator, default=None
        Shuffles and draws companions. Without it batches hold sequences
        of rising length.
    """

    def __init__(self, dataset, batch_size, rng=None):
        self.dataset = dataset
        self.batch_size = batch_size
        self.rng = rng

    def __len__(self):
        return len(self._cuts(len(self.dataset)))

    def __iter__(self):
        for rows in self.rows():
            batch = self.dataset.batch(rows, self.rng)
            yield batch, batch.columns.get("y")

    def rows(self):
        """Return the rows of each batch of an epoch."""
        n_frames = self.dataset.n_frames
        order = np.arange(len(n_frames))
        pool = len(order)
        if self.rng is not None:
            order = self.rng.permutation(order)
            pool = _POOL * self.batch_size
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            order[start : start + pool] = part[
                np.argsort(n_frames[part], kind="stable")
            ]
        batches = [order[cut] for cut in self._cuts(len(order))]
        if self.rng is None:
            return batches
        return [batches[i] for i in self.rng.permutation(len(batches))]

    def _cuts(self, n_samples):
        starts = list(range(0, n_samples, self.batch_size))
        # Batch normalisation cannot train on a batch of one.
        if self.rng is not None and n_samples > 1 and starts[-1] == n_samples - 1:
            starts = starts[:-1] or [0]
        return [
            slice(a, b) for a, b in zip(starts, [*starts[1:], n_samples], strict=True)
        ]
