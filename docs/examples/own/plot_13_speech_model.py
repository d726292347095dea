"""
A speech model in front
=======================

The states of a pre-trained speech model, pooled over time, in front of a linear
classifier: one step of a pipeline, no training of networks.
"""

# %%
# The model is ``openai/whisper-base``, where the environment variable
# ``SKLEARN_SER_MODELS`` names a directory that holds it. Elsewhere a random stand-in
# of the same architecture is built, for nothing is downloaded here: then the page
# shows how it is done, and **its figures mean nothing**.
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from sklearn_ser import LogMelTransformer, SpeechModelTransformer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.model_selection import speaker_cross_validate

folder = tempfile.TemporaryDirectory()
home = os.environ.get("SKLEARN_SER_MODELS", "")
is_real = home and Path(home, "whisper-base").is_dir()
if is_real:
    model, name = "openai/whisper-base", "Whisper base"
else:
    model, name = folder.name, "random stand-in"
    config = WhisperConfig(
        d_model=128,
        encoder_layers=6,
        encoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_layers=0,
        vocab_size=2,
        decoder_start_token_id=1,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0),
    )
    WhisperModel(config).save_pretrained(model)
    WhisperFeatureExtractor().save_pretrained(model)
    print("The weights are random: no figure on this page means anything.")
print(name)

# %%
# The classifier is a linear discriminant analysis with shrinkage: nothing to tune.
# Features need no labels and no fit: they are computed once, before the folds.
corpus = make_emotional_speech(n_speakers=5, n_utterances=4, random_state=0)
classifier = make_pipeline(
    StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
)


def pooled(layer):
    """Mean and deviation over the frames of one layer."""
    front = SpeechModelTransformer(model, layer=layer, pooling="mean_std")
    return front.transform(corpus.data)


log_mels = LogMelTransformer().transform(corpus.data)
features = {"log-mels": np.array([np.r_[x.mean(1), x.std(1)] for x in log_mels])}
features |= {f"layer {layer}": pooled(layer) for layer in (0, 3, 6)}
results = {
    label: speaker_cross_validate(classifier, X, corpus.target, corpus.speakers)
    for label, X in features.items()
}
print(results["layer 3"])

# %%
# Pooled UAR, with intervals over speakers. The speech is synthetic, so that the page
# needs no corpus: on real speech the distance to log-mels is what the guide's page on
# speech models tells, and the middle layer leads.
figure, ax = plt.subplots(layout="constrained")
for row, (label, result) in enumerate(results.items()):
    low, high = result.uar_interval
    ax.barh(row, 100 * result.uar, color="C5" if label == "log-mels" else "C0")
    ax.plot([100 * low, 100 * high], [row, row], color="0.2", linewidth=2)
    ax.text(1, row, f"{label}: {100 * result.uar:.0f}", color="w", va="center")
ax.axvline(25, color="0.3", linestyle="--")
ax.set_title(f"{name}, synthetic speech" + ("" if is_real else ": no real figures"))
ax.set(xlabel="UAR (%), chance dashed", xlim=(0, 100), yticks=())
ax.invert_yaxis()

# %%
# As one pipeline it takes paths or waveforms, and is saved without the weights: their
# name and hash are enough to find them, and to refuse others.
pipeline = make_pipeline(
    SpeechModelTransformer(model, pooling="mean_std"), *(s for _, s in classifier.steps)
)
pipeline.fit(corpus.data, corpus.target)
print(pipeline.predict(corpus.data[:3]), pipeline[0].weights_hash_[:16])
folder.cleanup()
