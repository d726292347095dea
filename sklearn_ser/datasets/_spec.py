"""Declarations of corpora: where their files and labels are, and what they mean."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sklearn_ser.datasets._text_files import lines_of, rows_of

NO_AGREEMENT = None
"""The emotion of an utterance whose raters did not agree; it is left out."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file that anyone may download without filling in a form.

    Attributes
    ----------
    url : str
        Where a zip archive lies.
    known_hash : str or None
        Its checksum, ``"md5:..."`` or ``"sha256:..."``. With None it is not fetched.
    """

    url: str
    known_hash: str | None


@dataclass(frozen=True, kw_only=True)
class LabelLines:
    """Labels in text files: one utterance per line, its raters in the lines below.

    Attributes
    ----------
    files : str
        The files, as a shell pattern of the end of their paths.
    line : str
        A regular expression with the groups ``utterance`` and ``emotion``; other groups
        become columns.
    rater : str or None
        A regular expression of a rater's line, with the groups ``rater`` and ``label``.
    """

    files: str
    line: str
    rater: str | None = None

    def read(self, paths):
        """Yield (utterance, columns, path) of files.

        Parameters
        ----------
        paths : iterable of path
            The files.

        Yields
        ------
        utterance : str
            Its name.
        columns : dict
            What the file says of it.
        path : path
            The file.
        """
        for path in paths:
            utterance, columns = None, {}
            for text in lines_of(path):
                if match := re.match(self.line, text):
                    if utterance is not None:
                        yield utterance, columns, path
                    columns = _groups(match)
                    utterance = columns.pop("utterance")
                elif utterance is not None and (
                    match := re.match(self.rater or "$^", text)
                ):
                    rating = f"{match['rater']}: {match['label'].replace(';', ',')}"
                    earlier = columns.get("raters")
                    columns["raters"] = f"{earlier}; {rating}" if earlier else rating
            if utterance is not None:
                yield utterance, columns, path


@dataclass(frozen=True, kw_only=True)
class LabelVotes:
    """Labels in CSV files: each row has one rater's intensities of several emotions.

    The utterance gets the emotion with the largest mean. It is neutral if all are zero,
    and left out if there is a tie.

    Attributes
    ----------
    files : str
        As for `LabelLines`; tables without the columns are skipped.
    utterance : tuple of tuple of str
        The columns that name an utterance, joined by "_", each under one of its names.
    votes : mapping of str to tuple of str
        The columns of each emotion.
    """

    files: str
    utterance: tuple
    votes: Mapping

    def read(self, paths):
        """Yield (utterance, columns, path) of files, which share utterances.

        Parameters
        ----------
        paths : iterable of path
            The files.

        Yields
        ------
        utterance : str
            Its name.
        columns : dict
            Its emotion and the number of its raters.
        path : path
            The first file that names it.
        """
        ratings = {}
        for path in paths:
            for row in rows_of(path):
                parts = [_first(row, names) for names in self.utterance]
                votes = [_number(_first(row, names)) for names in self.votes.values()]
                if all(parts) and not all(np.isnan(votes)):
                    rated, _ = ratings.setdefault("_".join(parts), ([], path))
                    rated.append(votes)
        for name, (votes, path) in ratings.items():
            sums = np.nansum(votes, axis=0)
            largest = [
                w for w, s in zip(self.votes, sums, strict=True) if s == max(sums)
            ]
            emotion = largest[0] if len(largest) == 1 else "tie"
            emotion = emotion if max(sums) > 0 else "neutral"
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
        Columns of the file, and what they are called here.
    """

    files: str
    speaker: str
    columns: Mapping

    def read(self, path):
        """Yield (speaker, columns) of a file.

        Parameters
        ----------
        path : path
            The file.

        Yields
        ------
        speaker : str
            Its name.
        columns : dict
            What the file says of it.
        """
        for row in rows_of(path):
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
        Other names that it goes by.
    pattern : str or tuple of str
        Regular expressions, tried in their order, of a file's path without its suffix,
        from any folder on: "speaker/emotion/003", "03a01Wa". Letter case is ignored.
        Named groups are columns; ``speaker``, ``emotion`` and, where known, ``gender``,
        ``text``, ``session``, ``intensity`` are the usual names. ``utterance`` is what
        label files call the recording, else the part of the path that matched.
    formats : mapping of str to str
        Columns that are composed of others: ``{"speaker": "{gender}{session}"}``.
    codes : mapping of str to mapping or callable
        The meaning of the codes in a column, which are compared in lower case. An
        utterance whose emotion means None is left out.
    labels : LabelLines, LabelVotes or None
        The files that hold the emotions, if file names do not.
    speakers : SpeakerTable or None
        The table that holds more about speakers.
    license, citation, access : str
        The terms, what to cite, and how to get the corpus.
    traps : tuple of str
        Mistakes that are easy to make with this corpus.
    archive : Archive or None
        What ``download=True`` fetches.

    See Also
    --------
    load_corpus : Loads a corpus from its declaration.
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
                    f"pattern {pattern!r} of {self.name} has no group {missing}, nor "
                    "have formats."
                )

    @property
    def _patterns(self):
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern

    def parse(self, path):
        """Return the columns that a path holds, or None if it is not a recording's.

        Parameters
        ----------
        path : str
            Relative, with "/" between folders, without suffix.

        Returns
        -------
        columns : dict of str to str, or None

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
        """Return columns with the meaning of their codes in place of the codes.

        Parameters
        ----------
        columns : dict of str to str

        Returns
        -------
        columns : dict of str to str or None

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


def _groups(match):
    return {k: v.strip() for k, v in match.groupdict().items() if v is not None}


def _first(row, names):
    return next((row[n.lower()] for n in names if n.lower() in row), None)


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan
