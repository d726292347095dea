"""Long recordings: read in blocks, predicted in windows, summed up and drawn."""

import re
import sys
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_ser import (
    EmotionTimeline,
    LogMelTransformer,
    SilentRecordingWarning,
    emotion_timeline,
)
from sklearn_ser.baseline import make_baseline
from sklearn_ser.features import load_audio
from sklearn_ser.features._audio_stream import Resampler, cut_windows, read_blocks
from sklearn_ser.inspection import EmotionTimelineDisplay
from sklearn_ser.timeline.page import timeline_page

RATE = 16000


def noise(seconds, rate=RATE, n_channels=None, seed=0):
    shape = (round(seconds * rate), *([n_channels] if n_channels else []))
    return (np.random.default_rng(seed).normal(size=shape) / 10).astype(np.float32)


@pytest.fixture(scope="module")
def model(corpus):
    model = make_pipeline(LogMelTransformer(n_mels=16), make_baseline(of_frames=True))
    return model.fit(corpus.waveforms, corpus.y)


@pytest.fixture
def timeline():
    """Three windows of which the last ends with the recording, at 4 s."""
    return EmotionTimeline(
        "a talk.wav",
        starts=np.array([0.0, 1.0, 2.0]),
        ends=np.array([2.0, 3.0, 4.0]),
        probabilities=np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1]]),
        classes=np.array(["neutral", "anger", "<b>"]),
    )


# ---------------------------------------------------------------------------- blocks


@pytest.mark.parametrize(
    ("name", "rate", "n_channels", "options"),
    [
        ("a.wav", 16000, 1, {}),
        ("a.wav", 8000, 1, {"subtype": "ULAW"}),
        ("a.wav", 8000, 1, {"subtype": "GSM610"}),
        ("a.flac", 44100, 2, {"subtype": "PCM_24"}),
        ("a.ogg", 22050, 1, {}),
        ("a.mp3", 48000, 2, {}),
        ("a.aiff", 12345, 5, {"subtype": "PCM_16"}),
    ],
)
@pytest.mark.parametrize("channel", ["mean", 0])
def test_blocks_are_the_whole(
    tmp_path, monkeypatch, name, rate, n_channels, options, channel
):
    monkeypatch.setattr("sklearn_ser.features._audio_stream._BLOCK", 2**13)
    path = tmp_path / name
    soundfile.write(path, noise(3.003, rate, n_channels), rate, **options)
    blocks = list(read_blocks(path, RATE, channel))
    assert len(blocks) > 1
    whole = load_audio(path, sampling_rate=RATE, channel=channel)
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("n_times", [1, 7, 4410])
def test_short_files_and_arrays_are_blocks_too(tmp_path, n_times):
    soundfile.write(tmp_path / "a.wav", noise(1, n_times), 44100)
    whole = load_audio(tmp_path / "a.wav")
    blocks = list(read_blocks(tmp_path / "a.wav", RATE))
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    heard = whole + np.float32(0.1)  # one sample may be silent after the resampling
    (block,) = read_blocks({"array": heard, "sampling_rate": RATE}, RATE)
    np.testing.assert_array_equal(block, heard)


@given(
    n_times=st.integers(0, 60),
    length=st.integers(1, 20),
    hop=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_windows_do_not_depend_on_blocks(n_times, length, hop, cuts):
    hop = min(hop, length)
    wave = np.arange(n_times, dtype=np.float32)
    blocks = np.split(wave, sorted(min(cut, n_times) for cut in cuts))
    starts = [*range(0, n_times - length, hop), max(0, n_times - length)]
    expected = [(a, min(a + length, n_times)) for a in starts if n_times]
    found = list(cut_windows(blocks, length, hop))
    assert [span for *span, _ in found] == [list(span) for span in expected]
    for start, end, window in found:
        np.testing.assert_array_equal(window, wave[start:end])


def test_a_window_comes_as_soon_as_it_is_whole():
    def blocks():
        for i in range(5):
            seen.append(i)
            yield np.zeros(4, np.float32)

    seen = []
    windows = cut_windows(blocks(), 8, 4)
    assert [len(seen) for _ in windows] == [2, 3, 4, 5]


def test_the_length_of_what_is_resampled_is_that_of_load_audio():
    for n_times in (0, 1, 2, 999):
        resample = Resampler(8000, RATE)
        out = [resample(np.ones(n_times, np.float32))]
        out.append(resample(np.empty(0, np.float32), last=True))
        assert sum(map(len, out)) == 2 * n_times


def cut_in_the_middle(path):
    path.write_bytes(path.read_bytes()[:-9000])


def not_a_number(path):
    wave = noise(30)
    wave[20 * RATE] = np.nan
    soundfile.write(path, wave, RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), r"recording \('.*a.wav'\) is missing"),
        (lambda path: path.write_bytes(b"no audio"), "does not decode"),
        (cut_in_the_middle, "is cut short"),
        (not_a_number, r"from 16\.\d+ s on, contains NaN"),
        (lambda path: soundfile.write(path, [], RATE), "is empty: found 0 samples"),
        (
            lambda path: soundfile.write(path, np.zeros(700_000), 8, "PCM_U8"),
            "is too long: found 87500 s, expected at most 86400 s",
        ),
    ],
)
def test_a_faulty_file_is_told(model, tmp_path, spoil, message):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3), RATE)
    spoil(path)
    with pytest.raises(ValueError, match=message):
        emotion_timeline(model, path)


def test_a_file_longer_than_an_hour_is_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(3700 * 100), 100, "PCM_U8")
    with pytest.warns(SilentRecordingWarning, match=r"\('.*a.wav'\) is silent: its s"):
        n_times = sum(len(block) for block in read_blocks(path, 100))
    assert n_times == 3700 * 100
    with pytest.raises(ValueError, match="is too long"):
        load_audio(path, sampling_rate=100)


# --------------------------------------------------------------------------- windows


def test_each_window_is_predicted_like_a_recording(model, tmp_path):
    wave = noise(7.3)
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    of_file = emotion_timeline(model, tmp_path / "a.wav", window=2, hop=1)
    of_array = emotion_timeline(model, wave, window=2, hop=1)
    mapping = {"array": wave, "sampling_rate": RATE}
    of_mapping = emotion_timeline(model, mapping, window=2, hop=1)
    starts = [0, 1, 2, 3, 4, 5, 5.3]
    parts = [wave[round(s * RATE) :][: 2 * RATE] for s in starts]
    expected = model.predict_proba(parts)
    for found in (of_file, of_array, of_mapping):
        np.testing.assert_allclose(found.starts, starts)
        np.testing.assert_allclose(found.ends, np.add(starts, 2))
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
        assert found.emotions.tolist() == model.predict(parts).tolist()
    assert of_file.name == str(tmp_path / "a.wav")
    assert of_array.name == of_mapping.name == "recording"


def test_the_rate_and_the_channel_are_those_of_the_first_step(corpus):
    front = LogMelTransformer(sampling_rate=8000, n_mels=16, channel=1)
    pipeline = make_pipeline(make_pipeline("passthrough", front), make_baseline(True))
    search = GridSearchCV(pipeline, {}, cv=2, error_score="raise")
    stereo = [
        {"array": np.stack([w, w]), "sampling_rate": RATE} for w in corpus.waveforms
    ]
    search.fit(stereo, corpus.y)
    wave = np.stack([noise(2), noise(2, seed=1)])
    recording = {"array": wave, "sampling_rate": RATE}
    found = emotion_timeline(search, recording, window=10)
    np.testing.assert_allclose(
        found.probabilities, search.predict_proba([recording]), atol=1e-6
    )


@pytest.mark.slow
def test_a_long_file_takes_little_memory(model, tmp_path):
    path, block = tmp_path / "long.wav", noise(60)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(20):
            file.write(block)
    tracemalloc.start()
    found = emotion_timeline(model, path, window=10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.starts) == 239
    assert peak < 20e6  # 77 MB as one array


def test_a_summary_counts_no_moment_twice(timeline):
    assert timeline.edges.tolist() == [0, 1.5, 2.5, 4]
    np.testing.assert_allclose(timeline.shares, [1.5 / 4, 2.5 / 4, 0])
    expected = np.average(timeline.probabilities, axis=0, weights=[1.5, 1, 1.5])
    np.testing.assert_allclose(timeline.mean_probabilities, expected)
    assert str(timeline).splitlines() == [
        "a talk.wav: 0:04 in 3 window(s)",
        "emotion  share of time (%)  mean probability",
        "anger                 62.5              0.44",
        "neutral               37.5              0.50",
        "<b>                    0.0              0.06",
    ]


def test_a_table_has_a_row_for_each_window(timeline, monkeypatch):
    pytest.importorskip("pandas")
    frame = timeline.to_frame()
    assert frame.columns.tolist() == [
        *("file", "start", "end", "emotion", "neutral", "anger", "<b>")
    ]
    assert frame.loc[1].tolist() == ["a talk.wav", 1, 3, "anger", 0.2, 0.7, 0.1]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"sklearn_ser\[datasets\]"):
        timeline.to_frame()


@pytest.mark.parametrize("names", [["start", "a", "b"], ["p_end", "end", "file"]])
def test_an_emotion_has_a_column_of_its_own(timeline, names):
    pytest.importorskip("pandas")
    frame = replace(timeline, classes=np.array(names)).to_frame()
    assert frame["start"].tolist() == [0, 1, 2]
    assert frame["end"].tolist() == [2, 3, 4]
    assert frame.shape == (3, 7)
    np.testing.assert_array_equal(frame.iloc[:, 4:], timeline.probabilities)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0.05}, "window must be between 0.1 s and 3600 s, got 0.05"),
        ({"window": float("nan")}, "window must be"),
        ({"hop": 0}, "hop must be between 0.01 s and the window of 3 s, got 0"),
        ({"hop": 3.5}, "hop must be between 0.01 s and the window of 3 s, got 3.5"),
        ({"model": LinearRegression()}, "LinearRegression without predict_proba"),
    ],
)
def test_what_makes_no_timeline_is_told(model, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        emotion_timeline(**{"model": model, "recording": noise(1), **options})


# -------------------------------------------------------------------------- pictures


def test_the_areas_are_the_probabilities(plt, timeline):
    display = EmotionTimelineDisplay.from_result(timeline)
    display.figure_.canvas.draw()
    heights = np.zeros(3)
    for area, p in zip(display.areas_, timeline.probabilities.T, strict=True):
        corners = area.get_paths()[0].vertices
        for i, time in enumerate([0.75, 2.0, 3.25]):
            top = corners[np.isclose(corners[:, 0], time), 1].max()
            assert top == pytest.approx(heights[i] + p[i])
            heights[i] = top
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["neutral", "anger", "<b>"]
    assert display.ax_.get_xlim() == (0, 4)
    assert display.ax_.get_title() == "a talk.wav"


@pytest.mark.parametrize("width", [3.0, 9.0])
def test_nothing_in_a_picture_overlaps_or_sticks_out(plt, timeline, width):
    figure, ax = plt.subplots(figsize=(width, 2.5), layout="constrained")
    EmotionTimelineDisplay.from_result(timeline, ax=ax)
    figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert legend.y1 < ax.xaxis.label.get_window_extent().y0
    assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
    labels = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
    assert len(labels) > 2
    assert all(a.x1 < b.x0 for a, b in pairwise(labels))


def test_a_picture_of_an_estimator(plt, model):
    wave = noise(3)
    display = EmotionTimelineDisplay.from_estimator(model, wave, window=1, hop=0.5)
    expected = emotion_timeline(model, wave, window=1, hop=0.5)
    np.testing.assert_array_equal(display.probabilities, expected.probabilities)
    one = EmotionTimelineDisplay.from_estimator(model, wave, window=9)
    one.figure_.canvas.draw()
    assert len(one.probabilities) == 1


def test_a_page_shows_all_and_fetches_nothing(timeline):
    text = timeline_page([timeline, timeline], "m<1>.skops")
    assert not re.search(r"<(b|script|link|img)\b|http|url\(", text)
    assert text.count("&lt;b&gt;") == 2
    assert "Predicted by m&lt;1&gt;.skops." in text
    assert {"37.5%", "62.5%"} <= set(re.findall(r">([^<]+)<", text))
    widths = re.findall(r'<rect x=".*?" width="(.*?)"', text)
    assert [float(width) for width in widths[:2]] == [375, 625]
    assert len(widths) == 4  # neighbours that are alike are one
    paths = re.findall(r'<path d="(.*?)" fill="(.*?)"', text)
    assert len(paths) == 6
    assert len({fill for _, fill in paths}) == 3
    top = paths[0][0].removeprefix("M0,1000 L").removesuffix(" L1000,1000Z")
    assert {point.split(",")[1] for point in top.split()} == {"0"}  # they sum to one


def test_a_page_of_a_day_is_small(timeline):
    n = 50_000
    rng = np.random.default_rng(0)
    day = EmotionTimeline(
        b"\xff.wav".decode(errors="surrogateescape"),
        starts=1.7 * np.arange(n),
        ends=1.7 * np.arange(n) + 3,
        probabilities=np.repeat(rng.dirichlet(np.ones(3), n // 100), 100, axis=0),
        classes=timeline.classes,
    )
    text = timeline_page([day])
    assert len(text.encode()) < 200_000
    assert "23:36:41" in text


def test_the_summary_of_a_segment_has_its_times():
    P = np.full((2, 2), 0.5)
    part = EmotionTimeline(
        "a.wav", np.array([60.0, 61]), np.array([63.0, 64]), P, np.array(["a", "b"])
    )
    assert str(part).startswith("a.wav: 1:00 to 1:04 in 2 window(s)\n")
    assert "1:00 to 1:04 in 2 window(s) of 3 s" in timeline_page([part])
