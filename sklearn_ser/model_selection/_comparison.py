"""The result of a comparison: statistics over seeds and speakers, and a table."""

import io
import json
import os
import re
import unicodedata
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import zip_longest
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata, wilcoxon

from .._csv import write_csv
from .._files import atomic_write
from .._validation import import_or_raise
from ..metrics._bootstrap import accuracy, mean_interval, mean_recall, paired_difference
from ._results import bounds, html_row, plain, table_lines

_ENOUGH_SEEDS = 5  # fewer are preliminary, and get no p-value
_EXACT = 13  # speakers, up to which all signs are enumerated
_KNOWN = {  # of the test speakers, by the kind of a figure
    "inductive": "nothing of the test speakers is known",
    "enrolled": "unlabelled recordings of the test speakers, not scored, are known",
    "transductive": "all unlabelled recordings of the test speakers are known",
}
# Of LaTeX: characters of a line, signs, accents, and what every LaTeX knows.
_NAME, _CELL, _NOTE = 14, 12, 72
_SIGNS = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "±": "$\\pm$",
    "≤": "$\\leq$",
    "≥": "$\\geq$",
}
for _letter in "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ":
    _name = unicodedata.name(_letter).split()[-1].replace("LAMDA", "LAMBDA")
    _name = _name.capitalize() if _letter.isupper() else _name.lower()
    _SIGNS[_letter] = f"$\\{_name}$"
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0326": "textcommabelow",
    "\u0327": "c",
}
_PLAIN = "ßæÆœŒøØłŁı¡¿§£€©®™°²³¹½¼¾·×÷–—‘’“”†‡•…→←"
_ENDS = "", "_std", "_interval"
_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Comparison</title>
<meta name="viewport" content="width=device-width">
<style>body {{font: 16px sans-serif; margin: 5vw}} table {{border-collapse: collapse}}
th, td {{padding: 0.3em 0.8em; text-align: left; border-bottom: 1px solid #ccc}}
div {{overflow-x: auto}} svg {{max-width: 100%; min-width: 22em; height: auto}}</style>
<h1>Comparison</h1>
{description}<div>{table}</div>
<div>{figure}</div>
</html>
"""


class Row(NamedTuple):
    """A method in a comparison. UAR and WA are shares, and NaN is unknown."""

    method: str
    kind: str
    note: str
    n_seeds: int | None
    n_speakers: int
    uar: float
    uar_std: float
    uar_interval: tuple
    wa: float
    wa_std: float
    wa_interval: tuple
    reference: str
    unheard_uar: float = np.nan
    unheard_uar_std: float = np.nan
    unheard_uar_interval: tuple = (np.nan, np.nan)
    control_uar: float = np.nan
    control_uar_std: float = np.nan
    control_uar_interval: tuple = (np.nan, np.nan)
    difference: float = np.nan
    difference_interval: tuple = (np.nan, np.nan)
    wins: int | None = None
    p_value: float = np.nan
    p_holm: float = np.nan

    @property
    def label(self):
        """The name of the method, and what is to be noted."""
        return f"{self.method} ({self.note})" if self.note else self.method


def rows_of_methods(methods, results, references, bootstrap):
    """Return the row of each method, ordered by kind."""
    rows = []
    for kind in sorted(references, key=list(_KNOWN).index):
        base, block = references[kind], []
        for name in (name for name, method in methods.items() if method.kind == kind):
            own = list(results[name].values())
            row = {"method": name, "note": methods[name].note, "reference": base}
            row["kind"] = own[0].kind if kind == "enrolled" else kind
            row |= _figures(own, bootstrap)
            if methods[name].seeds == [None]:
                row["n_seeds"] = None
            if name != base:
                row |= _against(own, results[base].values(), bootstrap)
                if any(_is_preliminary(methods[each]) for each in (name, base)):
                    row["p_value"] = np.nan
            block.append(Row(**row))
        adjusted = holm([row.p_value for row in block])
        rows += [r._replace(p_holm=p) for r, p in zip(block, adjusted, strict=True)]
    return rows


def _is_preliminary(method):
    return method.seeds != [None] and len(method.seeds) < _ENOUGH_SEEDS


def _compared(results):
    """Return the scored parts of all seeds, of unheard sentences if there are any."""
    return [
        part
        for result in results
        for part in (getattr(result, "unheard_texts", None) or result).parts()
    ]


def _figures(results, bootstrap):
    """Return mean, deviation and interval of the scores of a method."""
    parts = [part for result in results for part in result.parts()]
    row = {"n_seeds": len(results), "n_speakers": len(mean_by_speaker(results))}
    for what, score in ("uar", mean_recall), ("wa", accuracy):
        scores = [getattr(part, what) for part in parts]
        by_seed = np.reshape(scores, (len(results), -1)).mean(axis=1)
        row[what] = float(by_seed.mean())
        row[f"{what}_std"] = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else np.nan
        row[f"{what}_interval"] = mean_interval(parts, *bootstrap, score=score)
    for name, attribute in ("unheard", "unheard_texts"), ("control", "control"):
        others = [getattr(result, attribute, None) for result in results]
        if all(others):
            figures = _figures(others, bootstrap)
            row |= {f"{name}_uar{end}": figures[f"uar{end}"] for end in _ENDS}
    return row


def mean_by_speaker(results):
    """Return the UAR of each speaker, averaged over seeds and transfers."""
    uars = {}
    for part in _compared(results):
        for group in part.groups(part.speakers):
            uars.setdefault(group.value, []).append(group.uar)
    return {speaker: float(np.mean(uars[speaker])) for speaker in sorted(uars)}


def _against(results, references, bootstrap):
    """Return the figures that compare the results of a method with the reference."""
    own, base = mean_by_speaker(results), mean_by_speaker(references)
    pairs = [own[speaker] - base[speaker] for speaker in own]
    pairs = np.round(pairs, 12)  # zero where both are equal
    compared = paired_difference(_compared(results), _compared(references), *bootstrap)
    return {
        "difference": compared.difference,
        "difference_interval": compared.difference_interval,
        "wins": int((pairs > 0).sum()),
        "p_value": signed_rank(pairs),
    }


def signed_rank(differences):
    """Return the p-value of Wilcoxon's signed-rank test; zeros do not count.

    It is exact for a few speakers, also with ties. SciPy's is then the same, but takes
    seconds.
    """
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    if len(differences) > _EXACT:
        return float(wilcoxon(differences).pvalue)
    ranks = rankdata(np.abs(differences))
    signs = np.arange(2 ** len(ranks))[:, None] >> np.arange(len(ranks)) & 1
    sums, found = signs @ ranks, ranks[differences > 0].sum()
    return float(min(1, 2 * min(np.mean(sums <= found), np.mean(sums >= found))))


def holm(p_values):
    """Return p-values corrected by Holm's method; NaN is no test."""
    adjusted, largest = np.full(len(p_values), np.nan), 0.0
    n_tests = int(np.isfinite(p_values).sum())
    for rank, place in enumerate(np.argsort(p_values)[:n_tests]):
        largest = max(largest, min(1.0, (n_tests - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted.tolist()


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Result of :func:`compare`. ``print(comparison)`` shows a table.

    Attributes
    ----------
    rows : tuple of Row
        A row for each method, ordered by kind: `method`, `kind`, `note`, `n_seeds`
        (None for a method without a random state), `n_speakers`, `uar`, `uar_std` (over
        the seeds), `uar_interval` (over the speakers), `wa`, `wa_std`, `wa_interval`,
        `reference`, `unheard_uar` and `control_uar` with `_std` and `_interval` (with
        `texts`, and with `control`), `difference` (of the UAR), `difference_interval`,
        `wins` (the number of speakers with a higher UAR than with the reference),
        `p_value` and `p_holm`. UAR and WA are between 0 and 1, and NaN is an unknown
        figure.
    results : dict of str to dict of int to SpeakerCVResult
        The result of each method and seed: ``results["dsnet"][0]``. The seed of a
        method without a random state is None. Across corpora, the results are of the
        class :class:`CrossCorpusResult`.
    confidence_level : float
        Coverage of the intervals.

    See Also
    --------
    sklearn_ser.inspection.ComparisonDisplay : Draw the differences.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_selection import compare
    >>> y, speakers = ["anger", "sadness"] * 4, np.repeat(["ann", "bob"], 4)
    >>> methods = {"guess": DummyClassifier(random_state=0)}
    >>> comparison = compare(methods, np.zeros((8, 1)), y, speakers)
    >>> print(comparison.to_markdown())
    | method | seeds | UAR % [95% interval] | WA % [95% interval] | difference \
[95% interval] | wins | p |
    |---|---|---|---|---|---|---|
    | *inductive: nothing of the test speakers is known* | | | | | | |
    | guess | 1 | 50.0 [50.0, 50.0] | 50.0 [50.0, 50.0] | reference | - | - |
    <BLANKLINE>
    Preliminary: with fewer than 5 seeds, a method has no p-value.
    """

    rows: tuple
    results: dict
    confidence_level: float

    def per_speaker(self):
        """Return the UAR of each speaker, averaged over the seeds.

        Returns
        -------
        uars : dict of str to dict of speaker to float
            By method and speaker. Across corpora, speakers are ``"corpus/speaker"``.
        """
        return {
            name: mean_by_speaker(own.values()) for name, own in self.results.items()
        }

    def _head(self):
        interval = f" [{100 * self.confidence_level:g}% interval]"
        figures = ["UAR %", "WA %"]
        if self._has("control_uar"):
            figures.append("UAR %, control")
        if self._has("unheard_uar"):
            figures.append("UAR %, unheard sentences")
        figures = [f"{name}{interval}" for name in (*figures, "difference")]
        return ["method", "seeds", *figures, "wins", "p"]

    def _has(self, name):
        return any(np.isfinite(getattr(row, name)) for row in self.rows)

    def _blocks(self):
        """Return a title and rows of cells for each kind."""
        blocks = {}
        for row in self.rows:
            title = f"{row.kind}: {_KNOWN[row.kind.split()[0]]}"
            blocks.setdefault(title, []).append(_cells(row))
        return blocks.items()

    def _notes(self):
        """Return sentences on what the figures cannot show."""
        found = []
        if any(row.n_seeds and row.n_seeds < _ENOUGH_SEEDS for row in self.rows):
            found.append(
                f"Preliminary: with fewer than {_ENOUGH_SEEDS} seeds, a method has no "
                "p-value."
            )
        if self._has("control_uar"):
            found.append(
                "The control trains on as few recordings as the methods on unheard "
                "sentences, but on the sentences that are tested."
            )
        if self._has("unheard_uar"):
            found.append("Differences, wins and p are of unheard sentences.")
        return found

    def __repr__(self):
        blocks = [(title, _all(printable, rows)) for title, rows in self._blocks()]
        table = [self._head(), *(row for _, rows in blocks for row in rows)]
        head, *rest = table_lines(table)
        lines = [head]
        for title, rows in blocks:
            lines += [printable(title), *rest[: len(rows)]]
            rest = rest[len(rows) :]
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self):
        return self.to_html()

    def to_markdown(self):
        """Return the table in Markdown.

        Returns
        -------
        text : str
            A table with a row for each method.
        """
        head = self._head()
        lines = [head, ["---"] * len(head)]
        for title, rows in self._blocks():
            lines.append([f"*{_markdown(title)}*", *[""] * (len(head) - 1)])
            lines += _all(_markdown, rows)
        texts = ["| " + " | ".join(line) + " |" for line in lines]
        texts = [re.sub(r"(?<=\|)  (?=\|)", " ", text) for text in texts]
        texts[1] = "|" + "---|" * len(head)
        return "\n".join([*texts, *(f"\n{note}" for note in self._notes())])

    def to_latex(self):
        """Return the table in LaTeX, for the package booktabs.

        Intervals stand below their figures, and seven methods fit in the width of an
        article. A character that pdfLaTeX cannot set, such as a Chinese one, is shown
        by its code, and by itself in XeLaTeX and LuaLaTeX.

        Returns
        -------
        text : str
            An environment ``tabular`` in small type.
        """
        blocks = [(title, _all(printable, rows)) for title, rows in self._blocks()]
        told = f"In brackets: {100 * self.confidence_level:g}% intervals over speakers."
        return _latex_table(self._head(), blocks, [told, *self._notes()])

    def to_html(self):
        """Return the table in HTML.

        Returns
        -------
        text : str
            A table and notes below it, without a page around them.
        """
        head, lines = self._head(), []
        for title, rows in self._blocks():
            lines.append(f'<tr><th colspan="{len(head)}">{escape(title)}</th></tr>')
            lines += map(html_row, _all(printable, rows))
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        body = "\n".join(lines)
        head = html_row(head, "th")
        return (
            f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n"
            f"</table>{notes}"
        )

    def to_dict(self):
        """Return the figures of all methods and seeds as JSON values.

        Returns
        -------
        values : dict
            The rows of the table, and for each method and seed what the `to_dict` of
            its result has.
        """
        results = {
            name: [
                {"seed": seed, "result": result.to_dict()}
                for seed, result in own.items()
            ]
            for name, own in self.results.items()
        }
        return plain(
            {
                "evaluation": "compare",
                "confidence_level": self.confidence_level,
                "rows": [row._asdict() for row in self.rows],
                "results": results,
            }
        )

    def to_frame(self):
        """Return the figures as numbers, one row for each method.

        Returns
        -------
        frame : pandas.DataFrame
            The columns of `rows`. Intervals have two columns, such as ``uar_low`` and
            ``uar_high``.
        """
        pandas = import_or_raise("pandas", "datasets", "to_frame needs")
        head, *rows = self._numbers()
        return pandas.DataFrame(rows, columns=head)

    def _numbers(self):
        """Return the names of the columns of `to_frame`, and its rows."""
        table = []
        for row in self.rows:
            columns = {}
            for name, value in row._asdict().items():
                if isinstance(value, tuple):
                    name = name.removesuffix("interval")
                    value = dict(zip((f"{name}low", f"{name}high"), value, strict=True))
                columns |= value if isinstance(value, dict) else {name: value}
            table.append(columns)
        return [list(table[0]), *(list(columns.values()) for columns in table)]

    def save(self, folder, *, figure=None, description=""):
        """Write ``comparison.csv``, ``.md``, ``.tex`` and ``.json``, ``report.html``.

        Parameters
        ----------
        folder : str or PathLike
            The folder of the files, made if it is missing.
        figure : matplotlib Figure, default=None
            A figure for the page ``report.html``, such as that of a
            :class:`~sklearn_ser.inspection.ComparisonDisplay`.
        description : str, default=""
            What the methods were tested on. It stands above the table of the page.
        """
        os.makedirs(folder, exist_ok=True)
        path = partial(os.path.join, folder)
        write_csv(path("comparison.csv"), self._numbers())
        values = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        drawn = ""
        if figure is not None:
            svg = io.StringIO()
            figure.savefig(svg, format="svg", bbox_inches="tight")
            drawn = svg.getvalue()[svg.getvalue().index("<svg") :]
        about = f"<p>{escape(description)}</p>\n" if description else ""
        page = _PAGE.format(description=about, table=self.to_html(), figure=drawn)
        for name, text in (
            ("comparison.md", self.to_markdown() + "\n"),
            ("comparison.tex", self.to_latex() + "\n"),
            ("comparison.json", values + "\n"),
            ("report.html", page),
        ):
            with atomic_write(path(name)) as file:
                file.write(text.encode("utf-8", errors="backslashreplace"))


def _cells(row):
    """Return the cells of a row as plain text."""
    cells = [row.label, "-" if row.n_seeds is None else str(row.n_seeds)]
    more = "control_uar", "unheard_uar"
    more = [name for name in more if np.isfinite(getattr(row, name))]
    for what in ("uar", "wa", *more):
        mean, spread, interval = (getattr(row, what + end) for end in _ENDS)
        deviation = f" ± {100 * spread:.1f}" if np.isfinite(spread) else ""
        cells.append(f"{100 * mean:.1f}{deviation}{bounds(interval)}")
    if row.wins is None:
        return [*cells, "reference", "-", "-"]
    change = f"{100 * row.difference:+.1f}{bounds(row.difference_interval)}"
    p = f"{row.p_holm:.3f}" if np.isfinite(row.p_holm) else "-"
    return [*cells, change, f"{row.wins} of {row.n_speakers}", p]


def _all(escaped, rows):
    return [[escaped(cell) for cell in row] for row in rows]


def printable(text):
    """Return a text whose control characters are visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _markdown(text):
    return re.sub(r"([\\`*_{}<>#|~$&]|(?<=.)\[(?=[^\d\-]))", r"\\\1", printable(text))


def _latex_table(head, blocks, notes):
    """Return a table for the package booktabs.

    A block is a title and rows of cells. A bracket in a cell stands below what is
    before it.
    """
    head = [cell.partition(" [")[0] for cell in head]
    size, gap = ("small", 3) if len(head) < 8 else ("footnotesize", 2)

    def across(text):
        return f"\\multicolumn{{{len(head)}}}{{@{{}}l@{{}}}}{{{text}}} \\\\"

    lines = [f"{{\\{size}\\setlength{{\\tabcolsep}}{{{gap}pt}}"]
    lines.append(f"\\begin{{tabular}}{{@{{}}lr{'l' * (len(head) - 2)}@{{}}}}")
    lines += ["\\toprule", *reversed(_lines(head, -1))]
    for title, rows in blocks:
        lines += ["\\midrule", across(f"\\emph{{{_latex(title)}}}")]
        lines += [line for row in rows for line in _lines(row)]
    lines.append("\\bottomrule")
    lines += [across(_latex(line)) for note in notes for line in wrap(note, _NOTE)]
    return "\n".join([*lines, "\\end{tabular}}"])


def _lines(cells, step=1):
    """Return the lines of a row; a step of -1 turns their order around."""
    name, *figures = cells
    whole = {"break_long_words": False, "break_on_hyphens": False}
    columns = [[_latex(part) for part in wrap(name, _NAME, **whole)]]
    for cell in figures:
        figure, _, bracket = cell.partition(" [")
        columns.append([_latex(part) for part in wrap(figure, _CELL)])
        if bracket:
            columns[-1].append(f"{{\\scriptsize [{_latex(bracket)}}}")
    lines = zip_longest(*(column[::step] for column in columns), fillvalue="")
    return [" & ".join(line) + " \\\\" for line in lines]


def _latex(text):
    """Return a text as LaTeX, at the start of a cell, too."""
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"(?<=[-'`?!])(?=[-'`])", "\0", text)  # would become one sign
    text = "".join(_SIGNS.get(c) or _accented(c) for c in text)
    text = re.sub(rf"[^\0-\x7f{_PLAIN}]+", _by_codes, text).replace("\0", "{}")
    if text[:1] in ("[", "*"):  # an argument of the \\ before it
        text = "{}" + text
    return re.sub(r"(?<![\w\-])-(?=\d)", "$-$", text)


def _accented(character):
    """Return a character in LaTeX's letters and accents, or as it is."""
    letter, *marks = unicodedata.normalize("NFD", character)
    if not letter.isascii() or not set(marks) <= _ACCENTS.keys():
        return character
    for mark in marks:
        letter = f"\\{_ACCENTS[mark]}{{{letter}}}"
    return letter


def _by_codes(found):
    """Return a text that XeLaTeX and LuaLaTeX set, and its codes for pdfLaTeX."""
    codes = " ".join(f"U+{ord(character):04X}" for character in found[0])
    return f"\\ifdefined\\Umathchar {found[0]}\\else {codes}\\fi{{}}"
