"""Tables that people make: read in any dialect, names in one spelling, written safely.

Excel and other programs write what they call CSV in several ways, and people write one
name in several ways.
"""

import csv
import io
import re
import unicodedata
from collections import Counter

import numpy as np

from ._files import atomic_write

_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r'^\s*"?sep=(.)"?\s*?$', re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(r"0*(\d+)(\.0+)?")
# What office programs make of a hyphen or an apostrophe, and what a keyboard gives.
_SIGNS = dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-")
_SIGNS |= dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u00b4`"), "'")
_CLOCK = re.compile(
    r"((?P<d>\d+) days?,?)? ?(((?P<h>\d+):)?(?P<m>\d+):)?(?P<s>\d+([.,]\d+)?)?"
)
_IN_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
# Letters and marks that show nothing, beside the categories Cc and Cf.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f]")


def read_table(path, wanted=(), *, errors="strict"):
    """Return the names of a CSV table's columns, and its rows with their lines.

    The encoding may be UTF-8 or UTF-16, the separator a comma, a semicolon, a tab, a
    bar or what a first line ``sep=`` names. Blank rows, and columns without name and
    values, are left out.
    """
    try:
        text = read_text(path, errors)
        delimiter = _find_delimiter(text, wanted)
        reader = csv.reader(
            io.StringIO(text, newline=""),
            strict=errors == "strict",
            delimiter=delimiter,
            skipinitialspace=True,
        )
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"'{path}' is not a CSV table in UTF-8 or UTF-16: {error}."
        ) from error
    rows = [(number, row) for number, row in rows if any(row)]
    if rows and _SEPARATOR.match(text):
        del rows[0]
    if not rows:
        return [], []
    names = [name.lower() for name in rows.pop(0)[1]]
    for _, row in rows:
        while len(row) > len(names) and not row[-1]:
            row.pop()
    used = [
        i
        for i, name in enumerate(names)
        if name or any(row[i] for _, row in rows if i < len(row))
    ]
    return [names[i] for i in used], [
        (number, [row[i] for i in used if i < len(row)] + row[len(names) :])
        for number, row in rows
    ]


def read_text(path, errors="strict"):
    """Return the text of a file in UTF-8 or UTF-16."""
    with open(path, "rb") as stream:
        data = stream.read()
    return data.decode(_encoding(data), errors).lstrip("\ufeff")


def _encoding(data):
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if data[:1] and data[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if data[:1] == b"\0" else "utf-8-sig"


def _find_delimiter(text, wanted):
    """Return the separator of the wanted columns in the first line with names."""
    if match := _SEPARATOR.match(text):
        return match[1]
    lines = (line for line in text.splitlines() if line.strip(_DELIMITERS + " "))
    header = next(lines, "").lower()

    def fit(delimiter):
        names = [name.strip(' "') for name in header.split(delimiter)]
        return len({*names} & {*wanted}), len(names)

    return max(_DELIMITERS, key=fit)  # a comma, if all fit as well


def seconds_of(text):
    """Return the seconds of a cell, such as 1.5, 1:02.5 or 0 days 00:00:01.5."""
    match = _CLOCK.fullmatch(text)
    if match is None or not text.strip():
        return float(text.replace(",", "."))
    return sum(
        _IN_SECONDS[key] * float(part.replace(",", "."))
        for key, part in match.groupdict("0").items()
    )


def clean_name(name):
    """Return a name without hidden characters, and with single spaces in it."""
    seen = (
        c for c in name if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf")
    )
    return " ".join(_BLANK.sub("", "".join(seen)).split())


def name_key(name, spaces=True):
    """Return a key that is equal for all spellings of a name.

    Spellings differ in letter case, in hidden characters, in the width of spaces, in
    hyphens and apostrophes, or in Unicode forms that NFKC makes equal. Without `spaces`
    all spaces are ignored.
    """
    told = clean_name(name.translate(_SIGNS))
    folded = unicodedata.normalize("NFKC", told).casefold()
    words = clean_name(unicodedata.normalize("NFKC", folded)).split()
    return (" " if spaces else "").join(words)


def person_key(name):
    """Return a key that is equal for what may be one person, told by name or number.

    Programs turn 01 into 1 or 1.0.
    """
    key = name_key(str(name))
    number = _NUMBER.fullmatch(key)
    return number[1] if number else key


def text_key(text):
    """Return a key that is equal for all spellings of a sentence's words."""
    key = name_key(text)
    words = "".join(" " if unicodedata.category(c)[0] == "P" else c for c in key)
    return " ".join(words.split()) or key


def joined_name(corpus, name):
    """Return the name of something in a corpus; no two corpora share one.

    The last slash ends the name of the corpus, since those of the other are escaped.
    """
    return f"{corpus}/{str(name).replace('%', '%25').replace('/', '%2F')}"


def unify_names(names, *, key=name_key, known=()):
    """Return names in one spelling each, and the groups of several spellings.

    The most frequent spelling is kept, or that of a `known` name, which may be a
    number. With the usual `key`, a space makes another name: "S 1" and "S1" may differ.
    """
    counts, keys, groups = Counter(map(clean_name, names)), {}, {}
    for name in dict.fromkeys(names):
        keys[name] = key(name)
        groups.setdefault(keys[name], []).append(name)
    best = {
        each: max(map(clean_name, group), key=counts.__getitem__)
        for each, group in groups.items()
    }
    best |= {key(str(name)): name for name in known}
    several = [group for group in groups.values() if len(group) > 1]
    return [best[keys[name]] for name in names], several


def unify_texts(texts):
    """Return sentences in one spelling each, as objects, and None for empty ones."""
    told, _ = unify_names([text or "" for text in texts], key=text_key)
    unified = np.full(len(told), None, dtype=object)
    unified[:] = [text or None for text in told]
    return unified


def find_twin(name, known):
    """Return a known name of which another is a spelling, or a number in text."""
    key = person_key(name)
    return next((other for other in known if person_key(other) == key), None)


def write_csv(path, table):
    """Write rows of text or numbers to a CSV file, completely or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([harmless(cell) for cell in row] for row in table)
    with atomic_write(path) as out:
        out.write(text.getvalue().encode("utf-8", errors="backslashreplace"))


def harmless(cell):
    """Return a cell with a quote before it if it looks like a formula."""
    if not isinstance(cell, str) or not cell.startswith(
        ("=", "+", "-", "@", "\t", "\r")
    ):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def aligned(cells, widths, alignment="<>"):
    """Return a line of a table in columns of one width each.

    `alignment` has "<" or ">" for each column; columns beyond it are as its last one.
    """
    sides = alignment.ljust(len(widths), alignment[-1])
    parts = zip(cells, sides, widths, strict=True)
    return "  ".join(f"{cell:{side}{width}}" for cell, side, width in parts)
