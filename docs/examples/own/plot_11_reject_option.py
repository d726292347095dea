"""
Calibrate, and refuse unsure answers
====================================

In real use a model may say nothing where it is not sure. That helps only if its
probabilities are right for a voice that it has never heard.
"""

# %%
# :class:`~sklearn_ser.baseline.EqualPriorsLDA` and the networks of this library
# calibrate their probabilities in the fit, with left-out speakers.
# ``temperature=None`` switches it off.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelTransformer
from sklearn_ser.baseline import EqualPriorsLDA, FrameStatistics
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.metrics import expected_calibration_error, uar_score
from sklearn_ser.model_selection import speaker_cross_validate

# sphinx_gallery_thumbnail_number = 2
corpus = make_emotional_speech(n_speakers=8, n_utterances=10, random_state=0)
Z = LogMelTransformer(n_mels=40, hop_length=320).transform(corpus.data)
found = {}
for name, temperature in ("calibrated", "auto"), ("not calibrated", None):
    model = make_pipeline(
        FrameStatistics(), StandardScaler(), EqualPriorsLDA(temperature=temperature)
    )
    result = speaker_cross_validate(model, Z, corpus.target, corpus.speakers, cv=4)
    found[name] = result
    error = expected_calibration_error(
        result.y_true, result.probabilities, result.classes
    )
    print(f"{name}: UAR {100 * result.uar:.1f} %, error {100 * error:.1f} points")

# %%
# How often is an answer of some confidence right? On the dashed line, as often as the
# model says.
figure, ax = plt.subplots(layout="constrained")
for name, result in found.items():
    sure = result.probabilities.max(axis=1)
    right = result.predictions == result.y_true
    parts = np.array_split(np.argsort(sure), 6)
    places = [[values[part].mean() for part in parts] for values in (sure, right)]
    ax.plot(*places, "o-", label=name)
ax.plot([0, 1], [0, 1], color="0.3", linestyle="--")
ax.set_title("A calibrated model is as sure as it is right")
ax.set(xlabel="confidence", ylabel="right", xlim=(0.2, 1), ylim=(0, 1))
ax.legend()

# %%
# A threshold must not be chosen on the speakers that it is tested on. So the threshold
# for each speaker is the one that keeps a share of the *other* speakers' recordings.
result = found["calibrated"]
sure = result.probabilities.max(axis=1)
shares, coverage, uars, rights = np.linspace(1, 0.3, 8), [], [], []
for share in shares:
    answered = np.zeros(len(sure), dtype=bool)
    for who in np.unique(result.speakers):
        own = result.speakers == who
        answered[own] = sure[own] >= np.quantile(sure[~own], 1 - share)
    coverage.append(answered.mean())
    uars.append(uar_score(result.y_true[answered], result.predictions[answered]))
    rights.append((result.y_true == result.predictions)[answered].mean())

figure, ax = plt.subplots(layout="constrained")
ax.plot(100 * np.array(coverage), 100 * np.array(uars), "o-", color="C0")
ax.plot(100 * np.array(coverage), 100 * np.array(rights), color="0.7")
ax.text(100 * coverage[-1], 100 * rights[-1] + 2, "right answers", color="0.5")
ax.text(31, 100 * uars[-1] + 3, "UAR", color="C0")
for i in (0, 4):
    ax.annotate(
        f"{100 * uars[i]:.0f} %",
        (100 * coverage[i], 100 * uars[i]),
        xytext=(0, -16),
        textcoords="offset points",
        ha="center",
        weight="bold",
        color="C0",
    )
ax.axhline(25, color="0.3", linestyle="--")
ax.text(30, 26, "chance", color="0.3")
ax.set_title(
    f"Answer {100 * coverage[4]:.0f} % of the recordings: "
    f"UAR {100 * uars[4]:.0f} % instead of {100 * uars[0]:.0f} %"
)
ax.set(xlabel="recordings that are answered (%)", ylabel="%", ylim=(20, 102))

# %%
# The size of the corpus was chosen. With 6 utterances of each emotion instead of 10,
# the UAR rises until half of the recordings are answered, and falls if fewer are. So
# look at the curve of your own corpus before you reject anything.
#
# The share of right answers rises faster than the UAR, because some emotions are
# refused more often. An emotion that is seldom answered is one that the system does not
# see.
threshold = np.quantile(sure, 0.4)
for emotion in result.classes:
    of_emotion = result.y_true == emotion
    kept = (sure[of_emotion] >= threshold).mean()
    print(f"{emotion}: {100 * kept:.0f} % are answered")
