"""
Quickstart
==========

From recordings to emotions: a pipeline of two steps, evaluated on speakers that it was
not trained on.
"""

# %%
# A corpus has recordings, emotions and speakers. This one is synthesised in a second;
# :func:`~sklearn_ser.datasets.load_manifest` and
# :func:`~sklearn_ser.datasets.load_corpus` return the same from disk.
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.inspection import LogMelDisplay, SpeakerRecallDisplay
from sklearn_ser.model_selection import speaker_cross_validate

# sphinx_gallery_thumbnail_number = 2
corpus = make_emotional_speech(n_speakers=4, n_utterances=5, random_state=0)
print(len(corpus.data), "recordings of", *sorted(set(corpus.target)))

# %%
# A classifier sees log-mel spectrograms: how much energy there is at which time and
# frequency.
log_mel = LogMelTransformer(n_mels=40, hop_length=320)
LogMelDisplay.from_estimator(log_mel, corpus.data[0])

# %%
# Together they are one estimator, which is tested on each speaker in turn.
model = make_pipeline(
    log_mel, DSNetClassifier(max_epochs=15, batch_size=16, random_state=0)
)
result = speaker_cross_validate(model, corpus.data, corpus.target, corpus.speakers)
print(result)

# %%
# The score of each voice, while the model had heard the others only.
import matplotlib.pyplot as plt

voices = {who: 100 * uar for who, uar in result.per_speaker().items()}
figure, ax = plt.subplots(layout="constrained")
ax.bar_label(ax.bar(list(voices), list(voices.values())), fmt="%.0f")
ax.axhline(25, color="0.3", linestyle="--")
ax.set_title(f"Four unheard voices: UAR {100 * result.uar:.0f} %")
ax.set(
    xlabel="speaker who was left out", ylabel="UAR (%), chance dashed", ylim=(0, 105)
)

# %%
# Which emotions of which speaker were recognised, and what the others were taken for.
SpeakerRecallDisplay.from_result(result)

# %%
# For use, train on everyone and ask for probabilities.
model.fit(corpus.data, corpus.target, dsnetclassifier__speakers=corpus.speakers)
print(model.classes_)
print(model.predict_proba(corpus.data[:2]).round(2))

# %%
# UAR is the mean of the recalls on the diagonal of the confusion matrix. Its interval
# is wide: with four speakers it could hardly be otherwise. The rows on the left say
# whose emotions are missed, the matrix on the right what they are taken for.
