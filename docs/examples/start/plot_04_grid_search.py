"""
Grid search over a pipeline
===========================

Parameters of features and of the network, chosen on training speakers alone.
"""

# %%
# Names are scikit-learn's: ``step__parameter``. The inner folds split by speaker, too,
# through ``groups``, and the classifier gets its ``speakers``.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import uar_scorer

corpus = make_emotional_speech(n_speakers=4, n_utterances=4, random_state=0)
held_out = corpus.speakers == "s03"
model = make_pipeline(
    LogMelTransformer(n_mels=40, hop_length=320),
    DSNetClassifier(max_epochs=10, random_state=0),
)
grid = {
    "logmeltransformer__top_db": [30, 80],
    "dsnetclassifier__lr": [1e-3, 3e-3],
}
search = GridSearchCV(model, grid, scoring=uar_scorer, cv=GroupKFold(3))
train = [x for x, out in zip(corpus.data, held_out, strict=True) if not out]
search.fit(
    train,
    corpus.target[~held_out],
    groups=corpus.speakers[~held_out],
    dsnetclassifier__speakers=corpus.speakers[~held_out],
)
print(search.best_params_)

# %%
# The search has seen three speakers. The fourth tells what it is worth.
test = [x for x, out in zip(corpus.data, held_out, strict=True) if out]
print(f"UAR of s03: {100 * search.score(test, corpus.target[held_out]):.1f} %")

# %%
# The whole grid, with the deviation over the three inner folds.
shape = len(grid["dsnetclassifier__lr"]), len(grid["logmeltransformer__top_db"])
table = search.cv_results_
mean = np.reshape(table["mean_test_score"], shape)
deviation = np.reshape(table["std_test_score"], shape)
figure, ax = plt.subplots(layout="constrained")
ax.imshow(
    mean, cmap="Blues", vmin=mean.min() - 0.1, vmax=mean.max() + 0.05, aspect="auto"
)
for (row, column), score in np.ndenumerate(mean):
    text = f"{100 * score:.0f} ± {100 * deviation[row, column]:.0f}"
    color = "w" if score > mean.max() - 0.05 else "k"
    ax.text(column, row, text, ha="center", va="center", color=color, size=20)
ax.set_xticks(range(shape[1]), grid["logmeltransformer__top_db"])
ax.set_yticks(range(shape[0]), grid["dsnetclassifier__lr"])
ax.grid(False)
lr, top_db = (search.best_params_[name] for name in reversed(grid))
ax.set_title(f"lr={lr:g} and top_db={top_db} win the inner folds")
ax.set(xlabel="top_db", ylabel="lr")

# %%
# Each cell is the UAR of three inner speakers, with the deviation between them. Where a
# rate is too small for ten epochs, the cell is at chance, and no deviation can change
# that. Differences as small as the deviation say nothing: three speakers then choose
# nearly at random. :func:`~sklearn_ser.model_selection.speaker_cross_validate` takes
# the search itself as its estimator, so that the choice is made anew in every fold.
