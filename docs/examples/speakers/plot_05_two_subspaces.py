"""
DSNet's two subspaces
=====================

DSNet splits an embedding in two: r, on which the emotion is decided, and u, which is
drawn to what the speaker's neutral speech looks like. What does each know?
"""

# %%
# Every term of the loss is in the history, as it is before its weight.
from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.inspection import EmbeddingDisplay, HistoryDisplay
from sklearn_ser.metrics import emotion_probe_score, speaker_probe_score

# sphinx_gallery_thumbnail_number = 2
corpus = make_emotional_speech(n_speakers=6, n_utterances=8, random_state=0)
Z = LogMelTransformer(n_mels=40, hop_length=320, top_db=50).transform(corpus.data)
model = DSNetClassifier(max_epochs=20, random_state=0)
model.fit(Z, corpus.target, speakers=corpus.speakers)
HistoryDisplay.from_estimator(model)

# %%
# Seen from the two principal components.
EmbeddingDisplay.from_estimator(model, Z, corpus.target, corpus.speakers)

# %%
# A plane shows two of 256 directions. Probes use all: linear classifiers that are
# trained afresh to read the speaker, or the emotion, from an embedding.
import matplotlib.pyplot as plt

r, u = model.embed(Z), model.embed(Z, subspace="irrelevant")
texts = [i % 4 for i in range(len(Z))]
known = {
    "speaker": [speaker_probe_score(e, corpus.speakers, groups=texts) for e in (r, u)],
    "emotion": [
        emotion_probe_score(e, corpus.target, groups=corpus.speakers) for e in (r, u)
    ],
}
figure, ax = plt.subplots(layout="constrained")
for shift, (what, scores) in zip((-0.2, 0.2), known.items(), strict=True):
    heights = [100 * score.above_chance for score in scores]
    ax.bar([0 + shift, 1 + shift], heights, 0.4, label=what)
ax.axhline(0, color="k", linewidth=0.8)
ax.set_xticks([0, 1], ["r (relevant)", "u (irrelevant)"])
ax.set(ylabel="read above chance (points)")
ax.legend(title="probe of")

# %%
# Compare the blue bars: a probe reads the speaker better from u than from r, as the
# paper claims. Compare the orange ones: u is not free of the emotion. Nothing in the
# loss forbids it to know what r knows, as long as it does so in other directions.
