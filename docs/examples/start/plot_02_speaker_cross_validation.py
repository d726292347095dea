"""
Speaker-independent cross-validation
====================================

Two methods on the same folds, and whether their difference means anything.
"""

# %%
# Both get the same features and the same speakers to be tested on. The second is the
# first without its three terms: what an ablation is.
import matplotlib.pyplot as plt
import numpy as np

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.model_selection import speaker_cross_validate

corpus = make_emotional_speech(n_speakers=6, n_utterances=4, random_state=0)
Z = LogMelTransformer(n_mels=40, hop_length=320).transform(corpus.data)
nothing = dict.fromkeys(
    ("calibration_weight", "orthogonality_weight", "reconstruction_weight"), 0.0
)
methods = {
    "DSNet": DSNetClassifier(max_epochs=12, random_state=0),
    "its network alone": DSNetClassifier(max_epochs=12, random_state=0, **nothing),
}
results = {
    name: speaker_cross_validate(method, Z, corpus.target, corpus.speakers)
    for name, method in methods.items()
}
print(results["DSNet"])

# %%
# Speakers are what varies: compare the methods on each of them.
per_speaker = {name: result.per_speaker() for name, result in results.items()}
differences = 100 * np.subtract(*(list(uars.values()) for uars in per_speaker.values()))
figure, ax = plt.subplots(layout="constrained")
colors = np.where(differences > 0, "C0", "C1")
ax.bar_label(ax.bar(list(per_speaker["DSNet"]), differences, color=colors), fmt="%+.0f")
ax.axhline(0, color="0.3", linewidth=1)
better, worse = (differences > 0).sum(), (differences < 0).sum()
ax.set_title(
    f"DSNet's terms: better on {better}, worse on {worse} of {len(differences)}"
)
ax.set(ylabel="UAR: with minus without (points)", xlabel="speaker")
ax.margins(y=0.15)

# %%
# Bars that point both ways say that the difference depends on the speaker more than on
# the method: six speakers and one seed decide nothing. A claim takes several seeds,
# averaged by speaker, and a paired test over many speakers, as our benchmarks do.
