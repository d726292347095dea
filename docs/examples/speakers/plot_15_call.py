"""
A call with two lanes
=====================

Two people talk on the telephone, each on a channel of its own. Who is angry, and when?
The model has heard neither of them.
"""

# %%
# Train on all speakers but two, with a normaliser that can take up voices.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline

from sklearn_ser import LogMelTransformer, SpeakerNormalizer, emotion_timeline
from sklearn_ser.baseline import EqualPriorsLDA, FrameStatistics
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.inspection import EmotionTurnsDisplay

corpus = make_emotional_speech(
    n_speakers=8, n_utterances=6, speaker_effect=1.5, random_state=0
)
train = ~np.isin(corpus.speakers, ["s06", "s07"])
front = LogMelTransformer(n_mels=40), FrameStatistics()
model = make_pipeline(*front, SpeakerNormalizer(), EqualPriorsLDA())
model.fit(
    [corpus.data[i] for i in np.flatnonzero(train)],
    corpus.target[train],
    speakernormalizer__speakers=corpus.speakers[train],
)

# %%
# The call: the two talk in turns, a little noise is on the line, and between two turns
# there is a pause.
rng, rate = np.random.default_rng(0), corpus.sampling_rate
members = [
    rng.permutation(np.flatnonzero(corpus.speakers == who)) for who in ("s06", "s07")
]
said = np.stack(members, axis=1)[:16].ravel()
sounds, truth = [], []
for turn, row in enumerate(said):
    wave = np.pad(corpus.data[row], (0, rate))
    channels = np.zeros((2, len(wave)))
    channels[turn % 2] = wave
    sounds.append(channels)
    truth.append(corpus.target[row])
call = np.concatenate(sounds, axis=1)
call = call + rng.normal(scale=1e-4, size=call.shape)
recording = {"array": call.astype(np.float32), "sampling_rate": rate}

# %%
# ``turns="channels"`` finds the turns by the energy of each channel. A diarised call of
# one channel has a file of turns instead: RTTM, a table, or the JSON of whisperX.
before = emotion_timeline(model, recording, turns="channels")
after = emotion_timeline(model, recording, turns="channels", enroll="self")
print(after)

# %%
# Each speaker has a lane. Above are the turns as the model hears unknown voices, below
# after each voice was enrolled with its own turns, without labels.
figure, axes = plt.subplots(2, 1, figsize=(8, 6), layout="constrained")
titles = "unknown voices", "voices enrolled by their turns"
for ax, turns, title in zip(axes, (before, after), titles, strict=True):
    EmotionTurnsDisplay.from_result(turns, ax=ax)
    right = np.mean(turns.emotions == truth)
    ax.set_title(f"{title}: {100 * right:.0f} % of the turns are right")

# %%
# The second figure is transductive: the model had all turns of the call before it told
# the emotion of the first. For a call that is over, that is no loss.
