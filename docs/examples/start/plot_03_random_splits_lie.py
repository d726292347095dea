"""
Why random splits lie
=====================

A split at random puts every speaker into both parts. The model then knows the voices it
is tested on, and the figure is one that nobody will see in use.
"""

# %%
# Statistics of the log-mels and a support vector machine are fast enough to repeat on
# several corpora.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_ser import LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import uar_score

model = make_pipeline(StandardScaler(), SVC(C=10.0, class_weight="balanced"))


def uars(speaker_effect, seed):
    corpus = make_emotional_speech(
        n_speakers=5,
        n_utterances=6,
        speaker_effect=speaker_effect,
        random_state=seed,
    )
    Z = LogMelTransformer(n_mels=40).transform(corpus.data)
    X = np.array([np.r_[z.mean(axis=1), z.std(axis=1)] for z in Z])
    y, random = corpus.target, StratifiedKFold(5, shuffle=True, random_state=0)
    splits = random.split(X, y), GroupKFold(5).split(X, y, corpus.speakers)
    return [
        100 * uar_score(y, cross_val_predict(model, X, y, cv=list(split)))
        for split in splits
    ]


# %%
# ``speaker_effect`` says how far speakers differ. At zero they are one voice, and both
# splits must agree: the control.
effects = [0.0, 0.5, 1.0, 1.5]
found = np.array([[uars(effect, seed) for seed in range(3)] for effect in effects])

random, honest = found.mean(axis=1).T
figure, ax = plt.subplots(layout="constrained")
ax.fill_between(effects, honest, random, color="C1", alpha=0.15)
for column, name in enumerate(["random split", "split by speaker"]):
    mean, deviation = found[..., column].mean(axis=1), found[..., column].std(axis=1)
    ax.errorbar(effects, mean, deviation, marker="o", capsize=3, color=f"C{1 - column}")
    ax.text(effects[-1] + 0.05, mean[-1], name, color=f"C{1 - column}", va="center")
ax.text(1.5, (random + honest)[-1] / 2, "the lie  ", color="C1", ha="right")
ax.axhline(25, color="0.3", linestyle="--")
ax.text(0, 20, "chance", color="0.3")
ax.set_title(
    f"A random split claims {random[-1]:.0f} %, new voices get {honest[-1]:.0f} %"
)
ax.set(
    xlabel="how far speakers differ", ylabel="UAR (%)", ylim=(0, 102), xlim=(-0.1, 2.2)
)
ax.set_xticks(effects)

# %%
# Where speakers do not differ, the two agree. The more they differ, the more of the
# random split's figure is recognition of voices. The gap is the error made by a paper
# that splits at random; :func:`~sklearn_ser.model_selection.speaker_cross_validate`
# refuses such a split.
