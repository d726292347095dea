"""
Functionals through the same estimators
=======================================

openSMILE's functionals are one vector a recording. A 2-D array is a batch of sequences
of one frame, so that they go through the same estimators, folds and figures.
"""

# %%
# openSMILE is an extra; without it, moments of the log-mels stand in for its eGeMAPS
# set, and the rest of the page is the same.
from importlib.util import find_spec

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.features import OpenSMILETransformer
from sklearn_ser.model_selection import speaker_cross_validate

corpus = make_emotional_speech(n_speakers=5, n_utterances=6, random_state=0)
Z = LogMelTransformer(n_mels=40, hop_length=320).transform(corpus.data)
if find_spec("opensmile"):
    name = "eGeMAPS"
    X = OpenSMILETransformer("eGeMAPSv02").transform(corpus.data)
else:
    name = "moments of log-mels"
    X = np.array([np.r_[z.mean(axis=1), z.std(axis=1)] for z in Z])
print(name, X.shape)

# %%
# The scaler sees the training speakers of each fold only: it is a step of the pipeline.
dense = DSNetClassifier(max_epochs=20, encoder="conv", random_state=0)
methods = {
    f"{name} + LinearSVC": (
        make_pipeline(
            StandardScaler(), LinearSVC(C=0.01, class_weight="balanced", random_state=0)
        ),
        X,
    ),
    f"{name} + DSNet": (make_pipeline(StandardScaler(), dense), X),
    "log-mels + DSNet": (DSNetClassifier(max_epochs=12, random_state=0), Z),
}
results = {
    label: speaker_cross_validate(model, features, corpus.target, corpus.speakers)
    for label, (model, features) in methods.items()
}
print(results[f"{name} + LinearSVC"])

# %%
# Pooled UAR, with intervals over speakers.
figure, ax = plt.subplots(layout="constrained")
for row, (label, result) in enumerate(results.items()):
    low, high = result.uar_interval
    ax.barh(row, 100 * result.uar, color="C1" if "SVC" in label else "C0")
    ax.plot([100 * low, 100 * high], [row, row], color="0.2", linewidth=2)
    ax.text(1, row, f"{label}: {100 * result.uar:.0f}", color="w", va="center")
ax.axvline(25, color="0.3", linestyle="--")
linear, *nets = (100 * result.uar for result in results.values())
ax.set_title(f"A linear machine has {linear:.0f} %, the best network {max(nets):.0f} %")
ax.set(xlabel="UAR (%), chance dashed", xlim=(0, 100), yticks=())
ax.invert_yaxis()

# %%
# On little data, functionals and a linear machine are hard to beat, and they are
# trained in a second: run them beside every network, on the same folds.
