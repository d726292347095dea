"""
A matrix of transfers
=====================

Train on one corpus, be tested on another: other speakers, other microphones, nobody's
labels.
"""

# %%
# Three synthetic corpora differ in speakers and in channel.
import numpy as np
from sklearn.base import clone

from sklearn_ser import DIDANDomainAdapter, LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.inspection import TransferMatrixDisplay
from sklearn_ser.model_selection import cross_corpus_validate

# sphinx_gallery_thumbnail_number = 2
parts = [
    make_emotional_speech(n_speakers=3, n_utterances=4, channel=i, random_state=i)
    for i in range(3)
]
mel = LogMelTransformer(n_mels=24, hop_length=320)
X = mel.transform([recording for part in parts for recording in part.data])
y = np.concatenate([part.target for part in parts])
speakers = np.concatenate([part.speakers for part in parts])
corpora = np.repeat(["studio", "phone", "laptop"], [len(part.data) for part in parts])

# %%
# The same network three times: on the corpora as they are, on each normalised by
# itself, and aligned as well. ``alignment=None`` is what an adaptation has to beat.
network = DIDANDomainAdapter(max_epochs=14, batch_size=16, random_state=0)
models = {
    "as they are": clone(network).set_params(alignment=None, normalize_domains=False),
    "normalised": clone(network).set_params(alignment=None),
    "DIDAN": network,
}
results = {
    name: cross_corpus_validate(model, X, y, corpora, speakers, n_bootstrap=200)
    for name, model in models.items()
}
print(results["DIDAN"])

# %%
# Side by side, with one scale.
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
for ax, (name, result) in zip(axes, results.items(), strict=True):
    TransferMatrixDisplay.from_result(result, ax=ax)
    ax.set_title(f"{name}: mean {100 * result.uar:.1f} %")

# %%
# Their means, and each transfer as a point.
figure, ax = plt.subplots(layout="constrained")
means = {name: 100 * result.uar for name, result in results.items()}
ax.bar_label(ax.barh(list(means), list(means.values()), alpha=0.8), fmt=" %.0f")
for row, result in enumerate(results.values()):
    every = [100 * uar for line in result.table().values() for uar in line.values()]
    ax.plot(every, [row + 0.25] * len(every), "o", color="0.25", markersize=5)
ax.axvline(25, color="0.3", linestyle="--")
gains = means["normalised"] - means["as they are"], means["DIDAN"] - means["normalised"]
ax.set_title("Normalising: {:+d} points, alignment: {:+d}".format(*map(round, gains)))
ax.set(xlabel="mean UAR (%) of six transfers, chance dashed", xlim=(0, 75))
ax.invert_yaxis()

# %%
# Read a column to see how hard a target is, a row to see how good a source. Most of
# what is gained comes from normalising each corpus by itself, which takes no training;
# what alignment adds is smaller, and single transfers move by more than that from seed
# to seed. Only means over many transfers and seeds tell methods apart.
