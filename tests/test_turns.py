"""Turns of a conversation: read from files, predicted one by one, summed up, drawn."""

import json
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_ser import (
    LogMelTransformer,
    OneSidedEnrollmentWarning,
    SilentRecordingWarning,
    SpeakerNormalizer,
    emotion_timeline,
    enroll,
)
from sklearn_ser.baseline import make_baseline
from sklearn_ser.datasets import make_emotional_speech
from sklearn_ser.features import load_audio
from sklearn_ser.inspection import EmotionTurnsDisplay
from sklearn_ser.pipeline import find_normalizer, with_own_voices
from sklearn_ser.timeline import EmotionTurns, Turn, read_turns
from sklearn_ser.timeline.page import timeline_page
from sklearn_ser.timeline.turn_sources import channel_turns
from sklearn_ser.timeline.turns import cut_spans

RATE = 16000


@pytest.fixture(scope="module")
def model(corpus):
    front = LogMelTransformer(n_mels=16)
    model = make_pipeline(front, SpeakerNormalizer(), make_baseline(of_frames=True))
    return model.fit(
        corpus.waveforms, corpus.y, speakernormalizer__speakers=corpus.speakers
    )


@pytest.fixture(scope="module")
def talk(corpus):
    """Ten seconds of speech."""
    return np.resize(np.concatenate(corpus.waveforms), 10 * RATE).astype(np.float32)


# ---------------------------------------------------------------------------- files

RTTM = (
    ";; made by hand\n"
    "SPKR-INFO call 1 <NA> <NA> <NA> unknown ann <NA>\n"
    "SPEAKER call 1 2.5 1.5 <NA> <NA> bob <NA> <NA>\n"
    "SPEAKER call 1 0.5 1.75 <NA> <NA> ann <NA> <NA>\n"
)
WHISPERX = {
    "segments": [
        {"start": 0.5, "end": 2.25, "text": "a", "words": [], "speaker": "ann"},
        {"start": 2.5, "end": 4.0, "text": "b", "words": [], "speaker": "bob"},
    ],
    "word_segments": [],
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("call.rttm", RTTM),
        ("call.txt", RTTM.replace("call 1", "<NA> 1")),
        ("call.csv", "start,end,speaker\n0.5,2.25,ann\n2.5,4.0,bob\n"),
        ("call.csv", "note;Speaker;Start;End\nx;ann;0,5;2,25\ny;bob;2,5;4\n"),
        ("call.csv", "SPEAKER,START,END\nann,0.5,2.25\nbob,2.5,4.0\n"),
        ("call.tsv", "SPEAKER\tSTART\tEND\nann\t0.5\t2.25\nbob\t2.5\t4.0\n"),
        ("call.csv", "sep=|\nstart|end|speaker\n0.5|2.25|ann\n\n2.5|4.0|Bob\n"),
        ("call.tsv", "start\tend\tspeaker\n2.5\t4.0\tbob\n0.5\t2.25\tann\n"),
        ("call", "0.5,2.25,ann\n2.5,4.0,bob\n"),
        ("call", "00:00:00,500;00:00:02,250;ann\r\n\r\n0:02.5;0:00:04;bob"),
        ("call.csv", "start,end,speaker\n0:00.5,0 days 00:00:02.25,ann\n2.5,4,bob\n"),
        ("call.rttm", f";; of a call\n\n{RTTM}".replace("\n", "\r\n")),
        (
            "labels.txt",
            "0.500000\t2.250000\tann\n\\\t-1\t-1\n2.500000\t4.000000\tbob\n",
        ),
        ("call.json", json.dumps(WHISPERX)),
        ("call.json", json.dumps(WHISPERX["segments"], indent=1)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_each_format_is_told_by_its_content(tmp_path, name, text, encoding):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    found = read_turns(path)
    times = [(turn.start, turn.end, turn.speaker.lower()) for turn in found]
    assert times == [(0.5, 2.25, "ann"), (2.5, 4.0, "bob")]
    assert {type(turn.start) for turn in found} == {float}


def test_spellings_of_a_name_are_one_speaker(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("start,end,speaker\n0,1,Ann\n1,2,ann\u200b\n2,3,Ann\n", "utf-8")
    assert {turn.speaker for turn in read_turns(path)} == {"Ann"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, expected RTTM"),
        ("hello\nworld\n", "line 1: found 'hello', expected RTTM, a CSV table"),
        ("0,1,ann\nhello\n", "line 2: found 'hello'"),
        pytest.param("a" * 200_000, "line 1: found 'aaaa", id="one long line"),
        ("start,end\n0,1\n", r"line 1: lacks the columns \['speaker'\]"),
        ("start,end,speaker\n", "has a header but no rows"),
        ("start,end,speaker\n0,1,ann\n1,x,ann\n", "line 3: the end is 'x', expected"),
        ("start,end,speaker\n0,1,ann\n1,nan,ann\n", "line 3: the end is 'nan'"),
        ("start,end,speaker\n-1,1,ann\n", "line 2: the start is -1 s, expected 0 s"),
        (
            "start,end,speaker\n\n3,2,ann\n",
            "line 3: the end at 2 s is not after the st",
        ),
        ("start,end,speaker\n3,4, \u200b\n", "line 2: the speaker is empty"),
        ("0\t1\n", "line 1: the speaker is empty"),
        ("SPEAKER call 1 0 1 <NA> <NA> <NA> <NA> <NA>\n", "line 1: the speaker is em"),
        ("SPEAKER call 1 0\n", "line 1: has 4 cells"),
        (f"{RTTM}0,1,ann\n", "line 5: found '0,1,ann', expected a line of RTTM"),
        (f"{RTTM}SPEAKER b 1 0 1 <NA> <NA> a <NA> <NA>", "line 5: is of the file 'b'"),
        (";;\n", "RTTM without a line SPEAKER"),
        ('{"segments": [\n{"start": 0,}]}', "line 2: is no JSON"),
        ('{"text": "a"}', "without a list 'segments'"),
        (
            '{"segments": [{"start": 0, "end": 1}]}',
            "segment 1: has no 'speaker'; whisperX writes it with --diarize",
        ),
        ('[{"start": 0, "end": true, "speaker": "a"}, 3]', "segment 2: has no 'start'"),
        (
            json.dumps([*WHISPERX["segments"], {"start": 5, "end": 6}]),
            r"segment 3: has no 'speaker'\.",
        ),
        ("[3, 4]", "segment 1: has no 'start'"),
        ("start,end,speaker\n0,5,1,5,ann\n", "line 2: has 5 cells, expected 3, as the"),
        ("0,1,a\n0,5,1,5,ann\n", "line 2: found '0,5,1,5,ann', expected RTTM"),
        ("start,end,speaker\n0,1:2:3:4,ann\n", "line 2: the end is '1:2:3:4', expect"),
        (
            "SPEAKER call 1 0 1 <NA> <NA> Ann Lee <NA>\n",
            "line 1: found .* a name in RTTM has no spaces",
        ),
        ("RIFF\udcff\udcfe\n", "is not text in UTF-8"),
    ],
)
def test_what_is_wrong_has_its_line(tmp_path, text, message):
    path = tmp_path / "call.txt"
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(ValueError, match=message) as caught:
        read_turns(path)
    assert str(caught.value).startswith(f"turns '{path}'")


def test_rttm_of_several_files_has_the_turns_of_one(tmp_path):
    path = tmp_path / "all.rttm"
    path.write_text(f"{RTTM}SPEAKER other 1 7 1 <NA> <NA> cem <NA> <NA>\n")
    (turn,) = read_turns(path, recording="x/other.wav")
    assert turn.speaker == "cem"
    assert len(read_turns(path, recording="call.mp3")) == 2
    message = r"line 3: is of the file 'call', and no li.*'x'"
    with pytest.raises(ValueError, match=message):
        read_turns(path, recording="x.wav")


# ------------------------------------------------------------------------ predictions


@given(
    spans=st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=8
    ),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_windows_are_parts_of_the_whole(spans, cuts):
    wave = np.arange(60, dtype=np.float32)
    windows = [[(start, start + n)] for start, n in spans]
    windows.append([(3, 5), (9, 10), (58, 62)])  # ends behind the recording
    found = dict(cut_spans(np.split(wave, sorted(cuts)), windows))
    assert len(found) == len(windows)
    for place, spans_of_one in enumerate(windows):
        expected = np.concatenate([wave[a:b] for a, b in spans_of_one])
        np.testing.assert_array_equal(found[place], expected)


def test_what_no_later_window_needs_is_dropped():
    blocks = [np.zeros(10, np.float32)] * 1000
    windows = [[(start, start + 15)] for start in range(0, 9900, 50)]
    sounds = (sound for _, sound in cut_spans(blocks, windows))
    sizes = [(s if s.base is None else s.base).nbytes for s in sounds]
    assert len(sizes) == len(windows)
    assert max(sizes) < 40 * 4


def test_a_turn_is_predicted_like_a_recording(model, talk, tmp_path):
    path = tmp_path / "call.wav"
    soundfile.write(path, talk, RATE, subtype="FLOAT")
    turns = [(4, 5.5, "bob"), (0.5, 2, "ann"), (5, 9, "ann")]
    found = emotion_timeline(model, path, turns=turns)
    assert isinstance(found, EmotionTurns)
    assert found.speakers.tolist() == ["ann", "bob", "ann"]
    parts = [talk[round(s * RATE) : round(e * RATE)] for s, e, _ in sorted(turns)]
    expected = model.predict_proba(parts)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert found.emotions.tolist() == model.predict(parts).tolist()
    assert found.seconds.tolist() == [1.5, 1.5, 4]
    assert found.overlaps.tolist() == [0, 0.5, 0.5]
    assert set(found.kinds) == {"inductive"}
    in_memory = emotion_timeline(model, talk, turns=[Turn(*turn) for turn in turns])
    np.testing.assert_array_equal(in_memory.probabilities, found.probabilities)


def test_a_long_turn_is_the_mean_of_its_windows(model, talk):
    found = emotion_timeline(model, talk, turns=[(1, 8, "ann")], window=3, hop=2)
    timeline = emotion_timeline(model, talk[RATE : 8 * RATE], window=3, hop=2)
    assert timeline.starts.tolist() == [0, 2, 4]
    np.testing.assert_allclose(
        found.probabilities[0], timeline.mean_probabilities, atol=1e-6
    )


def test_a_turn_that_is_too_short_is_joined_or_said(model, talk):
    turns = [(0, 2, "ann"), (2.1, 2.4, "ann"), (3, 3.2, "bob"), (5.5, 7, "bob")]
    found = emotion_timeline(model, talk, turns=turns)
    np.testing.assert_allclose(found.seconds, [2.3, 2.3, 0.2, 1.5])
    joined = np.r_[talk[: 2 * RATE], talk[round(2.1 * RATE) : round(2.4 * RATE)]]
    expected = model.predict_proba([joined, joined, talk[round(5.5 * RATE) : 7 * RATE]])
    np.testing.assert_allclose(found.probabilities[[0, 1, 3]], expected, atol=1e-6)
    assert found.known.tolist() == [True, True, False, True]
    assert found.emotions[2] is None
    assert "1 turn(s) are too short: below 0.5 s" in str(found)
    assert found.lanes["bob"].shares.sum() == pytest.approx(1)
    alone = emotion_timeline(model, talk, turns=[(1, 1.3, "ann")])
    assert alone.shares.tolist() == [0] * 3
    assert "ann" in str(alone)
    behind = emotion_timeline(model, talk, turns=[(9.99, 10.49, "ann")])
    assert not behind.known.any()


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (
            [(0, 1, "a"), (9, 11, "a")],
            r"turns\[1\]: the turn from 9 s to 11 s is beyond ",
        ),
        ([(10, 10.2, "a")], "beyond the recording, which has 10 s"),
        ([], "turns is empty"),
        ([(0, 1, " ")], r"turns\[0\]: the speaker is empty"),
        ([(0, 1, float("nan"))], "speaker is empty"),
        ([3], r"turns\[0\] is 3, expected start, end and speaker"),
        (3, "turns is a int, expected a path"),
    ],
)
def test_turns_that_do_not_fit_are_told_before_anything(model, talk, turns, message):
    calls = []
    spy = with_own_voices(model)
    spy.predict_proba = calls.append
    with pytest.raises((TypeError, ValueError), match=message):
        emotion_timeline(spy, talk, turns=turns)
    assert not calls


@pytest.mark.parametrize("turns", [[(1, 2, "ann")], "channels"])
def test_turns_are_of_a_whole_recording(model, talk, turns):
    part = {"array": [talk, 0 * talk], "sampling_rate": RATE, "start": 1, "end": 5}
    with pytest.raises(ValueError, match="expected a whole recording"):
        emotion_timeline(model, part, turns=turns)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_turn_ends_with_its_recording(model, talk, tmp_path, is_stream):
    path = tmp_path / "talk.mp3"
    soundfile.write(path, talk[: 3 * RATE], RATE)
    data = path.read_bytes()
    if is_stream:
        path.write_bytes(data[data.index(b"\xff\xf3", 4) :])
    end = len(load_audio(path)) / RATE
    times = {"window": 0.1, "hop": 0.1}
    found, known = (
        emotion_timeline(model, path, turns=[(1, e, "ann")], **times).probabilities
        for e in (end + 0.4, end)
    )
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, known, atol=0.1)


@pytest.mark.parametrize(("rate", "error"), [(0, ValueError), ("16000", TypeError)])
def test_a_rate_that_is_none_is_told_of_turns_too(model, talk, rate, error):
    recording = {"array": talk, "sampling_rate": rate}
    with pytest.raises(error, match=f"sampling_rate={rate!r}"):
        emotion_timeline(model, recording, turns=[(0, 2, "ann")])


@pytest.mark.parametrize("enrolls", [None, "self"])
def test_a_known_voice_may_be_a_number_or_spelt_otherwise(model, corpus, talk, enrolls):
    numbers = np.unique(corpus.speakers, return_inverse=True)[1]
    front = LogMelTransformer(n_mels=16)
    by_number = make_pipeline(front, SpeakerNormalizer(), make_baseline(of_frames=True))
    by_number.fit(corpus.waveforms, corpus.y, speakernormalizer__speakers=numbers)
    for each, name in (by_number, 1), (model, str(corpus.speakers[0]).upper()):
        found = emotion_timeline(each, talk, turns=[(0, 2, name)])
        assert found.kinds.tolist() == ["enrolled"]
    turns = [(0, 2, "1"), (2, 4, "77")]
    found = emotion_timeline(by_number, talk, turns=turns, enroll=enrolls)
    assert found.speakers.tolist() == [1, 77]
    assert [line.split()[0] for line in str(found).splitlines()[2:4]] == ["1", "77"]
    message = r"turns\[0\]: the speaker 'ann' is a word, but the model knows the speak"
    with pytest.raises(ValueError, match=message):
        emotion_timeline(by_number, talk, turns=[(0, 2, "ann"), *turns], enroll=enrolls)


def test_the_end_of_a_stream_is_told(model, talk, tmp_path):
    """Where the header has no length: an MP3 file without a count of frames."""
    path = tmp_path / "call.mp3"
    soundfile.write(path, talk, RATE)
    data = path.read_bytes()
    path.write_bytes(re.sub(rb"Xing|Info", b"\0\0\0\0", data))
    message = r"turns\[0\].*beyond the recording, which has"
    with pytest.raises(ValueError, match=message):
        emotion_timeline(model, path, turns=[(9, 12, "ann")])


# ----------------------------------------------------------------------------- voices

TURNS = [(0, 2, "ann"), (2, 4, "bob"), (4, 6, "ann"), (6, 8, "bob"), (8, 10, "ann")]


@pytest.mark.parametrize(("kept", "n_computed"), [(2**26, 5), (0, 10)])
def test_speakers_enroll_themselves(model, talk, monkeypatch, kept, n_computed):
    """As by hand: the turns of a speaker are recordings of the voice.

    The features of a turn are computed once, while they fit.
    """
    before, seen = dict(find_normalizer(model).speaker_statistics_), []
    transform = LogMelTransformer.transform
    spy = lambda self, X: seen.extend(X) or transform(self, X)  # noqa: E731
    monkeypatch.setattr("sklearn_ser.timeline.windows._KEPT", kept)
    with monkeypatch.context() as patch:
        patch.setattr(LogMelTransformer, "transform", spy)
        found = emotion_timeline(model, talk, turns=TURNS, enroll="self")
    assert len(seen) == n_computed
    assert find_normalizer(model).speaker_statistics_ == before
    assert set(found.kinds) == {"transductive"}
    assert "transductive" in str(found)
    parts = [talk[s * RATE : e * RATE] for s, e, _ in TURNS]
    names = [name for *_, name in TURNS]
    by_hand = enroll(with_own_voices(model), parts, names)
    expected = emotion_timeline(by_hand, talk, turns=TURNS)
    assert set(expected.kinds) == {"enrolled"}
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    plain = emotion_timeline(model, talk, turns=TURNS)
    assert np.abs(found.probabilities - plain.probabilities).max() > 1e-3


def test_a_search_and_vectors_enroll_themselves_too(corpus, talk):
    front = make_baseline(of_frames=True).named_steps
    steps = LogMelTransformer(n_mels=16), front["framestatistics"], SpeakerNormalizer()
    pipeline = make_pipeline(*steps, front["equalpriorslda"])
    search = GridSearchCV(pipeline, {}, cv=2)
    search.fit(corpus.waveforms, corpus.y, speakernormalizer__speakers=corpus.speakers)
    found = emotion_timeline(search, talk, turns=TURNS, enroll="self")
    best = emotion_timeline(search.best_estimator_, talk, turns=TURNS, enroll="self")
    np.testing.assert_array_equal(found.probabilities, best.probabilities)
    assert "ann" not in find_normalizer(search).speaker_statistics_


def test_a_voice_is_not_learnt_from_what_others_talk_over(model, talk):
    turns = [*TURNS, (2, 4, "cem")]
    found = emotion_timeline(model, talk, turns=turns, enroll="self")
    kinds = dict(zip(found.speakers.tolist(), found.kinds.tolist(), strict=True))
    assert kinds == {"ann": "transductive", "bob": "transductive", "cem": "inductive"}


def test_a_one_sided_mix_enrolls_nobody_and_is_said():
    names = "neutral", "anger", "sadness"
    options = {"n_speakers": 4, "n_utterances": 2, "emotions": names, "duration": 0.6}
    corpus = make_emotional_speech(**options, random_state=0)
    front, last = LogMelTransformer(n_mels=16), make_baseline(of_frames=True)
    model = make_pipeline(front, SpeakerNormalizer(), last)
    model.fit(corpus.data, corpus.target, speakernormalizer__speakers=corpus.speakers)
    pairs = zip(corpus.data, corpus.target, strict=True)
    sad = np.concatenate([wave for wave, emotion in pairs if emotion == "sadness"])
    turns = [(0.6 * i, 0.6 * (i + 1), "ann") for i in range(8)]
    message = "'ann' seem to show mostly 'sadness', so the voice does not enroll itself"
    with pytest.warns(OneSidedEnrollmentWarning, match=message):
        found = emotion_timeline(model, sad, turns=turns, enroll="self")
    assert set(found.kinds) == {"inductive"}
    plain = emotion_timeline(model, sad, turns=turns)
    np.testing.assert_array_equal(found.probabilities, plain.probabilities)
    named = [(start, end, "s01") for start, end, _ in turns]  # known from the training
    with pytest.warns(OneSidedEnrollmentWarning, match="'s01' seem"):
        found = emotion_timeline(model, sad, turns=named, enroll="self")
    assert set(found.kinds) == {"enrolled"}


def test_enrolment_that_cannot_be(model, talk, corpus):
    plain = make_pipeline(LogMelTransformer(n_mels=16), make_baseline(True))
    plain.fit(corpus.waveforms, corpus.y)
    message = "enroll='self' needs a model with a SpeakerNorm"
    with pytest.raises(TypeError, match=message):
        emotion_timeline(plain, talk, turns=TURNS, enroll="self")
    assert set(emotion_timeline(plain, talk, turns=TURNS).kinds) == {"inductive"}
    with pytest.raises(ValueError, match="enroll='self' needs turns"):
        emotion_timeline(model, talk, enroll="self")
    with pytest.raises(ValueError, match="enroll must be 'self' or None, got 'all'"):
        emotion_timeline(model, talk, turns=TURNS, enroll="all")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*seem to show mostly:UserWarning")  # one talk
def test_a_long_call_takes_little_memory(model, talk, tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(120):
            file.write(talk)
    turns = [(6.0 * i, 6.0 * i + 5.5, "ann" if i % 2 else "bob") for i in range(200)]
    turns.append((0, 600, "cem"))  # half of the call is one turn
    tracemalloc.start()
    found = emotion_timeline(model, path, turns=turns, enroll="self")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.known.all()
    assert peak < 20e6  # 77 MB as one array


# --------------------------------------------------------------------------- channels


@pytest.fixture
def stereo(talk):
    """Two speakers in turns, with an echo of each in the other channel, and noise."""
    n = len(talk)
    left, right = np.zeros(n), np.zeros(n)
    for start, end, who in ((1, 3, left), (4, 6, right), (7, 9, left)):
        tone = np.random.default_rng(start).normal(size=(end - start) * RATE) / 10
        who[start * RATE : end * RATE] = tone
    noise = np.random.default_rng(0).normal(size=(2, n)) * 1e-4
    return np.stack([left + 0.05 * right, right + 0.05 * left]) + noise


def test_channels_are_speakers(model, stereo, tmp_path):
    path = tmp_path / "call.wav"
    soundfile.write(path, stereo.T.astype(np.float32), RATE, subtype="FLOAT")
    turns = channel_turns(path)
    assert [turn.speaker for turn in turns] == ["channel 0", "channel 1", "channel 0"]
    assert [turn.channel for turn in turns] == [0, 1, 0]
    times = [(turn.start, turn.end) for turn in turns]
    np.testing.assert_allclose(times, [(0.9, 3.1), (3.9, 6.1), (6.9, 9.1)], atol=0.03)
    found = emotion_timeline(model, path, turns="channels")
    sound = stereo.astype(np.float32)
    spans = [(t.channel, round(t.start * RATE), round(t.end * RATE)) for t in turns]
    parts = [sound[channel, start:end] for channel, start, end in spans]
    np.testing.assert_allclose(
        found.probabilities, model.predict_proba(parts), atol=1e-6
    )
    in_memory = {"array": sound, "sampling_rate": RATE}
    again = emotion_timeline(model, in_memory, turns="channels")
    np.testing.assert_array_equal(again.probabilities, found.probabilities)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda stereo: stereo[:1], "found 1 channel"),
        (lambda stereo: stereo[[0, 0]], "all 2 channels hold the same sound"),
        (lambda stereo: 0 * stereo, "found no speech in any channel"),
        (lambda stereo: stereo[:, :9], "found no speech in any channel"),
        (lambda stereo: 1e-5 * stereo, "found no speech in any channel"),
    ],
)
def test_channels_without_speakers_are_told(model, stereo, make, message):
    recording = {"array": make(stereo).astype(np.float32), "sampling_rate": RATE}
    with pytest.raises(ValueError, match=message):
        emotion_timeline(model, recording, turns="channels")


def test_a_channel_without_speech_is_told(model, stereo):
    stereo[1] = 0
    recording = {"array": stereo.astype(np.float32), "sampling_rate": RATE}
    with pytest.warns(SilentRecordingWarning, match="has no speech in channel 1"):
        found = emotion_timeline(model, recording, turns="channels")
    assert set(found.speakers) == {"channel 0"}


# ---------------------------------------------------------------------------- results


@pytest.fixture
def result():
    """Three turns of two speakers, of which one is too short."""
    return EmotionTurns(
        "a call.wav",
        speakers=np.array(["ann", "bob", "ann"]),
        starts=np.array([0.0, 2.0, 4.0]),
        ends=np.array([2.0, 2.25, 7.0]),
        seconds=np.array([2.0, 0.25, 3.0]),
        overlaps=np.array([0.0, 0.0, 1.0]),
        kinds=np.array(["transductive", "inductive", "transductive"]),
        probabilities=np.array([[0.9, 0.1], [np.nan, np.nan], [0.2, 0.8]]),
        classes=np.array(["neutral", "<b>"]),
    )


def test_a_summary_has_a_line_for_each_speaker(result):
    assert str(result).splitlines() == [
        "a call.wav: 3 turn(s) of 2 speaker(s) up to 0:07; share of the speech in %",
        "speaker  turns  speech (s)         voice  neutral   <b>",
        "ann          2         5.0  transductive     40.0  60.0",
        "bob          1         0.2     inductive      0.0   0.0",
        "1 turn(s) are too short: below 0.5 s, and no other turn of the speaker is "
        "within 1 s.",
        "1 turn(s) overlap with another speaker's.",
        "Voices marked transductive were enrolled with the turns that are predicted.",
    ]
    np.testing.assert_allclose(result.mean_probabilities, [0.48, 0.52])


def test_a_table_has_a_row_for_each_turn(result):
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert frame.columns.tolist() == [
        *("file", "speaker", "start", "end", "seconds", "overlap", "kind", "emotion"),
        *("neutral", "<b>"),
    ]
    row = frame.loc[2].tolist()
    assert row == ["a call.wav", "ann", 4, 7, 3, 1, "transductive", "<b>", 0.2, 0.8]
    assert frame["emotion"].isna().tolist() == [False, True, False]


def test_a_page_has_a_lane_for_each_speaker(result):
    text = timeline_page([result, replace(result, name="b")], "m.skops")
    assert "http" not in text
    assert text.count('class="lane"') == 4
    assert text.count('class="overlap"') == 0
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    lanes = re.findall(r"<h3>(\w+) <span.*?>(.*?)</span>", text, re.DOTALL)[:2]
    assert [(who, " ".join(what.split())) for who, what in lanes] == [
        ("ann", "2 turn(s), 0:05 of speech, transductive"),
        ("bob", "1 turn(s), 0:00 of speech, inductive"),
    ]
    spans = re.findall(r'<rect x="(.*?)" width="(.*?)"', text)[:3]
    expected = [[0, 2000 / 7], [4000 / 7, 3000 / 7], [2000 / 7, 250 / 7]]
    np.testing.assert_allclose(np.array(spans, float), expected, atol=0.006)
    text = timeline_page([replace(result, ends=np.array([2.5, 2.25, 7.0]))])
    marks = re.findall(r'class="overlap" x="(.*?)" y=".*?"\s+width="(.*?)"', text)
    expected = [[2000 / 7, 250 / 7]] * 2
    np.testing.assert_allclose(np.array(marks, float), expected, atol=0.01)


def test_a_column_of_a_page_hides_no_other_one(result):
    # What is drawn over the whole of another area mixes with it at the edges.
    text = timeline_page([result])
    columns = re.findall(r'<path d="(.*?)" fill="(.*?)"', text, re.DOTALL)[:2]
    ends = [re.findall(r"M\S+,(\d+)h\S+?V(\d+)h", d) for d, _ in columns]
    assert ends == [[("0", "110"), ("0", "810")], [("100", "1000"), ("800", "1000")]]


@pytest.fixture
def drawn(plt):
    """Return a function that draws turns in a figure of so many inches."""

    def draw(turns, width):
        figure, ax = plt.subplots(figsize=(width, 3), layout="constrained")
        display = EmotionTurnsDisplay.from_result(turns, ax=ax)
        figure.canvas.draw()
        legend = ax.get_legend().get_window_extent()
        assert legend.y1 < ax.xaxis.label.get_window_extent().y0
        assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
        return display

    return draw


@pytest.mark.parametrize("width", [3.5, 9.0])
def test_a_picture_has_a_lane_for_each_speaker(drawn, result, width):
    display = drawn(result, width)
    ax = display.ax_
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ann", "bob"]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["neutral", "<b>"]
    assert ax.get_title() == "a call.wav"
    heights = []
    for area in display.areas_:
        corners = [path.vertices for path in area.get_paths()]
        assert [c[:, 0].min() for c in corners] == [0, 4]
        assert [c[:, 0].max() for c in corners] == [2, 7]
        heights.append([np.ptp(c[:, 1]) for c in corners])
    heights = np.array(heights) / np.sum(heights, axis=0)
    np.testing.assert_allclose(heights.T, [[0.9, 0.1], [0.2, 0.8]])


def test_a_long_name_leaves_room_for_the_lanes(drawn, result):
    who = "Dr. Maria-Magdalena von Hohenstein, customer-service"
    P = np.full((3, 8), 1 / 8)
    classes = np.array([f"emotion {i}" for i in range(8)])
    speakers = np.where(result.speakers == "ann", who, "bob")
    long = replace(result, speakers=speakers, probabilities=P, classes=classes)
    display = drawn(long, 5)
    label = display.ax_.get_yticklabels()[0].get_text()
    assert label.replace("-\n", "-").replace("\n", " ") == who
    assert display.ax_.get_window_extent().width > display.figure_.bbox.width / 2
    numbers = replace(result, speakers=np.array([1, 2, 1]))
    assert drawn(numbers, 5).ax_.get_yticklabels()[0].get_text() == "1"


def test_no_turn_of_an_hour_vanishes_or_joins(plt):
    starts = 5.9 * np.arange(600)
    hour = EmotionTurns(
        "hour.wav",
        speakers=np.tile(["ann", "bob"], 300),
        starts=starts,
        ends=starts + 3.8,
        seconds=np.full(600, 3.8),
        overlaps=np.zeros(600),
        kinds=np.full(600, "inductive"),
        probabilities=np.tile([0.9, 0.1], (600, 1)),
        classes=np.array(["neutral", "anger"]),
    )
    figure, ax = plt.subplots(figsize=(5, 3), dpi=80)
    EmotionTurnsDisplay.from_result(hour, ax=ax)
    figure.canvas.draw()
    ink = 255.0 - np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(axis=2)
    box = ax.get_window_extent()
    top = figure.bbox.height
    lane = ink[int(top - box.y1) + 5 : int(top - (box.y0 + box.y1) / 2)]
    lane = lane[:, int(box.x0) + 3 : int(box.x1) - 3].mean(axis=0)
    parts = [part.mean() for part in np.array_split(lane, 12)]
    assert max(parts) < 1.2 * min(parts)


def test_a_picture_of_an_estimator(plt, model, talk):
    display = EmotionTurnsDisplay.from_estimator(model, talk, TURNS, enroll="self")
    expected = emotion_timeline(model, talk, turns=TURNS, enroll="self")
    np.testing.assert_array_equal(display.turns.probabilities, expected.probabilities)
    short = replace(expected, probabilities=np.full((5, 3), np.nan))
    EmotionTurnsDisplay.from_result(short).figure_.canvas.draw()
