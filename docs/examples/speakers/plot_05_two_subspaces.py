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

# sphinx_gallery_thumbnail_number = 3
corpus = make_emotional_speech(n_speakers=6, n_utterances=8, random_state=0)
Z = LogMelTransformer(n_mels=40, hop_length=320).transform(corpus.data)
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
for i, scores in enumerate(known.values()):
    heights = [100 * score.above_chance for score in scores]
    bars = ax.bar([3 * i, 3 * i + 1], heights, color=["C0", "C1"])
    ax.bar_label(bars, fmt="%+.0f")
ax.axhline(0, color="0.3", linewidth=1)
ax.set_xticks([0, 1, 3, 4], ["from r", "from u", "from r", "from u"])
for i, what in enumerate(known):
    ax.text(3 * i + 0.5, ax.get_ylim()[1] * 1.08, f"the {what}", ha="center")
ax.set(ylabel="read above chance (points)", title="What a probe reads")
ax.margins(y=0.2)

# %%
# Compare the bars on the left: a probe reads the speaker better from u than from r, as
# the paper claims. Compare those on the right: u is not free of the emotion. Nothing in
# the loss forbids it to know what r knows, as long as it does so in other directions.
