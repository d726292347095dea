"""
Your own corpus, from a CSV file
================================

Three columns are enough: ``file``, ``speaker`` and ``emotion``, separated by commas.
Paths start from the folder of the CSV file.
"""

# %%
# Here a folder of recordings is written first; you have yours.
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from sklearn_ser.datasets import load_manifest, make_emotional_speech

folder = Path(tempfile.mkdtemp())
speech = make_emotional_speech(n_speakers=4, n_utterances=4, random_state=1)
lines = ["file,speaker,emotion,gender"]
for i, wave in enumerate(speech.data):
    soundfile.write(folder / f"{i:03d}.wav", wave, speech.sampling_rate)
    gender = "female" if speech.speakers[i] in ("s00", "s02") else "male"
    lines.append(f"{i:03d}.wav,{speech.speakers[i]},{speech.target[i]},{gender}")
(folder / "corpus.csv").write_text("\n".join(lines))

# %%
# Files that are missing, rows that are listed twice and empty cells are named together,
# before anything is trained.
corpus = load_manifest(folder / "corpus.csv")
print(corpus.DESCR.split(" listed")[0])
for name, column in corpus.frame.items():
    print(f"{name}:", *np.unique(column)[:4])

# %%
# Paths go into the pipeline as they are: it decodes, resamples and mixes down. The
# features are small here, to be quick; for real use take ``LogMelTransformer()`` and
# the classifier's defaults. If your neutral speech has another name than neutral, pass
# ``neutral_label=``.
import matplotlib.pyplot as plt
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.inspection import SpeakerRecallDisplay
from sklearn_ser.model_selection import speaker_cross_validate

model = make_pipeline(
    LogMelTransformer(n_mels=40, hop_length=320),
    DSNetClassifier(max_epochs=15, random_state=0),
)
result = speaker_cross_validate(model, corpus.data, corpus.target, corpus.speakers)
print(result)

# %%
# UAR is the mean recall over the emotions, known to scikit-learn as balanced accuracy;
# WA is plain accuracy. The last line counts all folds together, with a 95 % interval
# over speakers. Columns of your own are at hand, row by row: here, the gender.
gender = corpus.frame["gender"][result.rows]
of = dict(zip(result.speakers, gender, strict=True))
voices = dict(sorted(result.per_speaker().items(), key=lambda item: of[item[0]]))
figure, ax = plt.subplots(layout="constrained")
colors = ["C0" if of[who] == "female" else "C1" for who in voices]
bars = ax.bar([f"{who}\n{of[who]}" for who in voices], voices.values(), color=colors)
ax.bar_label(bars, [f"{100 * uar:.0f}" for uar in voices.values()])
ax.axhline(0.25, color="0.3", linestyle="--")
ax.set_title(f"From a CSV file: UAR {100 * result.uar:.0f} % on unheard voices")
ax.set(ylabel="UAR, chance dashed", ylim=(0, 1.05))

# %%
# The display of recall takes any column, too: here a row for each gender.
figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
SpeakerRecallDisplay.from_predictions(
    result.y_true, result.predictions, gender, ax=axes
)
axes[0].set_title("recall (%) by gender (UAR)")

# %%
# With two speakers of each, a difference between the rows is one between four people,
# not between women and men.
