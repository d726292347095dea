"""
Choosing a weight without labels
================================

Nobody has labels of the target: what then says how strong an alignment should be?
skada's scorers judge a model by its predictions alone.
"""

# %%
# Recordings of one length, as skada wants them, from two channels. ``y`` is masked in
# the target: -1. Note that ``import skada`` switches metadata routing on for all of
# scikit-learn.
import matplotlib.pyplot as plt
import numpy as np
from skada.metrics import PredictionEntropyScorer, SoftNeighborhoodDensity
from skada.model_selection import SourceTargetShuffleSplit
from sklearn import clone, set_config
from sklearn.model_selection import GridSearchCV

from sklearn_ser import DIDANDomainAdapter, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import uar_score

source, target = (
    make_emotional_speech(n_speakers=3, n_utterances=4, channel=i, random_state=i)
    for i in (0, 2)
)
mel = LogMelTransformer(n_mels=40, duration=1.5)
X = mel.transform(source.data + target.data)
classes, labels = np.unique(np.r_[source.target, target.target], return_inverse=True)
domain = np.repeat([1, -1], [len(source.data), len(target.data)])
y = np.where(domain > 0, labels, -1)

# %%
# One search, two scorers.
search = GridSearchCV(
    DIDANDomainAdapter(max_epochs=10, normalize_domains=False, random_state=0),
    {"alignment_weight": [0.1, 1.0, 10.0]},
    scoring={
        "entropy": PredictionEntropyScorer(),
        "density": SoftNeighborhoodDensity(),
    },
    refit="entropy",
    cv=SourceTargetShuffleSplit(n_splits=2, random_state=0),
)
search.fit(X, y, sample_domain=domain)
print(search.best_params_)

# %%
# For once, look at the labels that nobody has.
weights = search.cv_results_["param_alignment_weight"].astype(float)
truth = []
for weight in weights:
    model = clone(search.estimator).set_params(alignment_weight=weight)
    model.fit(X, y, sample_domain=domain)
    truth.append(100 * uar_score(labels[domain < 0], model.predict(X[domain < 0])))

choices = {
    "entropy": search.cv_results_["mean_test_entropy"],
    "density": search.cv_results_["mean_test_density"],
    "the labels": truth,
}
figure, ax = plt.subplots(layout="constrained")
ax.bar_label(ax.bar([f"{w:g}" for w in weights], truth, color="C5"), fmt="%.0f")
above = np.array(truth) + 8
for i, (name, scores) in enumerate(choices.items()):
    best = np.argmax(scores)
    ax.text(best, above[best], f"{name} ↓", color=f"C{i}", ha="center", weight="bold")
    above[best] += 7
missed = [max(truth) - truth[np.argmax(choices[n])] for n in ("entropy", "density")]
ax.set_title("Without labels, {:.0f} and {:.0f} points are missed".format(*missed))
ax.set(xlabel="alignment_weight", ylabel="UAR (%) that nobody sees")
ax.margins(y=0.5)

set_config(enable_metadata_routing=False)  # as it was before skada

# %%
# Above each bar stands who would choose it. A label-free score follows confidence,
# and a network can be confidently wrong: the scorers need not agree with each other or
# with the labels. Use more than one, on several transfers, and report which one chose.
