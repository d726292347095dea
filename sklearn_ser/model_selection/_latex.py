"""A table in LaTeX, of any text, that fits in the width of an article."""

import re
import unicodedata
from itertools import zip_longest
from textwrap import wrap

_NAME, _CELL, _NOTE = 14, 12, 72  # characters of a line
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
_KNOWN = "ßæÆœŒøØłŁı¡¿§£€©®™°²³¹½¼¾·×÷–—‘’“”†‡•…→←"  # to every LaTeX


def latex_table(head, blocks, notes):
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
    text = re.sub(rf"[^\0-\x7f{_KNOWN}]+", _by_codes, text).replace("\0", "{}")
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
