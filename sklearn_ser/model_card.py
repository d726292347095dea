"""A model card names the use of a model, its test, and the tested speakers."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ._validation import import_or_raise

__all__ = ["make_model_card"]

USE = (
    "The model names the emotion that a recording of speech sounds like, among: "
    "{classes}. It is meant for research, and for tools whose users see the answer and "
    "can correct it."
)
LIMITS = (
    "The model describes how speech sounds, not what a person feels. Do not use it for "
    "decisions about people, such as hiring, policing, credit or care. Most "
    "corpora hold acted speech, whose emotions are clearer than in everyday life. "
    "The model is worse for languages, microphones, ages and rooms outside of its "
    "training data, and its probabilities are not calibrated for them."
)


def make_model_card(
    estimator: Any,
    result: Any = None,
    *,
    by: Mapping[str, ArrayLike] | None = None,
    tables: Mapping[str, Mapping[str, Sequence]] | None = None,
) -> Any:
    """Describe a fitted model and its evaluation by speaker, as a skops model card.

    Parameters
    ----------
    estimator : estimator
        A fitted model, usually a pipeline.
    result : SpeakerCVResult, default=None
        The result of :func:`~sklearn_ser.model_selection.speaker_cross_validate` for
        this estimator. None leaves the figures out.
    by : dict of str to array-like of shape (n_samples,), default=None
        Columns of the corpus, such as ``{"gender": corpus.frame["gender"]}``. The card
        shows the UAR of each of their values, and of each speaker.
    tables : dict of str to dict of str to list, default=None
        More tables, by their titles: the cells of each column, such as ``{"Left out":
        {"corpus": ["emodb", "emovo"], "UAR (%)": [92.5, 73.5]}}``.

    Returns
    -------
    card : skops.card.Card
        ``card.render()`` returns Markdown, ``card.save("README.md")`` writes a file,
        and ``card.add`` changes sections.

    Raises
    ------
    ImportError
        If skops is not installed.
    ValueError
        If a column of `by` is shorter than the evaluated corpus, or is given without
        `result`. If the columns of a table differ in length.
    NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    sklearn_ser.persistence.save : Save the model that the card describes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn_ser.model_card import make_model_card
    >>> from sklearn_ser.model_selection import speaker_cross_validate
    >>> X, y = np.zeros((8, 1)), ["anger", "sadness"] * 4
    >>> speakers = np.repeat(["ann", "bob"], 4)
    >>> model = DummyClassifier().fit(X, y)
    >>> result = speaker_cross_validate(model, X, y, speakers)
    >>> card = make_model_card(model, result, by={"gender": ["female", "male"] * 4})
    >>> [line for line in card.render().splitlines() if line.startswith("# ")][-2:]
    ['# UAR by speaker', '# UAR by gender']
    """
    skops_card = import_or_raise("skops.card", "skops", "A model card needs")
    check_is_fitted(estimator)
    if by and result is None:
        raise ValueError("by needs a result, but result is None.")
    classes = ", ".join(escaped(name) for name in estimator.classes_)
    card = skops_card.Card(estimator, template=None)
    card.add(**{"Intended use": USE.format(classes=classes), "Limits": LIMITS})
    params = estimator.get_params()
    table = {"Hyperparameter": params, "Value": params.values()}
    _add_table(card, "Hyperparameters", table, folded=True)
    for title, columns in (tables or {}).items():
        lengths = {name: len(cells) for name, cells in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(
                f"tables[{title!r}] has columns of {lengths} cells, expected one "
                "length for all."
            )
        _add_table(card, title, columns)
    if result is None:
        return card
    summary = result.summary()
    card.add(Evaluation=escaped(describe_evaluation(summary)))
    for part in summary.parts:
        where = f", {part.name}" if part.name else ""
        for name, column in {"speaker": part.speakers, **part.pick(by)}.items():
            groups = part.groups(column)
            uars = [f"{100 * group.uar:.1f}" for group in groups]
            table = {name: [group.value for group in groups], "UAR (%)": uars}
            _add_table(card, f"UAR by {name}{where}", table)
    return card


def _add_table(card, title, table, *, folded=False):
    """Add a table whose names and cells Markdown shows as they are."""
    title = escaped(title).replace("/", "&#47;")  # else skops splits the title
    cells = {escaped(k): [*map(escaped, values)] for k, values in table.items()}
    card.add_table(folded=folded, **{title: cells})


def escaped(text):
    """Return text that Markdown shows as it is, in one line."""
    text = html.escape(" ".join(str(text).split()), quote=False)
    text = re.sub(r"[\\`*\[\]|$]", r"\\\g<0>", text)
    # Underscores inside of a word are no markup.
    return re.sub(r"(?<!\w)_++|_++(?!\w)", lambda m: m[0].replace("_", r"\_"), text)


def describe_evaluation(summary):
    """Return the test of a model in sentences."""
    sentences = []
    for part in summary.parts:
        low, high = part.uar_interval
        between = f" [{100 * low:.1f}, {100 * high:.1f}]" if np.isfinite(low) else ""
        where = f"{part.name}: u" if part.name else "U"
        sentences.append(
            f"{where}nweighted average recall {100 * part.uar:.1f} %{between}, "
            f"accuracy {100 * part.wa:.1f} %, on {part.n_recordings} recordings of "
            f"{len(np.unique(part.speakers))} speakers."
        )
    sentences.append(f"The figure is {summary.kind}: {summary.about_kind}.")
    if summary.folds:
        n_folds = f"{len(summary.folds)} folds without a named protocol"
        sentences.append("No test speaker is in the training data of its fold.")
        sentences.append(f"{summary.protocol or n_folds}.")
    sentences.append(
        f"The interval ({100 * summary.confidence_level:g} %) is a bootstrap over "
        "speakers."
    )
    return " ".join(sentences)
