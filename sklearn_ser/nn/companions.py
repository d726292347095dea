"""Recordings that a method draws for each training batch.

A sampler is called as ``sampler(dataset, rows, rng, frame_budget)`` for each training
batch. It returns a dict of batches, which the network's ``forward`` takes by name.
"""

import numpy as np
import torch

# A source batch chooses from this many times as many target recordings as it needs.
WAITING_BATCHES = 4

NEUTRAL = {"neutral", "neu", "n"}


class NeutralPartners:
    """Draws neutral utterances of the speakers of a batch, new ones for each batch.

    Parameters
    ----------
    is_neutral : bool array of shape (n_samples,)
    speakers : array of shape (n_samples,)
    n_neutral : int or None
        Partners are drawn from the first ``n_neutral`` neutral utterances of a speaker.
        None draws from all.
    shared : bool
        Whether the rows of one speaker share a partner, which is then encoded once.
        If not, each row has its own.
    """

    def __init__(self, is_neutral, speakers, n_neutral, shared=True):
        names, self.speaker = np.unique(speakers, return_inverse=True)
        self.shared = shared
        self.pools = [
            np.flatnonzero(is_neutral & (self.speaker == i))[:n_neutral]
            for i in range(len(names))
        ]

    def __call__(self, dataset, rows, rng, frame_budget):
        speaker = self.speaker[rows]
        present = [i for i in np.unique(speaker) if len(self.pools[i])]
        if not present:
            return {}
        calibrated = np.flatnonzero(np.isin(speaker, present))
        if self.shared:
            drawn_for = present
            partner = np.searchsorted(present, speaker[calibrated])
        else:
            drawn_for = speaker[calibrated]
            partner = np.arange(len(calibrated))
        drawn = [rng.choice(self.pools[i]) for i in drawn_for]
        # The network joins batch and partners, padded to one length. A partner that is
        # longer than both the batch and its share of the budget is cropped.
        width = min(dataset.n_frames[rows].max(), frame_budget // len(rows))
        share = frame_budget // (len(rows) + len(drawn))
        neutral = dataset.batch(drawn, max(width, share), rng)
        for name, values in ("calibrated", calibrated), ("partner", partner):
            neutral.columns[name] = torch.as_tensor(values, device=neutral.x.device)
        return {"neutral": neutral}


class TargetBatches:
    """Draws as many target recordings as a batch has source recordings.

    The target is shuffled, and recordings from the front of it are candidates. Those
    that are about as long as the source's are taken, since padding only costs time.

    Parameters
    ----------
    dataset : SequenceDataset
        The target's recordings. Each is drawn once before any is drawn again.
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


def neutral_classes(classes, neutral_label):
    """Return the classes that are neutral, in a list.

    Parameters
    ----------
    classes : list
    neutral_label : label or "auto"
        "auto" recognises neutral, neu and n in any case.
    """
    if isinstance(neutral_label, str) and neutral_label == "auto":
        return [c for c in classes if str(c).strip().lower() in NEUTRAL]
    if neutral_label not in classes:
        raise ValueError(
            f"neutral_label={neutral_label!r} does not occur in y, whose classes "
            f"are {classes}. (If a meta-estimator encodes y, pass the number of "
            "the class.)"
        )
    return [neutral_label]
