"""A small emotional corpus from a source-filter synthesiser.

It does not replace speech. It is data of known difficulty. The speaker and the emotion
change the same quantities (pitch, tempo, level, voice quality), so the voice hides the
emotion. ``speaker_effect`` sets the strength of the voice.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy
from sklearn.utils import Bunch, check_scalar

# A full emotion adds this to neutral speech. Append only: seeds depend on the order.
_EMOTIONS = {
    # F0 (semitones), log range, slope, level (dB), log rate, tilt, breath, jitter
    "neutral": (+0.0, +0.0, +0.0, +0.0, +0.00, +0.0, +0.0, +0.0),
    "happiness": (+3.5, +0.6, +3.0, +2.5, +0.10, +0.4, -1.0, +0.1),
    "anger": (+2.5, +0.3, -4.0, +5.0, +0.16, +1.0, -3.0, +0.4),
    "sadness": (-1.0, -0.6, -1.5, -4.0, -0.26, -0.8, +4.0, +0.3),
    "fear": (+4.5, -0.1, +1.0, +0.0, +0.24, +0.1, +3.0, +1.0),
    "surprise": (+4.5, +0.8, +6.0, +2.0, -0.02, +0.3, +0.0, +0.0),
    "disgust": (-1.5, +0.2, -2.5, +0.5, -0.18, +0.3, +1.0, +0.8),
    "boredom": (-1.5, -0.8, +0.5, -2.0, -0.30, -0.4, +0.0, +0.0),
}
_SPREAD = np.array([0.6, 0.12, 0.7, 0.9, 0.05, 0.17, 0.7, 0.12])  # within a class
# Half the range between speakers, who also differ by gender, tract and microphone.
_SPEAKER_SPREAD = np.array([1.5, 0.25, 0.5, 2.5, 0.1, 0.4, 2.0, 0.2])

# First three formants of an average vocal tract, in Hz; the others follow the third.
_VOWELS = {
    "a": (780, 1250, 2600),
    "e": (480, 2000, 2650),
    "i": (310, 2300, 3050),
    "o": (470, 850, 2550),
    "u": (330, 900, 2400),
}
_BANDWIDTHS = np.array([80.0, 100.0, 140.0, 200.0, 260.0])
_TEXTS = (
    "da so li me nu ka ti",
    "mo na shi lu be ga",
    "ki te do sa ru ni fa le",
    "sha bo me li tu",
    "ba ri so ne ki tu ma",
)
_BANDS = np.array([0, 300, 700, 1300, 2100, 3200, 4800, 8000])  # Hz
_CHANNEL_ENTROPY = 5131
_FRICATIVES = {"s": 1.0, "f": 0.6, "t": 0.5, "k": 0.4}  # noise before the vowel


def make_emotional_speech(
    n_speakers: int = 8,
    n_utterances: int = 10,
    emotions: Sequence[str] = ("neutral", "happiness", "anger", "sadness"),
    *,
    speaker_effect: float = 1.0,
    channel: int = 0,
    duration: tuple[float, float] = (1.0, 2.0),
    sampling_rate: int = 16000,
    random_state: Any = None,
) -> Bunch:
    """Synthesise a corpus of emotional speech by several speakers.

    The formants of a sequence of vowels shape a pulse train and breath noise. Emotions
    change the level, range and slope of F0, the loudness, the syllable rate and the
    voice quality. Their intensity is random, so classes overlap. Speakers differ in the
    same quantities, in vocal-tract length and in the colouring of their recordings.
    An utterance does not change if there are more speakers, emotions or utterances.

    Parameters
    ----------
    n_speakers : int, default=8
        Number of speakers, of alternating gender.
    n_utterances : int, default=10
        Number of utterances per speaker and emotion.
    emotions : sequence of str, default=("neutral", "happiness", "anger", "sadness")
        The emotions, from neutral, happiness, anger, sadness, fear, surprise, disgust,
        boredom.
    speaker_effect : float, default=1.0
        Strength of the differences between speakers, from 0 to 10. With 0 all speakers
        have the same distribution.
    channel : int or None, default=0
        The recording channel: frequency response, gain and noise floor. Another integer
        records the same speech with other equipment. For a second corpus, change
        ``random_state``, too. None is a flat, quiet channel.
    duration : float or (float, float), default=(1.0, 2.0)
        Length of an utterance in seconds, or the bounds of a random length.
    sampling_rate : int, default=16000
        Samples per second, at least 4000.
    random_state : int, RandomState instance or None, default=None
        An int gives the same corpus at every call, and anything else a new one. None
        does not use numpy's global generator.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        Ordered by speaker, then emotion, then utterance.

        data : list of ndarray of shape (n_samples_i,), dtype float32
            The waveforms, within [-1, 1].
        target, speakers, genders, texts : ndarray of shape (n,), dtype str
            Emotions; speakers "s00", "s01", ...; "f" or "m"; and the syllables,
            repeated or cut to the length of the utterance.
        utterances : ndarray of shape (n,), dtype int
            Index of the utterance within its speaker and emotion.
        sampling_rate : int
            Samples per second.
        DESCR : str
            A description of the corpus.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or of the wrong type.

    Examples
    --------
    >>> from sklearn_ser.datasets import make_emotional_speech
    >>> corpus = make_emotional_speech(n_speakers=2, n_utterances=3, random_state=0)
    >>> len(corpus.data), corpus.data[0].dtype
    (24, dtype('float32'))
    """
    check_scalar(n_speakers, "n_speakers", Integral, min_val=1)
    check_scalar(n_utterances, "n_utterances", Integral, min_val=1)
    check_scalar(sampling_rate, "sampling_rate", Integral, min_val=4000)
    check_scalar(speaker_effect, "speaker_effect", Real, min_val=0)
    if not speaker_effect <= 10:  # nan too
        raise ValueError(f"speaker_effect must be in [0, 10], got {speaker_effect}.")
    if channel is not None:
        check_scalar(channel, "channel", Integral, min_val=0)
    emotions = _check_emotions(emotions)
    duration = _check_duration(duration)
    entropy = _check_entropy(random_state)

    keys = {name: key for key, name in enumerate(_EMOTIONS)}
    data, labels = [], []
    for index in range(n_speakers):
        speaker = _Speaker(entropy, index, speaker_effect, channel, sampling_rate)
        for emotion, i in product(emotions, range(n_utterances)):
            rng = _generator(entropy, (1, index, keys[emotion], i))
            text = _TEXTS[i % len(_TEXTS)]
            data.append(speaker.say(text, emotion, duration, rng))
            labels.append((emotion, f"s{index:02d}", speaker.gender, text, i))

    names = ("target", "speakers", "genders", "texts", "utterances")
    return Bunch(
        data=data,
        **dict(zip(names, map(np.array, zip(*labels, strict=True)), strict=True)),
        sampling_rate=int(sampling_rate),
        DESCR=f"Synthetic emotional speech: {n_speakers} speakers x {len(emotions)} "
        f"emotions x {n_utterances} utterances at {sampling_rate} Hz, "
        f"speaker_effect={speaker_effect:g}, channel={channel}.",
    )


class _Speaker:
    """A voice, with the room and the channel of its recordings."""

    def __init__(self, entropy, index, effect, channel, sampling_rate):
        rng = _generator(entropy, (0, index))
        self.gender, sign = (("f", 1.0), ("m", -1.0))[index % 2]
        self.sampling_rate = sampling_rate
        # Uniform, not normal: one speaker should not dominate a small corpus.
        self.habits = effect * _SPEAKER_SPREAD * rng.uniform(-1, 1, 8)
        self.habits[0] += effect * sign * 3.5
        tract = effect * (0.07 * sign + 0.05 * rng.uniform(-1, 1))
        self.tract = np.exp(np.clip(tract, -0.4, 0.4))

        # One frequency response stands for the speaker's position and for the channel.
        decibels = effect * 2.5 * rng.uniform(-1, 1, _BANDS.size)
        self.gain, self.floor = 0.0, -85.0
        room = np.zeros(sampling_rate // 12)
        if channel is not None:  # the same whatever the random_state
            rng = _generator(_CHANNEL_ENTROPY, (channel,))
            decibels += 4.0 * rng.standard_normal(_BANDS.size)
            decibels += rng.uniform(-8, 8) * np.linspace(-1, 1, _BANDS.size)
            self.gain, self.floor = rng.uniform([-4, -72], [4, -58])
            decay = np.exp(-6 * np.arange(room.size) / room.size)
            share = rng.uniform(0, 0.3) / np.sqrt(room.size / 12)
            room = share * decay * rng.standard_normal(room.size)
        room[0] = 1.0
        grid = np.linspace(0, sampling_rate / 2, 65)
        gains = 10 ** (np.interp(grid, _BANDS, decibels) / 20)
        self.impulse = scipy.signal.oaconvolve(
            scipy.signal.firwin2(65, grid, gains, fs=sampling_rate), room
        )
        self.filters = {
            vowel: _resonances(self.tract * np.array(formants), sampling_rate)
            for vowel, formants in _VOWELS.items()
        }

    def say(self, text, emotion, duration, rng):
        """Return the waveform of one utterance, float32 within [-1, 1]."""
        rate = self.sampling_rate
        # The same for all speakers: 0.25 can hardly be heard, 1.75 is theatrical.
        intensity = np.clip(1 + 0.35 * rng.standard_normal(), 0.25, 1.75)
        style = intensity * np.array(_EMOTIONS[emotion])
        style += self.habits + _SPREAD * rng.standard_normal(8)
        pitch, width, slope, level, tempo, tilt, breath, jitter = style

        seconds = rng.uniform(*duration)
        n = round(seconds * rate)
        n_syllables = max(1, round(seconds * 4.5 * np.exp(np.clip(tempo, -1.5, 1.2))))
        edges = np.cumsum(rng.uniform(0.7, 1.3, n_syllables))
        edges = np.concatenate([[0], np.round(edges / edges[-1] * n)]).astype(int)
        centres = (edges[1:] + edges[:-1]) / (2 * n)

        # F0 falls through a sentence; each syllable has its accent.
        accents = rng.standard_normal(n_syllables) * 1.6 * np.exp(min(width, 1.5))
        contour = pitch + (slope - 2.0) * (centres - 0.5) + accents
        time = np.arange(n) / n
        f0 = np.interp(time, centres, 165.0 * 2 ** (np.clip(contour, -20, 20) / 12))
        source = _pulses(f0, rate, 0.012 * np.exp(np.clip(jitter, -2, 2)), rng)
        # Pressed voices fall less steeply towards high frequencies.
        pole = np.exp(-2 * np.pi * 350 * 2 ** np.clip(tilt, -2.5, 2.5) / rate)
        source = scipy.signal.lfilter([1 - pole], [1, -pole], source)
        source /= np.sqrt(np.mean(source**2)) + 1e-12
        noise = rng.standard_normal(n)
        source += 10 ** (np.clip(breath - 26, -60, 0) / 20) * noise

        speech = np.empty(n)
        state = np.zeros((5, 2))
        syllables = text.split()
        for i, (start, stop) in enumerate(pairwise(edges)):
            syllable = syllables[i % len(syllables)]
            vowel, onset = syllable[-1], _FRICATIVES.get(syllable[0], 0.0)
            phase = (np.arange(stop - start) + 0.5) / (stop - start)
            loudness = np.minimum(1, 4 * phase * (1.05 - phase)) ** 1.5
            part = source[start:stop] * loudness
            speech[start:stop], state = scipy.signal.sosfilt(
                self.filters[vowel], part, zi=state
            )
            if onset:
                hiss = np.diff(noise[start:stop], prepend=0.0) * (phase < 0.25)
                speech[start:stop] += 0.25 * onset * hiss * np.sin(4 * np.pi * phase)
        speech /= np.sqrt(np.mean(speech**2)) + 1e-12
        fade = np.minimum(1, np.minimum(time, 1 - time) * seconds / 0.03)
        speech *= fade * 10 ** ((level - 26 + self.gain) / 20)
        speech = scipy.signal.oaconvolve(speech, self.impulse)[:n]
        speech += 10 ** (self.floor / 20) * rng.standard_normal(n)
        return (speech / max(1.0, np.abs(speech).max())).astype(np.float32)


def _generator(entropy, key):
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))


def _pulses(f0, rate, jitter, rng):
    """Return glottal pulses, each shared by the two samples that it falls between."""
    phase = np.cumsum(f0) / rate
    times = np.interp(np.arange(1, int(phase[-1]) + 1), phase, np.arange(len(f0)))
    times += jitter * rate / f0[times.astype(int)] * rng.standard_normal(len(times))
    times = np.clip(times, 0, len(f0) - 2)
    heights = np.exp(3 * jitter * rng.standard_normal(len(times)))
    left = times.astype(int)
    right_share = times - left
    source = np.bincount(left, heights * (1 - right_share), len(f0))
    return source + np.bincount(left + 1, heights * right_share, len(f0))


def _resonances(formants, rate):
    """Return five two-pole resonators in series; one above the band changes nothing."""
    frequencies = np.append(formants, formants[-1] + np.array([900.0, 1900.0]))
    radius = np.exp(-np.pi * _BANDWIDTHS / rate)
    sos = np.tile([1.0, 0, 0, 1, 0, 0], (5, 1))
    inside = frequencies < 0.45 * rate
    sos[inside, 4] = (-2 * radius * np.cos(2 * np.pi * frequencies / rate))[inside]
    sos[inside, 5] = (radius**2)[inside]
    sos[:, 0] = sos[:, 3:].sum(axis=1)  # unit gain at 0 Hz
    return sos


def _check_emotions(emotions):
    if isinstance(emotions, str) or not isinstance(emotions, Iterable):
        raise TypeError(f"emotions must be a sequence of words, got {emotions!r}.")
    emotions = [str(emotion) for emotion in emotions]
    if not emotions or len(set(emotions) & set(_EMOTIONS)) < len(emotions):
        known = ", ".join(_EMOTIONS)
        raise ValueError(
            f"emotions must be different names from {known}, got {emotions}."
        )
    return emotions


def _check_duration(duration):
    bounds = duration if isinstance(duration, (tuple, list)) else (duration, duration)
    if not all(isinstance(bound, Real) for bound in bounds):
        raise TypeError(f"duration must be one or two numbers, got {duration!r}.")
    if len(bounds) != 2 or not 0.1 <= bounds[0] <= bounds[1] < np.inf:
        expected = "finite seconds >= 0.1, or a pair (shortest, longest) of them"
        raise ValueError(f"duration must be {expected}, got {duration!r}.")
    return bounds


def _check_entropy(random_state):
    if random_state is None:
        return np.random.SeedSequence().entropy
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(np.iinfo(np.int32).max))
    return int(check_scalar(random_state, "random_state", Integral, min_val=0))
