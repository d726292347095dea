"""The results by speaker and across corpora: folds or transfers, figures, table."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ._results import (
    SENTENCES,
    FoldView,
    Part,
    Result,
    interval_label,
    join,
    percent,
    plain,
    shorten,
)

_KINDS = {
    "inductive": "no recording of a test speaker was enrolled",
    "enrolled": "this many unlabelled recordings of each speaker, not scored",
    "transductive": "all recordings of the test speakers were enrolled, unlabelled",
}

_PROTOCOLS = {
    "transductive": "target utterances (unlabelled) were seen in training",
    "inductive": "unlabelled utterances of other target speakers were seen in training",
    "source-only": "no target utterance was seen in training",
}


class Fold(NamedTuple):
    """One fold of :func:`speaker_cross_validate`: rows, figures, seconds."""

    train: np.ndarray
    test: np.ndarray
    test_speakers: np.ndarray
    uar: float
    wa: float
    fit_time: float
    score_time: float
    history: list | None = None
    enrolled: tuple = ()

    def draws(self):
        """Return the draw that scored each row of `test`, counted from 1."""
        n_draws = max(1, len(self.enrolled))
        # Each draw scores the same number of rows.
        return np.repeat(np.arange(1, n_draws + 1), len(self.test) // n_draws)


@dataclass(frozen=True, eq=False, repr=False)
class SpeakerCVResult(Result):
    """Result of :func:`speaker_cross_validate`. ``print(result)`` shows a table.

    The pool holds the test rows of all folds, in the order of the folds. It leaves out
    a row that no fold tests. A row counts twice if two folds test it, or if two draws
    of an enrolment score it.

    Attributes
    ----------
    folds : tuple of Fold
        Each fold has `train` and `test` (row indices), `test_speakers`, `uar`, `wa`,
        `fit_time` and `score_time` (seconds). `history` has the losses of each epoch,
        if the estimator has a `history_`. `enrolled` has the rows of each draw of an
        enrolment, and then `test` has the scored rows of one draw after the other.
    uar, wa : float
        Pooled unweighted average recall and accuracy, between 0 and 1.
    uar_interval, wa_interval : (float, float)
        Bootstrap intervals over speakers. They are NaN with a single test speaker, or
        without a bootstrap.
    confidence_level : float
        Coverage of the intervals.
    rows : ndarray of shape (n_tested,)
        The row of `X` behind each pooled entry.
    y_true, predictions, speakers : ndarray of shape (n_tested,)
        True emotion, predicted emotion and speaker.
    probabilities : ndarray of shape (n_tested, n_classes) or None
        Zero for a class that the training rows lack. None without `predict_proba`.
    classes : ndarray of shape (n_classes,)
        The sorted classes of `y`: columns of `probabilities`, axes of `confusion`.
    confusion : ndarray of shape (n_classes, n_classes)
        Pooled counts. Rows are true classes, and columns are predicted classes.
    estimators : tuple of estimators or None
        The fitted estimators, with ``return_estimator=True``.
    protocol : str or None
        The frozen protocol behind the splits, with its version and hash.
    settings : dict of str to str
        The estimator's parameters, the splitter, the seed of the bootstrap, and the
        versions of the packages.
    kind : str
        The knowledge of the test speakers in prediction: "inductive", "transductive",
        or, for example, "enrolled (10)", "enrolled (2 to 10)" or
        'enrolled (10, "neutral")', by the numbers that were enrolled. Rank only figures
        of one kind together.
    draws : ndarray of shape (n_tested,) or None
        The draw of an enrolment that scored each row, counted from 1.
    caveats : tuple of str
        Doubts about the data, which `remarks` repeats.
    baseline : tuple or None
        What :meth:`against` compared the result with.
    unheard_texts, control : SpeakerCVResult or None
        With `texts`, the result on unheard speakers and sentences. With `control`, that
        of as few training recordings whose sentences are heard.
    text_differences : dict or None
        The UAR on unheard sentences minus that on ``"heard"`` ones, and minus that of
        the ``"control"``. Each is a pair of the difference and its interval.
    sentences : {"heard", "unheard", "control"} or None
        Whether the test sentences are in the training data. None if nobody knows.

    See Also
    --------
    sklearn_ser.inspection.SpeakerRecallDisplay : Draw a result.
    sklearn_ser.report.make_report : Make a page of a result.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_selection import speaker_cross_validate
    >>> X, y = np.zeros((8, 1)), ["anger", "sadness"] * 4
    >>> speakers = np.repeat(["ann", "bob"], 4)
    >>> result = speaker_cross_validate(DummyClassifier(), X, y, speakers)
    >>> result.uar, result.kind, result.confusion.tolist()
    (0.5, 'inductive', [[4, 0], [4, 0]])
    """

    folds: tuple
    uar: float
    wa: float
    uar_interval: tuple
    wa_interval: tuple
    confidence_level: float
    rows: np.ndarray
    y_true: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray | None
    classes: np.ndarray
    speakers: np.ndarray
    confusion: np.ndarray
    estimators: tuple | None
    protocol: str | None = None
    settings: dict | None = None
    kind: str = "inductive"
    draws: np.ndarray | None = None
    caveats: tuple = ()
    baseline: tuple | None = None
    unheard_texts: Any = None
    control: Any = None
    text_differences: dict | None = None
    sentences: str | None = None

    _evaluation = "speaker_cross_validate"
    _alignment = "<<><"  # numbers of rows are right-aligned
    _figures = (
        "uar",
        "wa",
        "uar_interval",
        "wa_interval",
        "confidence_level",
        "classes",
        "confusion",
        "protocol",
        "sentences",
    )

    def per_speaker(self):
        """Return the UAR of each test speaker.

        Returns
        -------
        uars : dict of speaker to float
            Sorted by speaker. Each UAR is over the classes in the speaker's rows.
        """
        groups = self.parts()[0].groups(self.speakers)
        return {group.value.item(): group.uar for group in groups}

    def parts(self):
        """Return the scored rows, as a list of one part."""
        ones = np.ones(len(self.rows), dtype=int)
        names = [each.name for each in fields(Part)]
        values = {name: getattr(self, name) for name in names if hasattr(self, name)}
        draws = ones if self.draws is None else self.draws
        return [Part(**values | {"name": "", "draws": draws, "baseline": None})]

    def _folds(self):
        base = None if self.baseline is None else self.baseline[0]
        return [
            FoldView(
                number,
                tuple(fold.test_speakers.tolist()),
                len(np.unique(fold.test)),
                fold.uar,
                fold.wa,
                fold.history,
                None if base is None else base.folds[number - 1].uar,
            )
            for number, fold in enumerate(self.folds, 1)
        ]

    def _frozen_protocol(self):
        return self.protocol

    def _rows(self):
        label = interval_label(self) if np.isfinite(self.uar_interval[0]) else ""
        head = ["fold", "test speakers", "n", "UAR %" + label, "WA %" + label]
        rows = [
            [
                str(fold.number),
                shorten(fold.test_speakers),
                str(fold.n_recordings),
                percent(fold.uar),
                percent(fold.wa),
            ]
            for fold in self._folds()
        ]
        (part,) = self.parts()
        pooled = [
            "pooled",
            f"{len(np.unique(self.speakers))} speakers",
            str(part.n_recordings),
            percent(self.uar, self.uar_interval),
            percent(self.wa, self.wa_interval),
        ]
        return [head, *rows, pooled]

    def _notes_above(self):
        kind = f"{self.kind}: {_KINDS[self.kind.split()[0]]}"
        return [kind, *filter(None, [SENTENCES[self.sentences]])]

    def _notes_below(self):
        (part,) = self.parts()
        notes = []
        if len(self.rows) > part.n_recordings:
            draws = f", {part.n_draws} draws" if part.n_draws > 1 else ""
            notes.append(
                f"{part.n_recordings} recordings{draws}: {len(self.rows)} predictions"
            )
        return [*notes, self.protocol] if self.protocol else notes

    def _labels(self, number):
        sizes = [len(fold.test) for fold in self.folds]
        labels = {"fold": np.repeat(np.arange(1, len(sizes) + 1), sizes)}
        if self.kind.startswith("enrolled"):
            labels["draw"] = self.draws
        return labels

    def to_dict(self):
        """Return everything except the predictions as JSON values.

        Returns
        -------
        values : dict
            Scores, intervals and chance levels; figures of each fold and speaker; the
            confusion matrix; the protocol with its hash; settings, seed and versions.
        """
        folds = [
            {
                "fold": number,
                "speakers": fold.test_speakers,
                "n": len(np.unique(fold.test)),
                **{name: getattr(fold, name) for name in Fold._fields[3:-1]},
            }
            for number, fold in enumerate(self.folds, 1)
        ]
        (part,) = self.parts()
        values = self._shared_values() | {
            **{name: getattr(self, name) for name in self._figures},
            "chance": dict(zip(("uar", "wa"), part.chance, strict=True)),
            "n_recordings": part.n_recordings,
            "n_draws": part.n_draws,
            "n_predictions": len(self.rows),
            "n_speakers": len(np.unique(self.speakers)),
            "per_speaker": self.per_speaker(),
            "folds": folds,
        }
        return plain(values)


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

    def _labels(self, number):
        transfer = self.transfers[number]
        names = {"source": join(transfer.source), "target": str(transfer.target)}
        n_rows = len(transfer.test)
        return {what: np.full(n_rows, name) for what, name in names.items()}

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
