"""
Calibration and a reject option
===============================

A model that says how sure it is may also say nothing. Is its confidence to be trusted
on speakers that it has never heard?
"""

# %%
# :func:`~sklearn_ser.model_selection.speaker_cross_validate` keeps the probabilities of
# every tested recording.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import log_loss

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.model_selection import speaker_cross_validate

corpus = make_emotional_speech(n_speakers=6, n_utterances=4, random_state=0)
Z = LogMelTransformer(n_mels=40, hop_length=320).transform(corpus.data)
model = DSNetClassifier(max_epochs=12, random_state=0)
result = speaker_cross_validate(model, Z, corpus.target, corpus.speakers)
confidence = result.probabilities.max(axis=1)
right = result.predictions == result.y_true
print(f"UAR {100 * result.uar:.1f} %, mean confidence {100 * confidence.mean():.1f} %")

# %%
# One number, a temperature, makes the probabilities softer or sharper without changing
# a prediction. It is chosen for each speaker on the other ones.
temperatures = np.geomspace(0.3, 5, 40)


def at(temperature, probabilities):
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


calibrated = np.empty_like(result.probabilities)
for who in np.unique(result.speakers):
    others = result.speakers != who
    losses = [
        log_loss(
            result.y_true[others],
            at(t, result.probabilities[others]),
            labels=result.classes,
        )
        for t in temperatures
    ]
    best = temperatures[np.argmin(losses)]
    calibrated[~others] = at(best, result.probabilities[~others])

# %%
# The accuracy of what is left when the least certain are given back.
figure, ax = plt.subplots(layout="constrained")
kept = np.arange(1, len(right) + 1)
for i, proba in enumerate((result.probabilities, calibrated)):
    accuracy = 100 * np.cumsum(right[np.argsort(-proba.max(axis=1))]) / kept
    ax.plot(100 * kept[10:] / len(right), accuracy[10:], color=f"C{i}")
    if i == 0:
        half, everything = accuracy[len(right) // 2], accuracy[-1]
        ax.plot([50, 100], [half, everything], "o", color="C0")
        ax.text(51, half + 1, f"{half:.0f} %", color="C0", weight="bold")
        ax.text(99, everything + 2, f"{everything:.0f} %", color="C0", ha="right")
ax.text(12, 34, "as trained", color="C0")
ax.text(12, 28, "calibrated by speaker", color="C1")
ax.set_title(f"Answer half: {half:.0f} % are right instead of {everything:.0f} %")
ax.set(xlabel="recordings that are answered (%)", ylabel="right (%)", ylim=(25, 102))

# %%
# How often a prediction of some confidence is right: on the diagonal, the confidence
# says what it means.
figure, ax = plt.subplots(layout="constrained")
for label, proba in ("as trained", result.probabilities), ("calibrated", calibrated):
    sure = proba.max(axis=1)
    parts = np.array_split(np.argsort(sure), 6)
    ax.plot(
        [sure[part].mean() for part in parts],
        [right[part].mean() for part in parts],
        "o-",
        label=label,
    )
ax.plot([0, 1], [0, 1], color="0.3", linestyle="--")
ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0.2, 1), ylim=(0, 1))
ax.legend()

# %%
# If the first curve rises to the left, confidence is worth something: answering fewer
# recordings answers them better. The nearer the second is to the diagonal, the sooner
# the number itself can be shown to a person. Calibration helps
# neither here: a temperature fitted to so few speakers does not fit the next one, and
# as each has another, it even changes which recordings are answered first.
