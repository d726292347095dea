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
Z = LogMelTransformer(n_mels=40, hop_length=320, top_db=50).transform(corpus.data)
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
figure, ax = plt.subplots(layout="constrained")
for who in per_speaker["DSNet"]:
    pair = [100 * uars[who] for uars in per_speaker.values()]
    ax.plot([0, 1], pair, "o-", color="0.6", label=None)
pooled = [100 * result.uar for result in results.values()]
ax.plot([0, 1], pooled, "s-", color="C1", linewidth=3, label="pooled")
ax.set_xticks([0, 1], list(results))
ax.set(ylabel="UAR (%)", xlim=(-0.3, 1.3), title="each line is a speaker")
ax.legend()

differences = np.subtract(*(list(uars.values()) for uars in per_speaker.values()))
print(f"better on {(differences > 0).sum()} of {len(differences)} speakers")

# %%
# Lines that cross say that the difference depends on the speaker more than on the
# method: six speakers and one seed decide nothing. A claim takes several seeds,
# averaged by speaker, and a paired test over many speakers, as our benchmarks do.
