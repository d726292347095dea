"""A model card names the use of a model, its test, and the tested speakers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._validation import import_or_raise
from .metrics._bootstrap import confusion_uar, speaker_confusions
from .model_selection import SpeakerCVResult
from .model_selection._results import pick

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
    result: SpeakerCVResult | None = None,
    *,
    by: Mapping[str, ArrayLike] | None = None,
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
        `result`.
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
    from sklearn.utils.validation import check_is_fitted

    skops_card = import_or_raise("skops.card", "skops", "A model card needs")
    check_is_fitted(estimator)
    if by and result is None:
        raise ValueError("by needs a result, but result is None.")
    classes = ", ".join(map(str, estimator.classes_))
    card = skops_card.Card(estimator, template=None)
    card.add(**{"Intended use": USE.format(classes=classes), "Limits": LIMITS})
    card.add_hyperparams(section="Hyperparameters")
    if result is None:
        return card
    card.add(Evaluation=describe_evaluation(result))
    names = {"speaker": result.speakers, **pick(by, result.rows)}
    for name, column in names.items():
        values, counts = speaker_confusions(
            result.y_true, result.predictions, column, result.classes
        )
        uars = [f"{100 * uar:.1f}" for uar in confusion_uar(counts)]
        table = {name: values.astype(str).tolist(), "UAR (%)": uars}
        card.add_table(**{f"UAR by {name}": table})
    return card


def describe_evaluation(result):
    interval = result.uar_interval
    known = np.isfinite(interval[0])
    between = f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if known else ""
    n_speakers = len(np.unique(result.speakers))
    folds = result.protocol or f"{len(result.folds)} folds without a named protocol"
    return (
        f"Unweighted average recall {100 * result.uar:.1f} %{between}, accuracy "
        f"{100 * result.wa:.1f} %, on {len(result.rows)} recordings of {n_speakers} "
        f"speakers. No test speaker is in the training data of its fold. {folds}. "
        f"The interval ({100 * result.confidence_level:g} %) is a bootstrap over "
        "speakers."
    )
