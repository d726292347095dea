"""Values in error messages are written as Python writes them, not as NumPy does."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, SpeakerNormalizer
from sklearn_ser.metrics import speaker_probe_score, uar_score
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.array(["anger", "sadness"] * 6)
WHO = np.repeat(["ann", "bob", "cem"], 4)
CORPORA = np.repeat(["east", "west"], 6)
CALM = np.str_("calm")
GUESS = DummyClassifier()
ENROLLED = make_pipeline(SpeakerNormalizer(), GUESS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: DSNetClassifier().fit(X, np.repeat("anger", 12), speakers=WHO),
            "only ('anger')",
        ),
        (
            lambda: DSNetClassifier(neutral_label=CALM).fit(X, Y, speakers=WHO),
            "neutral_label='calm'",
        ),
        (
            lambda: DSNetClassifier(class_weight={Y[0]: -1}).fit(X, Y, speakers=WHO),
            "class_weight['anger']",
        ),
        (
            lambda: speaker_cross_validate(
                ENROLLED, X, Y, WHO, enrollment=1, enrollment_label=CALM
            ),
            "enrollment_label='calm'",
        ),
        (
            lambda: speaker_cross_validate(GUESS, X, [Y[0], 3] * 6, WHO),
            "y[0], which is 'anger'",
        ),
        (
            lambda: cross_corpus_validate(
                GUESS, X, Y, CORPORA, WHO, transfers=[("east", CALM)]
            ),
            "got ['calm']",
        ),
        (lambda: uar_score(Y, Y, labels=[CALM]), "labels=['calm']"),
        (lambda: speaker_probe_score(X, np.repeat("ann", 12)), "only ('ann')"),
    ],
)
def test_a_name_is_a_name(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  each has its message
        call()
    assert message in str(caught.value)
    assert "np." not in str(caught.value)
