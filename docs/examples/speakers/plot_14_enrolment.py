"""
How many recordings tell a voice
================================

A new speaker sends a few recordings, without labels. How many does it take until the
model knows the voice, and may they all be calm?
"""

# %%
# :class:`~sklearn_ser.SpeakerNormalizer` centres each training speaker on its own mean.
# :func:`~sklearn_ser.model_selection.speaker_cross_validate` enrolls `k` recordings of
# each test speaker and scores the others, three times over.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from sklearn_ser import LogMelTransformer, SpeakerNormalizer
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.model_selection import speaker_cross_validate

corpus = make_emotional_speech(
    n_speakers=8, n_utterances=10, speaker_effect=1.5, random_state=0
)
Z = LogMelTransformer(n_mels=40).transform(corpus.data)
X = np.array([np.r_[z.mean(axis=1), z.std(axis=1)] for z in Z])
lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
model = make_pipeline(SpeakerNormalizer(), lda)


def uar(enrollment, label=None):
    result = speaker_cross_validate(
        model,
        X,
        corpus.target,
        corpus.speakers,
        enrollment=enrollment,
        enrollment_label=label,
        n_bootstrap=0,
    )
    return 100 * result.uar


# %%
# One line draws from all emotions, the other from neutral speech alone. Dotted are the
# ends of the scale: nothing known of the speaker, and everything.
ks = [1, 2, 3, 5, 10, 20]
calm = [k for k in ks if k <= 5]  # half of a speaker's neutral recordings
nothing, everything = uar(None), uar("all")

of_all, of_calm = [uar(k) for k in ks], [uar(k, "neutral") for k in calm]
figure, ax = plt.subplots(layout="constrained")
ax.plot(ks, of_all, "o-")
ax.plot(calm, of_calm, "s--")
ax.text(20, of_all[-1] - 1, "of all emotions", color="C0", ha="right", va="top")
ax.text(1, of_calm[0] + 3, "neutral only", color="C1")
for level, text in ((nothing, "none enrolled"), (everything, "all (transductive)")):
    ax.axhline(level, color="0.3", linestyle=":")
    ax.text(20, level, text, ha="right", va="bottom", color="0.3")
ax.set_xscale("log")
ax.set_xticks(ks, ks)
ax.minorticks_off()
ax.margins(y=0.1)
won = of_all[ks.index(5)] - nothing
ax.set_title(f"Five recordings of a new voice win {won:.0f} points")
ax.set(xlabel="recordings enrolled of each test speaker", ylabel="UAR (%)")

# %%
# The first five recordings win more than half of what there is to win, and each one
# counts: none makes it worse. Calm ones do as well here, for the normaliser takes off
# what it sees to be calm. In this corpus a voice shifts all emotions alike; real voices
# are less orderly, and :doc:`the guide </guide/enrolment>` has their figures.
