"""
Three methods on one page
=========================

The table and the figure of a paper: methods side by side on unheard speakers, over
seeds, with intervals and paired differences.
"""

# %%
# All methods get the same folds and seeds. The log-mel spectrograms are computed once.
# The networks see the mean and the deviation of each band, as the baseline does, and so
# train in seconds.
from sklearn.pipeline import make_pipeline

from sklearn_ser import (
    DSNetClassifier,
    LogMelTransformer,
    SpeakerAdversarialClassifier,
)
from sklearn_ser.baseline import make_baseline
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.inspection import ComparisonDisplay
from sklearn_ser.model_selection import compare

# sphinx_gallery_thumbnail_number = 1
corpus = make_emotional_speech(8, 4, random_state=0)
log_mel = LogMelTransformer(n_mels=40, hop_length=320)
menan = SpeakerAdversarialClassifier(encoder="statistics")
methods = {
    "LDA": make_pipeline(log_mel, make_baseline(of_frames=True)),
    "DSNet": make_pipeline(log_mel, DSNetClassifier(encoder="statistics")),
    "MEnAN": make_pipeline(log_mel, menan),
}
comparison = compare(
    methods, corpus.data, corpus.target, corpus.speakers, cv=4, seeds=2
)
print(comparison)

# %%
# A dot is a speaker, and a bar is the figure of the table. On the right is the
# difference to the first method, with its interval over the speakers.
ComparisonDisplay.from_result(comparison)

# %%
# The interval of a difference is the honest answer to "which is better?": if it
# contains zero, these speakers do not tell. From five seeds on the table has p-values.
# In LaTeX it is:
print(comparison.to_latex())

# %%
# The result of each method and seed is there, too.
print(comparison.results["DSNet"][0])
