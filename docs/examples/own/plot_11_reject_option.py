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
Z = LogMelTransformer(n_mels=40, hop_length=320, top_db=50).transform(corpus.data)
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
# Left, how often a prediction of some confidence is right: on the diagonal, it says
# what it means. Right, the accuracy of what is left when the least certain are given
# back.
figure, (left, ax) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for label, proba in ("as trained", result.probabilities), ("calibrated", calibrated):
    sure = proba.max(axis=1)
    parts = np.array_split(np.argsort(sure), 6)
    left.plot(
        [sure[part].mean() for part in parts],
        [right[part].mean() for part in parts],
        "o-",
        label=label,
    )
    order = np.argsort(-sure)
    kept = np.arange(1, len(sure) + 1)
    accuracy = np.cumsum(right[order]) / kept
    ax.plot(100 * kept[10:] / len(sure), 100 * accuracy[10:], label=label)
left.plot([0, 1], [0, 1], color="0.5", linestyle=":")
left.set(xlabel="confidence", ylabel="accuracy", xlim=(0.2, 1), ylim=(0, 1))
left.legend()
ax.set(xlabel="recordings that are answered (%)", ylabel="accuracy of these (%)")

# %%
# If the curve on the right rises to the left, confidence is worth something: answering
# fewer recordings answers them better. The nearer the curve on the left is to the
# diagonal, the sooner the number itself can be shown to a person. Calibration helps
# neither here: a temperature fitted to so few speakers does not fit the next one, and
# as each has another, it even changes which recordings are answered first.
