"""
Two leaks: voices and sentences
===============================

A random split tests a model on voices that it knows. A split by speaker still tests it
on sentences that it knows, because in acted corpora all speakers say the same ones. How
much of a figure is left without both?
"""

# %%
# With ``texts``, :func:`~sklearn_ser.model_selection.speaker_cross_validate` has the
# figures on unheard speakers, and on unheard speakers and sentences. The synthetic
# corpus has five sentences, which give the vowels of a recording.
import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_ser import LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import uar_score
from sklearn_ser.model_selection import speaker_cross_validate

corpus = make_emotional_speech(n_speakers=5, n_utterances=10, random_state=0)
Z = LogMelTransformer(n_mels=40).transform(corpus.data)
X = np.array([np.r_[z.mean(axis=1), z.std(axis=1)] for z in Z])
y, speakers, texts = corpus.target, corpus.speakers, corpus.texts
model = make_pipeline(StandardScaler(), SVC(C=10.0, class_weight="balanced"))

folds = StratifiedKFold(5, shuffle=True, random_state=0)
at_random = uar_score(y, cross_val_predict(model, X, y, cv=folds))
result = speaker_cross_validate(model, X, y, speakers, texts=texts, control=True)
print(f"Random split: UAR {100 * at_random:.1f} %")
print("\n".join(result.verdict()))

# %%
# The control matters: a model that has fewer recordings to learn from is worse, too.
#
# The figures of real corpora are in a table. It has linear classifiers on a frozen
# speech model, Whisper base. In a clone of this library, ``python -m benchmarks.leaks
# --cache DIR`` makes it from the corpora.
table = Path("../../../benchmarks/results/leaks.csv")
with table.open(newline="", encoding="utf-8") as stream:
    rows = list(csv.DictReader(stream))

splits = ["random split", "unheard speakers", "unheard sentences"]
methods = list(dict.fromkeys(row["classifier"] for row in rows))
figure, axes = plt.subplots(
    1, len(methods), sharey=True, figsize=(8.5, 3.6), layout="constrained"
)
for ax, method in zip(axes, methods, strict=True):
    own = [row for row in rows if row["classifier"] == method]
    for place, row in enumerate(own):
        uars = [float(row[split]) for split in splits]
        ax.plot(uars, [place] * 3, color="0.75", zorder=1)
        for i, (uar, color) in enumerate(zip(uars, ("0.6", "C1", "C0"), strict=True)):
            ax.scatter(uar, place, color=color, label=splits[i] if not place else None)
    ax.set_yticks(range(len(own)), [row["corpus"] for row in own])
    ax.set(xlabel="UAR (%)", title=method)
axes[0].invert_yaxis()
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
lost = [
    [float(row[splits[i]]) - float(row[splits[i + 1]]) for row in rows] for i in (0, 1)
]
figure.suptitle(
    f"Voices are worth {np.mean(lost[0]):.0f} points on average, and sentences "
    f"{np.mean(lost[1]):.0f}"
)

# %%
# Where speakers differ much and are few, the voices leak most. The sentences leak
# everywhere, also from corpora whose speakers are many.
