"""
Which moments decided
=====================

Silence a piece of a recording and ask again: where the probability of the emotion
falls, the model was listening.
"""

# %%
# Train on all speakers but one.
import matplotlib.pyplot as plt
import numpy as np

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.inspection import LogMelDisplay

corpus = make_emotional_speech(n_speakers=5, n_utterances=8, random_state=0)
mel = LogMelTransformer(n_mels=40)
Z = mel.transform(corpus.data)
train = np.flatnonzero(corpus.speakers != "s04")
model = DSNetClassifier(max_epochs=20, random_state=0).fit(
    [Z[i] for i in train], corpus.target[train], speakers=corpus.speakers[train]
)

# %%
# Of the speaker left out, take the angry recording that the model is surest of.
angry = np.flatnonzero((corpus.speakers == "s04") & (corpus.target == "anger"))
column = model.classes_.tolist().index("anger")
proba = model.predict_proba([Z[i] for i in angry])[:, column]
chosen = angry[np.argmax(proba)]
print(f"P(anger) = {proba.max():.2f}")

# %%
# Windows of 150 ms are put to the recording's lowest level, one after the other. All
# variants are predicted as one batch; their lengths do not matter.
recording, width = Z[chosen], 15
starts = np.arange(0, recording.shape[1] - width + 1, 3)
masked = []
for start in starts:
    variant = recording.copy()
    variant[:, start : start + width] = recording.min()
    masked.append(variant)
whole = model.predict_proba([recording])[0, column]
drop = whole - model.predict_proba(masked)[:, column]

figure, (top, below) = plt.subplots(
    2, 1, layout="constrained", sharex=True, height_ratios=[2, 1]
)
LogMelDisplay.from_estimator(mel, corpus.data[chosen], ax=top)
step = mel.hop_length / mel.sampling_rate
heard = starts[np.argmax(drop)] * step
for ax in top, below:
    ax.axvspan(heard, heard + width * step, facecolor="none", edgecolor="C2", lw=3)
top.set_title(f"Without this, P(anger) is {whole - drop.max():.2f}, not {whole:.2f}")
top.set_xlabel("")
below.axhline(0, color="0.3", linewidth=1)
below.fill_between((starts + width / 2) * step, drop, alpha=0.6)
below.set(xlabel="middle of the silenced window (s)", ylabel="loss")

# %%
# Peaks are moments without which the model would doubt. Where the curve is below zero,
# the recording would be clearer without them. This says what the model uses, not what a
# listener does: check a few recordings of every emotion before believing a pattern.
