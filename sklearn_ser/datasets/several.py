"""Several corpora as one: the same names of emotions, and speakers that stay apart."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from .._csv import aligned, name_key
from .._validation import check_column, is_missing, shortened
from ..features.audio import describe
from ._spec import CorpusSpec
from .duplicates import source_of
from .loading import find_spec, join_corpora, list_corpora, load_corpus
from .manifest import read_corpus

# What corpora and people write for the emotions of this library. Calm speech is not
# neutral speech, and anxiety is not fear: such pairs are the caller's choice.
_WORDS = {
    "anger": "angry ang enraged",
    "boredom": "bored bor",
    "calm": "calmness",
    "contempt": "contemptuous",
    "disgust": "disgusted disgusting dis",
    "excitement": "excited exc",
    "fear": "fearful afraid scared fea",
    "frustration": "frustrated fru",
    "happiness": "happy hap joy joyful",
    "neutral": "neu neutrality",
    "sadness": "sad",
    "surprise": "surprised sur",
}
_EMOTIONS = {
    word: emotion
    for emotion, words in _WORDS.items()
    for word in (emotion, *words.split())
}
_LEFT_OUT = "left out"


def load_corpora(
    corpora: Sequence[str | PathLike | CorpusSpec | Bunch],
    data_home: str | PathLike | None = None,
    *,
    emotions: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    errors: str = "raise",
) -> Bunch:
    """Load several corpora as one, with the same names of emotions.

    Words that mean the same, such as "angry" and "anger" or "joy" and "happiness",
    become one name. Everything else is kept apart: calm speech becomes neutral only if
    `rename` says so.

    Parameters
    ----------
    corpora : list of str, path-like, CorpusSpec or Bunch
        Each is the name of a corpus in :func:`list_corpora`, the declaration of one,
        the path of a table for :func:`load_manifest`, or what these functions return.
    data_home : str or path-like, default=None
        The folder of the named corpora, as in :func:`load_corpus`.
    emotions : list of str, default=None
        The emotions to keep, by any of their names. None keeps all.
    rename : dict of str to str, default=None
        More names to bring together, such as ``{"calm": "neutral"}``. A new name
        cannot be renamed itself.
    columns : dict of str to str, default=None
        The names of columns in the tables, as in :func:`load_manifest`.
    errors : {"raise", "drop"}, default="raise"
        As in :func:`load_corpus`.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        In the order of `corpora`.

        data : list
            The recordings.
        target : ndarray of shape (n_samples,), dtype str
            The emotions, by their common names.
        speakers : ndarray of shape (n_samples,), dtype str
            ``"corpus/speaker"``: people of different corpora never share a name.
        texts : ndarray of shape (n_samples,), dtype object
            ``"corpus/text"``, or None.
        corpora : ndarray of shape (n_samples,), dtype str
            The corpus of each recording. A table has the name of its file, with its
            folder if two files have one name.
        frame : dict of str to ndarray of shape (n_samples,)
            All columns, among them ``corpus``, ``emotion`` and ``original emotion``.
        channel : "mean" or int
            The channel that all corpora declare, or "mean" if they differ.
        channels : dict of str to ("mean" or int)
            The channel that each corpus declares.
        table : str
            What became of the names of each corpus, with numbers of recordings.
        notes, dropped, DESCR
            As in :func:`load_corpus`.

    Raises
    ------
    ValueError
        If there are fewer than two corpora, or two have one name. If a corpus is
        unknown, a table is missing, or two corpora hold the same recording. If no
        recording has an emotion of `emotions` or a name of `rename`, or a corpus has
        none of the emotions.
    TypeError
        If an argument is not as described.

    See Also
    --------
    load_corpus : Load one corpus.
    sklearn_ser.model_selection.cross_corpus_validate : Leave each corpus out in turn.

    Examples
    --------
    >>> from sklearn.utils import Bunch
    >>> from sklearn_ser.datasets import load_corpora
    >>> one = Bunch(
    ...     data=["1.wav", "2.wav"], target=["angry", "calm"], speakers=["ann", "ann"]
    ... )
    >>> two = Bunch(data=["3.wav"], target=["Anger"], speakers=["ann"])
    >>> corpus = load_corpora([one, two], emotions=["anger"])
    >>> print(corpus.table)
    emotion   corpus 1  corpus 2
    anger     1 angry   1 Anger
    left out  1 calm    -
    >>> corpus.target.tolist(), corpus.speakers.tolist()
    (['anger', 'anger'], ['corpus 1/ann', 'corpus 2/ann'])
    """
    if isinstance(corpora, str | os.PathLike | Mapping | CorpusSpec):
        raise TypeError(f"corpora must be a list, got {shortened(repr(corpora))}.")
    given = list(corpora)
    if len(given) < 2:
        raise ValueError(f"corpora must hold two corpora or more, got {len(given)}.")
    names = _name_corpora(given)
    rename = _check_rename(rename)
    parts = [
        _load(one, name, data_home, columns, errors, f"corpora[{number}]")
        for number, (one, name) in enumerate(zip(given, names, strict=True))
    ]
    _refuse_shared_files(parts, names)
    corpus = join_corpora(parts)
    corpus.channels = dict(zip(names, (part.channel for part in parts), strict=True))
    original = corpus.frame["emotion"]
    common = corpus.target = _common_names(original.tolist(), rename)
    keep = _check_emotions(emotions, rename, common)
    kept = np.isin(common, list(keep))
    for name in names:
        if not kept[corpus.corpora == name].any():
            found = sorted(set(common[corpus.corpora == name].tolist()))
            raise ValueError(
                f"corpora: '{name}' has none of the emotions {sorted(keep)}; it has "
                f"{shortened(str(found))}."
            )
    corpus.table = _table(names, corpus.corpora, original, common, keep)
    corpus.frame |= {"original emotion": original, "emotion": common}
    corpus.frame["corpus"] = corpus.corpora
    for name in ("target", "speakers", "texts", "corpora"):
        corpus[name] = corpus[name][kept]
    corpus.frame = {name: column[kept] for name, column in corpus.frame.items()}
    corpus.data = [corpus.data[row] for row in np.flatnonzero(kept)]
    corpus.DESCR = f"{corpus.table}\n\n{corpus.DESCR}"
    return corpus


def balanced_weights(target: ArrayLike, corpora: ArrayLike) -> np.ndarray:
    """Return weights of recordings by which classes and corpora count alike.

    All classes have the same sum of weights, and within a class all corpora that have
    it.

    Parameters
    ----------
    target : array-like of shape (n_samples,)
        The emotions.
    corpora : array-like of shape (n_samples,)
        The corpus of each recording.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
        Their mean is 1. Pass them to ``fit`` as `sample_weight`.

    Raises
    ------
    ValueError
        If the lengths differ, or a column is no list of labels.

    Examples
    --------
    >>> from sklearn_ser.datasets import balanced_weights
    >>> balanced_weights(list("aaab"), ["one", "one", "two", "one"]).tolist()
    [0.5, 0.5, 1.0, 2.0]
    """
    target = check_column(target, "target")
    corpora = check_column(corpora, "corpora")
    if len(target) != len(corpora):
        raise ValueError(
            f"corpora has {len(corpora)} entries, expected one for each of the "
            f"{len(target)} in target."
        )
    _, classes = np.unique(target, return_inverse=True)
    _, numbers = np.unique(corpora, return_inverse=True)
    counts = np.zeros((classes.max() + 1, numbers.max() + 1))
    np.add.at(counts, (classes, numbers), 1)
    n_corpora = (counts > 0).sum(axis=1)
    shares = len(target) / len(counts) / n_corpora
    return shares[classes] / counts[classes, numbers]


def _name_corpora(given):
    """Return a different name for each corpus."""
    found, paths = [], {}
    for number, one in enumerate(given):
        if isinstance(one, Bunch):
            own = np.unique(one.get("corpora", [f"corpus {number + 1}"])).tolist()
            if len(own) != 1:
                raise ValueError(
                    f"corpora[{number}] holds {len(own)} corpora, {own}, expected one: "
                    "pass them one by one."
                )
            found.append(str(own[0]))
        elif not isinstance(one, str | os.PathLike | CorpusSpec):
            raise TypeError(
                f"corpora[{number}] must be a name, a CorpusSpec, a path or a Bunch, "
                f"got {shortened(repr(one))}."
            )
        elif is_table(one):
            paths[number] = Path(os.path.abspath(one))  # whose folder has a name
            found.append(paths[number].stem)
        else:
            found.append(find_spec(one).name)
    counts = Counter(found)
    for number, path in paths.items():
        if counts[found[number]] > 1:
            found[number] = f"{path.parent.name}/{path.stem}"
    keys = [re.sub(r"[ /-]+", "-", name_key(name)) for name in found]
    twice = {name for name, k in zip(found, keys, strict=True) if keys.count(k) > 1}
    if twice:
        raise ValueError(
            f"corpora names {sorted(twice)} more than once, expected different "
            "corpora; two tables of one name may lie in folders of different names, "
            "which letter case, spaces and hyphens do not make."
        )
    return found


def is_table(one):
    """Tell whether something is the path of a table, and not the name of a corpus."""
    if isinstance(one, os.PathLike):
        return True
    if not isinstance(one, str):
        return False
    try:
        find_spec(one)
    except ValueError:
        if os.path.splitext(one)[1] or os.sep in one or os.path.exists(one):
            return True
        raise ValueError(
            f"corpora has {one!r}, expected a path of a table or one of "
            f"{list_corpora()}."
        ) from None
    return False


def _load(one, name, data_home, columns, errors, argument):
    """Return a corpus with all that it is joined by."""
    if isinstance(one, Bunch):
        part = one
    elif is_table(one):
        part = read_corpus(one, argument, columns=columns)
    else:
        part = load_corpus(one, data_home, errors=errors)
    lacks = [key for key in ("data", "target", "speakers") if key not in part]
    if lacks:
        raise ValueError(f"corpora: '{name}' has no {' and no '.join(lacks)}.")
    n = len(part.data)
    target, speakers = (
        check_column(part[key], f"{key} of '{name}'").astype(str)
        for key in ("target", "speakers")
    )
    texts, told = np.full(n, None, dtype=object), part.get("texts")
    told = texts if told is None else told
    frame = part.get("frame")
    frame = {} if frame is None else {k: np.asarray(frame[k]) for k in frame}
    given = {"target": target, "speakers": speakers, "texts": told}
    given |= {f"frame[{k!r}]": column for k, column in frame.items()}
    for key, column in given.items():
        if len(column) != n:
            raise ValueError(
                f"corpora: {key} of '{name}' has {len(column)} entries, expected "
                f"one for each of its {n} recordings."
            )
    texts[:] = [None if is_missing(text) or text == "" else text for text in told]
    return Bunch(
        data=list(part.data),
        texts=texts,
        frame=frame | {"speaker": speakers, "emotion": target},
        corpora=np.repeat(name, n),
        channel=part.get("channel", "mean"),
        notes=[f"{name}: {note}" for note in part.get("notes", ())],
        dropped=list(part.get("dropped", ())),
        DESCR=part.get("DESCR", f"{n} recordings of {name}."),
    )


def _refuse_shared_files(parts, names):
    first = {}
    for part, name in zip(parts, names, strict=True):
        for row, file in enumerate(part.data):
            other = first.setdefault(source_of(file), name)
            if other != name:
                raise ValueError(
                    f"corpora: {describe(file, f'row {row}')} of '{name}' is of a "
                    f"recording that '{other}' holds too, expected each recording in "
                    "one corpus."
                )


def _check_rename(rename):
    """Return the names to bring together, by their keys."""
    if not isinstance(rename, Mapping | None):
        raise TypeError(f"rename must be a dict or None, got {rename!r}.")
    pairs = [*(rename or {}).items()]
    wrong = [
        pair
        for pair in pairs
        if not all(isinstance(name, str) and _key(name) for name in pair)
    ]
    if wrong:
        raise TypeError(f"rename must map names to names, got {dict(wrong)!r}.")
    keys = {_key(name): _common(new) for name, new in pairs}
    if len(keys) < len(pairs):
        raise ValueError(f"rename has one name in several spellings: {rename!r}.")
    for new, (key, other) in product(keys.values(), keys.items()):
        if _key(_common(key)) == _key(new) != _key(other):
            raise ValueError(
                f"rename has {new!r} as a new name, and gives it another name, too: "
                f"{rename!r}. Expected names that stay."
            )
    return keys


def _key(name):
    return name_key(name, spaces=False)


def _common(name, rename=None):
    """Return the common name of an emotion."""
    rename = rename or {}
    known = _EMOTIONS.get(_key(name), name)
    return rename.get(_key(name), rename.get(_key(known), known))


def _common_names(names, rename):
    """Return the common name of each recording's emotion, in one spelling each."""
    own = {_key(name) for name in names}
    lacking = rename.keys() - own - {_key(_common(name)) for name in names}
    if lacking:
        raise ValueError(
            f"rename has {sorted(lacking)}, but no recording is called so; there are "
            f"{shortened(str(sorted(set(names))))}."
        )
    common, spelt = [_common(name, rename) for name in names], {}
    for name in common:
        spelt.setdefault(_key(name), name)
    return np.array([spelt[_key(name)] for name in common])


def _check_emotions(emotions, rename, common):
    """Return the common names of the emotions to keep."""
    there = {_key(name): name for name in common.tolist()}
    if emotions is None:
        return set(there.values())
    is_list = isinstance(emotions, Iterable) and not isinstance(emotions, str)
    names = list(emotions) if is_list else [None]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"emotions must be a list of names, got {emotions!r}.")
    keys = [_key(_common(name, rename)) for name in names]
    missing = [name for name, k in zip(names, keys, strict=True) if k not in there]
    if missing or not names:
        raise ValueError(
            f"emotions has {missing}, expected names of emotions that a corpus has: "
            f"{shortened(str(sorted(there.values())))}."
        )
    return {there[key] for key in keys}


def _table(names, corpora, original, common, keep):
    """Return a table of what became of each corpus's names of emotions.

    A cell has numbers of recordings, with the names that differ from the emotion.
    """
    counts = Counter(zip(common, corpora, map(str, original), strict=True))
    cells = {}
    for (emotion, corpus, name), n in sorted(
        counts.items(), key=lambda each: each[0][2]
    ):
        row = emotion if emotion in keep else _LEFT_OUT
        told = str(n) if name == row else f"{n} {name}"
        cells.setdefault(row, {}).setdefault(corpus, []).append(told)
    rows = [["emotion", *names]]
    for row in [*sorted(keep), *({_LEFT_OUT} & cells.keys())]:
        told = [", ".join(cells[row].get(name, ["-"])) for name in names]
        rows.append([row, *told])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(aligned(row, widths, "<").rstrip() for row in rows)
