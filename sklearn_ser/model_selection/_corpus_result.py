"""The result of an evaluation across corpora: transfers, mean, table."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ._results import (
    SENTENCES,
    Part,
    Result,
    interval_label,
    join,
    percent,
    plain,
    spread_columns,
)

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
    y_true: np.ndarray
    speakers: np.ndarray
    probabilities: np.ndarray | None = None
    left_out: dict | None = None


@dataclass(frozen=True, eq=False, repr=False)
class CrossCorpusResult(Result):
    """Result of :func:`cross_corpus_validate`. ``print(result)`` shows a table.

    Attributes
    ----------
    transfers : tuple of Transfer
        Each transfer has `source` (the names of its corpora), `target` and `classes`.
        The rows of `X` are in `train` (with labels), `adapt` (without labels; empty for
        an estimator that does not adapt) and `test` (scored). The scored rows have
        `predictions`, `y_true`, `speakers` and `probabilities` (a column for each of
        `classes`, or None without `predict_proba`), and `n_speakers` counts their
        speakers. `left_out` counts the recordings of classes that not all of its
        corpora have. The scores are `uar`, `wa` and `uar_interval`, the seconds
        `fit_time` and `score_time`.
    mode : {"transductive", "inductive", "source-only"}
        The argument `mode`. All of the target's speakers are scored, or half of them in
        the inductive mode.
    protocol : {"transductive", "inductive", "source-only"}
        The target rows in the training: rows of scored speakers, rows of other speakers
        only, or none.
    adapted : bool
        True if the fit of the estimator got the target's unlabelled rows.
    uar : float
        Mean UAR over the transfers, between 0 and 1.
    uar_interval : (float, float)
        Bootstrap interval of the mean. It is NaN if a transfer scores a single speaker,
        or without a bootstrap.
    confidence_level : float
        Coverage of the intervals.
    estimators : tuple of estimators or None
        The fitted estimators, with ``return_estimator=True``.
    settings : dict of str to str
        As in :class:`SpeakerCVResult`.
    caveats : tuple of str
        Doubts about the data, which `remarks` repeats.
    baseline : tuple or None
        What :meth:`against` compared the result with.
    unheard_texts, control : CrossCorpusResult or None
        As in :class:`SpeakerCVResult`. Several fits score the rows of a transfer in
        them, and its `fit_time` and `score_time` are sums.
    text_differences : dict or None
        As in :class:`SpeakerCVResult`.
    sentences : {"heard", "unheard", "control"} or None
        As in :class:`SpeakerCVResult`.

    See Also
    --------
    sklearn_ser.inspection.TransferMatrixDisplay : Draw a result.
    sklearn_ser.report.make_report : Make a page of a result.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_selection import cross_corpus_validate
    >>> X, y = np.zeros((16, 1)), ["anger", "sadness"] * 8
    >>> corpora = np.repeat(["emodb", "emovo"], 8)
    >>> speakers = np.tile(np.repeat(["ann", "bob"], 4), 2)
    >>> result = cross_corpus_validate(DummyClassifier(), X, y, corpora, speakers)
    >>> result.table()["emodb"]["emovo"], result.protocol
    (0.5, 'source-only')
    """

    transfers: tuple
    mode: str
    protocol: str
    adapted: bool
    uar: float
    uar_interval: tuple
    confidence_level: float
    estimators: tuple | None
    settings: dict | None = None
    caveats: tuple = ()
    baseline: tuple | None = None
    unheard_texts: Any = None
    control: Any = None
    text_differences: dict | None = None
    sentences: str | None = None

    _evaluation = "cross_corpus_validate"
    _baseline_kinds = ("source-only",)
    _figures = "uar", "uar_interval", "confidence_level", "sentences"

    @property
    def kind(self):
        """The knowledge of the target in training: `protocol`."""
        return self.protocol

    def table(self):
        """Return the UAR of each source and target.

        Returns
        -------
        table : dict of str to dict of str to float
            ``table[source][target]``. Several sources are one key, as in ``"a+b"``.
        """
        return {
            source: {target: transfer.uar for target, transfer in row.items()}
            for source, row in self._by_source().items()
        }

    def _by_source(self):
        """Return ``transfers[source][target]``, by their names."""
        transfers = {}
        for transfer in self.transfers:
            row = transfers.setdefault(join(transfer.source), {})
            row[str(transfer.target)] = transfer
        return transfers

    def parts(self):
        """Return the scored rows of each transfer."""
        return [
            Part(
                name=f"{join(t.source)} to {t.target}",
                rows=t.test,
                draws=np.ones(len(t.test), dtype=int),
                speakers=t.speakers,
                y_true=t.y_true,
                predictions=t.predictions,
                probabilities=t.probabilities,
                classes=t.classes,
                uar=t.uar,
                wa=t.wa,
                uar_interval=t.uar_interval,
            )
            for t in self.transfers
        ]

    def _rows(self):
        targets = sorted({transfer.target for transfer in self.transfers})
        targets = [str(target) for target in targets]
        rows = [["from", *(f"to {target}" for target in targets)]]
        for source, transfers in self._by_source().items():
            figures = {
                target: percent(transfer.uar, transfer.uar_interval)
                for target, transfer in transfers.items()
            }
            rows.append([source, *(figures.get(target, "    -") for target in targets)])
        return rows

    def _notes_above(self):
        known = any(
            np.isfinite(transfer.uar_interval[0]) for transfer in self.transfers
        )
        notes = [f"{self.protocol}: {_PROTOCOLS[self.protocol]}"]
        if self.mode == "inductive":
            notes.append("half of the target speakers were scored")
        notes += filter(None, [SENTENCES[self.sentences]])
        return [*notes, "UAR %" + (interval_label(self) if known else "")]

    def _notes_below(self):
        mean = percent(self.uar, self.uar_interval).strip()
        return [f"mean of {len(self.transfers)}: {mean}", *self._left_out()]

    def _left_out(self):
        """Return a line for each transfer that left out recordings, by their class."""
        return [
            f"{join(t.source)} to {t.target} leaves out {sum(t.left_out.values())} "
            "recordings of classes that not all of its corpora have: "
            + ", ".join(f"{name} ({n})" for name, n in t.left_out.items())
            for t in self.transfers
            if t.left_out
        ]

    def _columns(self):
        """Return the columns of the scored rows, and their probabilities by class."""
        parts = [
            {
                "row": transfer.test,
                "source": np.full(len(transfer.test), join(transfer.source)),
                "target": np.full(len(transfer.test), str(transfer.target)),
                "speaker": transfer.speakers,
                "y_true": transfer.y_true,
                "prediction": transfer.predictions,
            }
            for transfer in self.transfers
        ]
        columns = {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        if any(transfer.probabilities is None for transfer in self.transfers):
            return columns, {}
        classes = np.unique(np.concatenate([t.classes for t in self.transfers]))
        spread = [
            spread_columns(t.probabilities, t.classes, classes, missing=np.nan)
            for t in self.transfers
        ]
        return columns, dict(
            zip(classes.tolist(), np.concatenate(spread).T, strict=True)
        )

    def to_dict(self):
        """Return everything except the predictions as JSON values.

        Returns
        -------
        values : dict
            Scores and intervals of the mean and of each transfer, and chance levels;
            the protocol; settings, seed and versions.
        """
        same = "source", "target", "classes", "n_speakers", "uar", "wa", "uar_interval"
        transfers = [
            {
                **{name: getattr(transfer, name) for name in same},
                "chance": dict(zip(("uar", "wa"), part.chance, strict=True)),
                "n_source": len(transfer.train),
                "n_unlabelled": len(transfer.adapt),
                "n_recordings": len(transfer.test),
                "left_out": transfer.left_out,
                "confusion": part.confusion,
                "fit_time": transfer.fit_time,
                "score_time": transfer.score_time,
            }
            for transfer, part in zip(self.transfers, self.parts(), strict=True)
        ]
        names = *self._figures, "protocol", "mode", "adapted"
        return plain(
            self._shared_values()
            | {name: getattr(self, name) for name in names}
            | {"transfers": transfers}
        )
