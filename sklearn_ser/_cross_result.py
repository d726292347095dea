"""What an evaluation across corpora found, and how it prints."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sklearn_ser._cv_result import _percent, to_html

_PROTOCOLS = {
    "transductive": "target utterances (unlabelled) were seen in training",
    "inductive": "unlabelled utterances of other target speakers were seen in training",
    "source-only": "no target utterance was seen in training",
}


class Transfer(NamedTuple):
    """One transfer of :func:`cross_corpus_validate`: rows, figures, seconds."""

    source: tuple
    target: str
    classes: np.ndarray
    train: np.ndarray
    adapt: np.ndarray
    test: np.ndarray
    predictions: np.ndarray
    n_speakers: int
    uar: float
    wa: float
    uar_interval: tuple
    fit_time: float
    score_time: float


@dataclass(frozen=True, eq=False, repr=False)
class CrossCorpusResult:
    """What :func:`cross_corpus_validate` found; prints as a table.

    Attributes
    ----------
    transfers : tuple of Transfer
        Per transfer `source` (the names of its corpora), `target`, `classes`; the
        rows of `X` that trained with labels (`train`), that trained without (`adapt`,
        empty for an estimator that does not adapt) and that were scored (`test`);
        the `predictions` of the latter and how many speakers they have (`n_speakers`);
        `uar`, `wa` and `uar_interval`; `fit_time` and `score_time` (seconds).
    mode : {"transductive", "inductive"}
        What was asked for: whether all or half of the target's speakers are scored.
    protocol : {"transductive", "inductive", "source-only"}
        What the training saw of the target: rows of scored speakers, rows of others
        only, or none.
    adapted : bool
        Whether the estimator adapts: its fit got the target's unlabelled rows.
    uar : float
        Mean UAR over the transfers, between 0 and 1.
    uar_interval : (float, float)
        Bootstrap interval of the mean; NaN if a transfer scores one speaker only, or
        no bootstrap.
    confidence_level : float
        Coverage of the intervals.
    estimators : tuple of estimators or None
        The fitted estimators, with ``return_estimator=True``.
    """

    transfers: tuple
    mode: str
    protocol: str
    adapted: bool
    uar: float
    uar_interval: tuple
    confidence_level: float
    estimators: tuple | None

    def table(self):
        """Return the UAR of each source and target.

        Returns
        -------
        table : dict of str to dict of str to float
            ``table[source][target]``; several sources are one key, as in ``"a+b"``.
        """
        return {
            source: {target: found.uar for target, found in cells.items()}
            for source, cells in self._cells().items()
        }

    def _cells(self):
        cells = {}
        for found in self.transfers:
            cells.setdefault(join(found.source), {})[str(found.target)] = found
        return cells

    def _rows(self):
        """The table, cell by cell."""
        targets = [str(t) for t in sorted({found.target for found in self.transfers})]
        table = [["from", *(f"to {target}" for target in targets)]]
        for source, row in self._cells().items():
            found = [row.get(target) for target in targets]
            table.append([source, *("    -" if t is None else _cell(t) for t in found)])
        return table

    def _notes(self):
        """What the figures are, and what their mean is."""
        known = any(np.isfinite(found.uar_interval[0]) for found in self.transfers)
        halved = self.mode == "inductive"
        return (
            f"{self.protocol}: {_PROTOCOLS[self.protocol]}",
            *["half of the target speakers were scored"] * halved,
            "UAR %" + f" [{100 * self.confidence_level:g}% interval]" * known,
        ), f"mean of {len(self.transfers)}: {_cell(self).strip()}"

    def __repr__(self):
        table, (above, below) = self._rows(), self._notes()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([*above, *lines, below])

    def _repr_html_(self):
        above, below = self._notes()
        return to_html(self._rows(), [below, *above])


def join(source):
    """The name of one or several source corpora."""
    return "+".join(map(str, source))


def _cell(found):
    return _percent(found.uar, found.uar_interval)
