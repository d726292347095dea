"""What a corpus is: a declaration of where its files and labels are."""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

NO_AGREEMENT = None
"""The emotion of an utterance whose raters did not agree: it is left out."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file that a licence lets anyone fetch without a form.

    Attributes
    ----------
    url : str
        Where a zip archive lies.
    known_hash : str or None
        Its checksum, ``"md5:..."`` or ``"sha256:..."``. Without one nothing is fetched.
    """

    url: str
    known_hash: str | None


@dataclass(frozen=True, kw_only=True)
class LabelLines:
    """Labels in text files, one utterance a line, its raters in the lines below.

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

    def read(self, path):
        """Yield (utterance, columns) of a file."""
        with open(path, encoding="utf-8", errors="replace") as stream:
            found = None
            for text in stream:
                if match := re.match(self.line, text.strip()):
                    if found:
                        yield found
                    columns = _groups(match)
                    found = columns.pop("utterance"), columns
                elif found and (match := re.match(self.rater or "$^", text.strip())):
                    who, label = _groups(match).values()
                    said = found[1].get("raters")
                    told = f"{who}: {label.replace(';', ',')}"
                    found[1]["raters"] = f"{said}; {told}" if said else told
            if found:
                yield found


@dataclass(frozen=True, kw_only=True)
class LabelVotes:
    """Labels in CSV files, one rater's intensities of several emotions a row.

    The emotion with the largest mean is the utterance's; no emotion at all is neutral,
    and a tie is no agreement.

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

    def read(self, path):
        """Yield (utterance, columns) of a file."""
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
            reader = csv.DictReader(stream)
            names = {(n or "").strip().lower(): n for n in reader.fieldnames or ()}
            keys = [_first(names, options) for options in self.utterance]
            votes = {word: _first(names, own) for word, own in self.votes.items()}
            if None in keys or None in votes.values():
                return
            ratings = {}
            for row in reader:
                name = "_".join((row[key] or "").strip() for key in keys)
                given = [_number(row[column]) for column in votes.values()]
                ratings.setdefault(name, []).append(given)
        for name, given in ratings.items():
            sums = [sum(column) for column in zip(*given, strict=True)]
            ranked = sorted(zip(sums, votes, strict=True), reverse=True)
            emotion = ranked[0][1] if ranked[0][0] > 0 else "neutral"
            tie = ranked[0][0] > 0 and ranked[0][0] == ranked[1][0]
            yield (
                name,
                {"emotion": "tie" if tie else emotion, "raters": str(len(given))},
            )


@dataclass(frozen=True, kw_only=True)
class SpeakerTable:
    """What a CSV file tells about speakers.

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
        """Yield (speaker, columns) of a file."""
        with open(path, encoding="utf-8-sig", newline="") as stream:
            for row in csv.DictReader(stream):
                told = {new: row.get(old) or "" for old, new in self.columns.items()}
                yield (row.get(self.speaker) or "").strip(), told


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """A corpus as its authors distribute it.

    Attributes
    ----------
    name, title, language : str
        A short name in lower case, the full one, and what is spoken.
    pattern : str or tuple of str
        Regular expressions, tried in their order, of a file's path without its suffix,
        from any folder on: "speaker/emotion/003", "03a01Wa". Letter case is ignored.
        Named groups are columns; ``speaker``, ``emotion`` and, where known, ``gender``,
        ``text``, ``session``, ``intensity`` are the usual names. ``utterance`` is what
        label files call the recording, else the part of the path that matched.
    formats : mapping of str to str
        Columns made of others: ``{"speaker": "{gender}{session}"}``.
    codes : mapping of str to mapping or callable
        What codes in a column mean, in lower case. An emotion of None is left out.
    labels : LabelLines, LabelVotes or None
        Where the emotions are, if file names do not tell.
    speakers : SpeakerTable or None
        Where more is told about speakers.
    license, citation, access : str
        The terms, what to cite, and how to get the corpus.
    traps : tuple of str
        What others fell into.
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
    language: str = ""
    license: str = ""
    citation: str = ""
    access: str = ""
    traps: tuple = ()
    archive: Archive | None = None

    def parse(self, path):
        """Return the columns that a path tells, or None if it is of no recording.

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
        patterns = (self.pattern,) if isinstance(self.pattern, str) else self.pattern
        for pattern in patterns:
            match = re.search(f"(?:^|/)({pattern})$", path, re.IGNORECASE)
            if match:
                told = {"utterance": match[1].replace("/", "_"), **_groups(match)}
                made = {name: f.format(**told) for name, f in self.formats.items()}
                return self.decode(told | made)
        return None

    def decode(self, columns):
        """Return columns with what their codes mean.

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


def _first(names, options):
    return next((names[o.lower()] for o in options if o.lower() in names), None)


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return 0.0
