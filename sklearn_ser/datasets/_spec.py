"""Declarations of corpora: their files, their labels, and the meaning of both."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .._csv import read_table

NO_AGREEMENT = None
"""The emotion of an utterance whose raters did not agree; it is left out."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file that anyone may download without filling in a form.

    Attributes
    ----------
    url : str
        The address of a zip archive.
    known_hash : str or None
        Its checksum, ``"md5:..."`` or ``"sha256:..."``. An archive with None is not
        downloaded.
    """

    url: str
    known_hash: str | None


@dataclass(frozen=True, kw_only=True)
class LabelLines:
    """Labels in text files: one utterance per line, and its raters in the next lines.

    Attributes
    ----------
    files : str
        The files, as a shell pattern for the end of their paths.
    line : str
        A regular expression with the groups ``utterance`` and ``emotion``. Other groups
        become columns.
    rater : str or None
        A regular expression for a rater's line, with the groups ``rater`` and
        ``label``.
    """

    files: str
    line: str
    rater: str | None = None

    def read(self, paths):
        """Yield the name, the dict of columns and the file of each utterance.

        Parameters
        ----------
        paths : iterable of path
            The files.
        """
        for path in paths:
            found = []
            text = Path(path).read_text("utf-8-sig", "replace")
            for line in map(str.strip, text.split("\n")):
                if match := re.match(self.line, line):
                    columns = _groups(match)
                    found.append((columns.pop("utterance"), columns, path))
                elif found and (match := re.match(self.rater or "$^", line)):
                    rating = f"{match['rater']}: {match['label'].replace(';', ',')}"
                    earlier = columns.get("raters")
                    columns["raters"] = f"{earlier}; {rating}" if earlier else rating
            yield from found


@dataclass(frozen=True, kw_only=True)
class LabelVotes:
    """Labels in CSV files: each row has one rater's intensities of several emotions.

    The utterance gets the emotion with the largest mean over the raters that gave one.
    It is neutral if all means are zero, and it is left out if there is a tie.

    Attributes
    ----------
    files : str
        As in `LabelLines`. Tables without the columns are skipped.
    utterance : tuple of tuple of str
        The columns that name an utterance; their values are joined by "_". Each column
        has one or several possible names.
    votes : mapping of str to tuple of str
        The columns of each emotion.
    """

    files: str
    utterance: tuple
    votes: Mapping

    def read(self, paths):
        """Yield the name of each utterance, its emotion and raters, and its first file.

        Parameters
        ----------
        paths : iterable of path
            The files.
        """
        ratings = {}
        for path in paths:
            for row in _rows(path):
                parts = [_first(row, names) for names in self.utterance]
                votes = [_number(_first(row, names)) for names in self.votes.values()]
                if all(parts) and not all(np.isnan(votes)):
                    rated, _ = ratings.setdefault("_".join(parts), ([], path))
                    rated.append(votes)
        for name, (votes, path) in ratings.items():
            n_votes = np.maximum(1, np.sum(~np.isnan(votes), axis=0))
            means = np.round(np.nansum(votes, axis=0) / n_votes, 9)
            largest = [
                w for w, m in zip(self.votes, means, strict=True) if m == max(means)
            ]
            emotion = largest[0] if len(largest) == 1 else "tie"
            emotion = emotion if max(means) > 0 else "neutral"
            yield name, {"emotion": emotion, "raters": str(len(votes))}, path


@dataclass(frozen=True, kw_only=True)
class SpeakerTable:
    """A CSV file with more columns of each speaker.

    Attributes
    ----------
    files : str
        As for `LabelLines`.
    speaker : str
        The column that names the speaker.
    columns : mapping of str to str
        Columns of the file, and their names in this library.
    """

    files: str
    speaker: str
    columns: Mapping

    def read(self, path):
        """Yield the name and the dict of columns of each speaker.

        Parameters
        ----------
        path : path
            The file.
        """
        for row in _rows(path):
            columns = {
                name: _first(row, [column]) or ""
                for column, name in self.columns.items()
            }
            yield _first(row, [self.speaker]) or "", columns


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """A corpus as its authors distribute it.

    Attributes
    ----------
    name, title, language : str
        A short name in lower case, the full name, and the language spoken.
    aliases : tuple of str
        Other names of the corpus.
    pattern : str or tuple of str
        Regular expressions for a file's path without its suffix, tried in their order.
        A match may start at any folder: "speaker/emotion/003", "03a01Wa". Letter case
        is ignored. Named groups are columns, usually ``speaker``, ``emotion`` and, if
        known, ``gender``, ``text``, ``session`` and ``intensity``. The group
        ``utterance`` is the name of the recording in label files. By default it is the
        part of the path that matches. ``text`` is a code of the sentence, the same
        wherever the same words are said, and empty or absent where speech is free.
    formats : mapping of str to str
        Columns composed of other columns: ``{"speaker": "{gender}{session}"}``.
    codes : mapping of str to mapping or callable
        The meaning of the codes in a column. Codes are compared in lower case. An
        utterance is left out if the meaning of its emotion is None.
    labels : LabelLines, LabelVotes or None
        The files that hold the emotions, if file names do not.
    speakers : SpeakerTable or None
        The table with more columns of the speakers.
    channel : "mean" or int
        The channel to use of recordings that have several.
    counts : mapping of str to int
        The number of recordings of each emotion in the whole corpus, where known.
    license, citation, access : str
        The terms, the citation, and the way to get the corpus.
    traps : tuple of str
        Known problems of this corpus.
    archive : Archive or None
        The archive that ``download=True`` downloads.

    Examples
    --------
    >>> from sklearn_ser.datasets import CorpusSpec
    >>> spec = CorpusSpec(
    ...     name="mine",
    ...     title="My corpus",
    ...     pattern="(?P<speaker>[a-z]+)/(?P<emotion>[an])[0-9]+",
    ...     codes={"emotion": {"a": "anger", "n": "neutral"}},
    ... )
    >>> spec.parse("anna/a01")["emotion"]
    'anger'
    """

    name: str
    title: str
    pattern: str | tuple
    codes: Mapping[str, Mapping | Callable]
    formats: Mapping[str, str] = field(default_factory=dict)
    labels: LabelLines | LabelVotes | None = None
    speakers: SpeakerTable | None = None
    aliases: tuple = ()
    language: str = ""
    channel: str | int = "mean"
    counts: Mapping[str, int] = field(default_factory=dict)
    license: str = ""
    citation: str = ""
    access: str = ""
    traps: tuple = ()
    archive: Archive | None = None

    def __post_init__(self):
        for pattern in self._patterns:
            groups = re.compile(pattern).groupindex
            columns = {*groups, *self.formats}
            wanted = {"speaker"} if self.labels else {"speaker", "emotion"}
            if missing := sorted(wanted - columns):
                raise ValueError(
                    f"pattern {pattern!r} of {self.name} has no group {missing}, and "
                    "formats have none either."
                )

    @property
    def _patterns(self):
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern

    def parse(self, path):
        """Return the dict of columns that a path holds; None if it is no recording's.

        Parameters
        ----------
        path : str
            Relative, with "/" between folders, without suffix.

        Raises
        ------
        KeyError
            If a code has no meaning.
        """
        for pattern in self._patterns:
            match = re.search(f"(?:^|/)({pattern})$", path, re.IGNORECASE)
            if match:
                columns = {"utterance": match[1].replace("/", "_"), **_groups(match)}
                composed = {
                    name: template.format(**columns)
                    for name, template in self.formats.items()
                }
                return self.decode(columns | composed)
        return None

    def decode(self, columns):
        """Return a dict of columns with the meanings of codes in their place.

        Parameters
        ----------
        columns : dict of str to str
            The codes.

        Raises
        ------
        KeyError
            If a code has no meaning.
        """
        return {name: self._meaning(name, code) for name, code in columns.items()}

    def _meaning(self, column, code):
        codes = self.codes.get(column, str)
        if callable(codes):
            return codes(code)
        return {k.lower(): word for k, word in codes.items()}[code.lower()]


def _rows(path):
    names, rows = read_table(path, errors="replace")
    for _, row in rows:
        yield dict(zip(names, row, strict=False))


def _groups(match):
    return {k: v.strip() for k, v in match.groupdict().items() if v is not None}


def _first(row, names):
    return next((row[n.lower()] for n in names if n.lower() in row), None)


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan
