"""Datasets of sequences and the length-bucketed batches cut from them."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import Dataset

from ..exceptions import warn_caller
from .layers import round_up
from .vectors import Vectors

# Sequences are shuffled, sorted by length within pools of this many batches, and cut.
# A batch then has little padding, but still several lengths and emotions.
_POOL = 16
# A batch holds at most ``batch_size`` times this many frames of its longest recording.
# That is ten seconds of log-mels for each. If they are longer, a batch holds fewer.
FRAMES_PER_RECORDING = 1000
# Vectors are predicted in batches of this many values.
_VECTOR_CELLS = 1 << 20
# Data that would take more than this share of a GPU's free memory stays on the host.
_RESIDENT_SHARE = 0.5
# The name that torch 2.4 has, too.
OutOfMemoryError = torch.cuda.OutOfMemoryError


@dataclass
class Batch:
    """Padded sequences, one row per sample in each column, and recordings beside them.

    `x` is (n_samples, n_features, n_frames), and zero beyond each length. The module's
    ``forward`` gets the `companions` by name.
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
    """Checked sequences with their columns, resident on a GPU if they fit.

    On the CPU sequences are never copied, so that memory-mapped ones stay on disk. For
    each training batch, ``draw_companions(dataset, rows, rng, frame_budget)`` returns
    its ``companions``.
    """

    def __init__(self, sequences, columns=None, *, device="cpu", draw_companions=None):
        self.device = torch.device(device)
        self.vectors = isinstance(sequences, Vectors)
        if self.vectors:
            self.n_frames = np.ones(len(sequences), dtype=np.int64)
        else:
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
        """Move the sequences to a GPU once, if they fit there."""
        if self.device.type != "cuda":
            return sequences
        n_bytes = 4 * len(sequences[0]) * int(self.n_frames.sum())
        if n_bytes > _RESIDENT_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return sequences
        if self.vectors:
            rows = torch.from_numpy(sequences.gather(slice(None)))
            return rows.to(self.device)
        return [torch.from_numpy(np.array(s)).to(self.device) for s in sequences]

    def batch(self, rows, max_frames=None, rng=None):
        """Return the Batch of these rows, cropped at random to at most `max_frames`."""
        index = torch.as_tensor(rows, device=self.device)
        if self.vectors:
            if isinstance(self.sequences, torch.Tensor):
                x = self.sequences[index]
            else:
                x = torch.from_numpy(self.sequences.gather(rows)).to(self.device)
            x, lengths = x[:, :, None], torch.ones_like(index)
        else:
            sequences = [self.sequences[row] for row in rows]
            if max_frames is not None:
                sequences = [_crop(s, max_frames, rng) for s in sequences]
            x, lengths = pad(sequences, self.device)
        return Batch(x, lengths, {k: v[index] for k, v in self.columns.items()})


def _crop(sequence, max_frames, rng):
    """Crop a sequence that is too long, at a random place."""
    spare = sequence.shape[1] - max_frames
    if spare <= 0:
        return sequence
    start = int(rng.integers(spare + 1))
    return sequence[:, start : start + max_frames]


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


def side_by_side(first, second):
    """Join two batches, each padded ``x`` and its lengths, to one."""
    width = max(x.shape[-1] for x, _ in (first, second))
    x = [F.pad(x, (0, width - x.shape[-1])) for x, _ in (first, second)]
    return torch.cat(x), torch.cat([first[1], second[1]])


class BatchIterator:
    """Batches of sequences of similar length, each under a frame budget.

    A batch holds at most `batch_size` sequences, and ``frame_budget`` frames if each
    counts as the longest. `pad` adds an eighth of them at most. In prediction, without
    `rng`, a sequence above the budget is a batch by itself, batches of vectors are
    larger, and the order is that of the lengths. In training no batch has one row,
    since batch normalisation cannot train on it, and a sequence that is longer than its
    share of the budget is cropped at random.
    """

    def __init__(self, dataset, batch_size, rng=None):
        self.dataset = dataset
        self.frame_budget = batch_size * FRAMES_PER_RECORDING
        if rng is None and dataset.vectors:
            least = _VECTOR_CELLS // dataset.sequences[0].shape[0]
            batch_size = max(batch_size, min(least, self.frame_budget))
        self.batch_size = batch_size
        self.rng = rng

    def __iter__(self):
        batches = self.rows()
        self.n_batches = len(batches)
        for rows in batches:
            if self.rng is None:
                batch = self.dataset.batch(rows)
            else:
                batch = self._training_batch(rows)
            yield batch, batch.columns.get("y")

    def _training_batch(self, rows):
        data, rng = self.dataset, self.rng
        batch = data.batch(rows, self.frame_budget // len(rows), rng)
        if data.draw_companions is not None:
            batch.companions = data.draw_companions(data, rows, rng, self.frame_budget)
        return batch

    def rows(self):
        """Return the rows of each batch of an epoch."""
        n_frames = self.dataset.n_frames
        if self.rng is None:
            order = np.argsort(n_frames, kind="stable")
            return self.cut(order)
        order, batches = self.rng.permutation(len(n_frames)), []
        pool = _POOL * self.batch_size
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            batches += self.cut(part[np.argsort(n_frames[part], kind="stable")])
            if len(batches) > 1 and len(batches[-1]) == 1:
                self._spare_a_batch_of_one(batches)
        return [batches[i] for i in self.rng.permutation(len(batches))]

    def halve(self, rows):
        """Make the frame budget half of what a batch of these rows has."""
        width = round_up(int(self.dataset.n_frames[rows].max()))
        self.frame_budget = len(rows) * width // 2

    def cut(self, rows):
        """Cut rows of rising length into batches."""
        least = 1 if self.rng is None else 2
        starts, n_frames = [0], self.dataset.n_frames[rows]
        for i, length in enumerate(n_frames.tolist()):
            n = i - starts[-1]
            full = n == self.batch_size
            if full or (n >= least and (n + 1) * length > self.frame_budget):
                starts.append(i)
        return np.split(rows, starts[1:])

    def _spare_a_batch_of_one(self, batches):
        """Join the last batch to the one before, or move a row from that one to it."""
        before, last = batches[-2:]
        width = self.dataset.n_frames[last[0]]
        if len(before) > 2 and (len(before) + 1) * width > self.frame_budget:
            batches[-2:] = [before[:-1], np.append(before[-1:], last)]
        else:
            batches[-2:] = [np.append(before, last)]


def in_batches_that_fit(batches, compute):
    """Yield rows and ``compute(rows)`` of each batch; halve them if memory runs out."""
    waiting, warned = batches.rows(), False
    while waiting:
        rows = waiting.pop(0)
        try:
            values = compute(rows)
        except OutOfMemoryError as error:
            if len(rows) == 1:
                error.add_note(
                    f"One recording of {batches.dataset.n_frames[rows[0]]} frames is "
                    "too much for the device. Cut it, or use device='cpu'."
                )
                raise
            batches.halve(rows)
            waiting = batches.cut(np.concatenate([rows, *waiting]))
            if not warned:
                warned = True
                warn_caller(
                    f"The device ran out of memory at a batch of {len(rows)} "
                    "recordings. The prediction halves the frames of a batch until one "
                    "fits. "
                    f"A smaller batch_size (now {batches.batch_size}) avoids this."
                )
            continue
        yield rows, values
