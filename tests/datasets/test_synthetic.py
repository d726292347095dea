"""The synthetic corpus: what it promises about its waveforms and its difficulty."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import (
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import LogMelTransformer
from sklearn_ser.datasets import make_emotional_speech

EMOTIONS = [
    *("neutral", "happiness", "anger", "sadness"),
    *("fear", "surprise", "disgust", "boredom"),
]
LABELS = ["target", "speakers", "genders", "texts", "utterances"]


def small(**kwargs):
    return make_emotional_speech(
        **{
            "n_speakers": 2,
            "n_utterances": 2,
            "emotions": ["neutral", "anger"],
            "duration": (0.2, 0.4),
            "random_state": 0,
            **kwargs,
        }
    )


def same(a, b):
    return len(a) == len(b) and all(map(np.array_equal, a, b))


def statistics(corpus):
    """Mean and standard deviation over time of each log-mel band."""
    sequences = LogMelTransformer(
        sampling_rate=corpus.sampling_rate, normalize=None
    ).transform(corpus.data)
    return np.array(
        [np.concatenate([Z.mean(axis=1), Z.std(axis=1)]) for Z in sequences]
    )


def pitch(wave, rate=16000, low=60, high=450):
    """Median F0 over frames of 64 ms, in semitones, by autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512]
    frames = frames[(frames**2).mean(axis=1) > (wave**2).mean() / 4]
    power = np.abs(np.fft.rfft(frames, 2048)) ** 2
    lags = slice(rate // high, rate // low)
    best = np.fft.irfft(power)[:, lags].argmax(axis=1) + lags.start
    return 12 * np.log2(np.median(rate / best))


@cache
def default_corpus(speaker_effect):
    corpus = make_emotional_speech(speaker_effect=speaker_effect, random_state=0)
    return statistics(corpus), corpus.target, corpus.speakers


def uar(X, y, speakers=None):
    """Pooled UAR, leaving one speaker out, or in five random folds."""
    cv = LeaveOneGroupOut()
    if speakers is None:
        cv = StratifiedKFold(5, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    predicted = cross_val_predict(model, X, y, groups=speakers, cv=cv)
    return recall_score(y, predicted, average="macro")


@given(
    n_speakers=st.integers(1, 3),
    n_utterances=st.integers(1, 2),
    emotions=st.lists(st.sampled_from(EMOTIONS), min_size=1, max_size=3, unique=True),
    speaker_effect=st.floats(0, 10),
    channel=st.none() | st.integers(0, 10**9),
    bounds=st.tuples(st.floats(0.1, 0.5), st.floats(0.1, 0.5)).map(sorted),
    sampling_rate=st.sampled_from([4000, 8000, 11025, 16000, 44100]),
    random_state=st.integers(0, 2**64),
)
def test_any_corpus_is_well_formed(
    n_speakers, n_utterances, emotions, bounds, sampling_rate, **kwargs
):
    corpus = make_emotional_speech(
        n_speakers,
        n_utterances,
        emotions,
        duration=bounds,
        sampling_rate=sampling_rate,
        **kwargs,
    )
    names = [f"s{i:02d}" for i in range(n_speakers)]
    expected = [
        (name, emotion, i)
        for name in names
        for emotion in emotions
        for i in range(n_utterances)
    ]
    found = zip(corpus.speakers, corpus.target, corpus.utterances, strict=True)
    assert list(found) == expected
    assert len(corpus.data) == len(corpus.texts) == len(corpus.genders) == len(expected)
    assert set(corpus.genders) <= {"f", "m"}
    assert corpus.sampling_rate == sampling_rate
    for wave in corpus.data:
        assert wave.dtype == np.float32
        assert wave.ndim == 1
        assert np.isfinite(wave).all()
        assert 0 < np.abs(wave).max() <= 1
        low, high = np.round(np.multiply(bounds, sampling_rate))
        assert low <= wave.size <= high


def test_lengths_differ_within_the_bounds_and_one_number_fixes_them():
    assert len({wave.size for wave in small().data}) > 1
    assert {wave.size for wave in small(duration=0.3).data} == {4800}


@given(
    random_state=st.integers(0, 2**32),
    more_speakers=st.integers(0, 2),
    more_utterances=st.integers(0, 2),
    more_emotions=st.lists(
        st.sampled_from(["sadness", "fear", "boredom"]), unique=True, max_size=2
    ),
)
def test_growing_the_corpus_keeps_every_earlier_utterance(
    random_state, more_speakers, more_utterances, more_emotions
):
    before = small(random_state=random_state)
    after = small(
        random_state=random_state,
        n_speakers=2 + more_speakers,
        n_utterances=2 + more_utterances,
        emotions=[*more_emotions, "anger", "neutral"],
    )
    keys = [
        list(zip(c.speakers, c.target, c.utterances, strict=True))
        for c in (before, after)
    ]
    order = [keys[1].index(key) for key in keys[0]]
    assert same(before.data, [after.data[i] for i in order])
    for name in LABELS:
        np.testing.assert_array_equal(before[name], after[name][order])


def test_random_state_decides_everything():
    waves = small(n_utterances=4, emotions=["fear"], duration=0.3).data
    assert len({wave.tobytes() for wave in waves}) == len(waves)
    assert same(small().data, small().data)
    assert not same(small().data, small(random_state=1).data)
    seeded = [small(random_state=np.random.RandomState(3)) for _ in range(2)]
    assert same(seeded[0].data, seeded[1].data)
    generator = np.random.RandomState(3)
    assert not same(*(small(random_state=generator).data for _ in range(2)))
    assert not same(*(small(random_state=None).data for _ in range(2)))


@pytest.mark.parametrize("random_state", [None, 5])
def test_the_global_generator_has_no_part_in_it(random_state):
    before = np.random.get_state()  # noqa: NPY002
    small(random_state=random_state)
    after = np.random.get_state()  # noqa: NPY002
    assert before[0] == after[0]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_channel_changes_the_recording_and_nothing_else():
    corpora = [small(channel=channel) for channel in (0, 1, None)]
    for other in corpora[1:]:
        for name in LABELS:
            np.testing.assert_array_equal(corpora[0][name], other[name])
        for a, b in zip(corpora[0].data, other.data, strict=True):
            assert a.size == b.size
            assert np.abs(a - b).max() > 1e-3


def test_a_channel_shifts_the_spectrum_more_than_another_draw_of_speakers():
    def spectrum(**kwargs):
        corpus = make_emotional_speech(8, 2, duration=0.5, **kwargs)
        bands = statistics(corpus)[:, :80]
        return (bands - bands.mean(axis=1, keepdims=True)).mean(axis=0)

    here = spectrum(channel=0, random_state=0)
    speakers = np.abs(here - spectrum(channel=0, random_state=1)).mean()
    channel = np.abs(here - spectrum(channel=1, random_state=1)).mean()
    assert channel > 1.5 * speakers


def test_emotions_act_in_the_direction_of_speech():
    corpus = make_emotional_speech(
        4, 8, speaker_effect=0, channel=None, duration=0.6, random_state=0
    )

    def mean(measure, emotion):
        rows = np.flatnonzero(corpus.target == emotion)
        return np.mean([measure(corpus.data[row]) for row in rows])

    def level(wave):
        return 10 * np.log10(np.mean(wave**2))

    assert mean(level, "anger") - mean(level, "neutral") > 3
    assert mean(level, "neutral") - mean(level, "sadness") > 3
    assert mean(pitch, "happiness") - mean(pitch, "neutral") > 1.5
    assert mean(pitch, "neutral") - mean(pitch, "sadness") > 0


def test_women_speak_higher_unless_speakers_do_not_differ():
    def gap(speaker_effect):
        corpus = make_emotional_speech(
            4, 6, ["neutral"], speaker_effect=speaker_effect, random_state=0
        )
        notes = np.array([pitch(wave) for wave in corpus.data])
        women = corpus.genders == "f"
        return np.median(notes[women]) - np.median(notes[~women])

    assert gap(1) > 4
    assert abs(gap(0)) < 1.5


@pytest.mark.slow
def test_speakers_are_what_makes_it_hard():
    scores = {effect: uar(*default_corpus(effect)) for effect in (0, 1, 2)}
    assert 0.60 < scores[1] < 0.90
    assert scores[0] > scores[1] + 0.08
    assert scores[1] > scores[2] + 0.08
    for effect, low, high in ((0, 0, 0.20), (1, 0.70, 1)):  # chance is 0.125
        X, _, speakers = default_corpus(effect)
        assert low <= uar(X, speakers) <= high


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"n_speakers": 0}, ValueError, "n_speakers == 0, must be >= 1"),
        ({"n_speakers": 2.0}, TypeError, "n_speakers must be an instance"),
        ({"n_utterances": -1}, ValueError, "n_utterances == -1, must be >= 1"),
        ({"n_utterances": "2"}, TypeError, "n_utterances must be an instance"),
        ({"sampling_rate": 0}, ValueError, "sampling_rate == 0, must be >= 4000"),
        ({"sampling_rate": None}, TypeError, "sampling_rate must be an instance"),
        ({"speaker_effect": -0.1}, ValueError, "speaker_effect == -0.1, must be >= 0"),
        ({"speaker_effect": np.nan}, ValueError, r"speaker_effect .* \[0, 10\].* nan"),
        ({"speaker_effect": np.inf}, ValueError, r"speaker_effect .* \[0, 10\].* inf"),
        ({"speaker_effect": "1"}, TypeError, "speaker_effect must be an instance"),
        ({"channel": -1}, ValueError, "channel == -1, must be >= 0"),
        ({"channel": "phone"}, TypeError, "channel must be an instance"),
        ({"emotions": ["joy"]}, ValueError, "different names from .*fear.* got .'joy'"),
        ({"emotions": []}, ValueError, r"must be different names from.* got \[\]"),
        ({"emotions": ["fear"] * 2}, ValueError, "names .*, got .'fear', 'fear'"),
        ({"emotions": "fear"}, TypeError, "emotions must be a sequence.* 'fear'"),
        ({"emotions": 4}, TypeError, "emotions must be a sequence.* 4"),
        ({"duration": 0.05}, ValueError, "duration .*>= 0.1.*got 0.05"),
        ({"duration": (2, 1)}, ValueError, r"duration .*got \(2, 1\)"),
        ({"duration": (1, 2, 3)}, ValueError, r"duration .*got \(1, 2, 3\)"),
        ({"duration": ()}, ValueError, r"duration .*got \(\)"),
        ({"duration": (1, np.inf)}, ValueError, "duration .*finite"),
        ({"duration": (np.nan, 1)}, ValueError, "duration .*got .nan"),
        ({"duration": None}, TypeError, "duration .*got None"),
        ({"duration": "1"}, TypeError, "duration .*got '1'"),
        ({"random_state": -1}, ValueError, "random_state == -1"),
        ({"random_state": 0.5}, TypeError, "random_state must be an instance"),
    ],
)
def test_bad_parameters_are_named(kwargs, error, message):
    with pytest.raises(error, match=message):
        small(**kwargs)
