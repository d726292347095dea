"""predict_table: a table of recordings in, a table of emotions out."""

import os
import signal
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline

from sklearn_ser import (
    LogMelTransformer,
    SilentRecordingWarning,
    SpeakerNormalizer,
    emotion_timeline,
    predict_table,
    prediction,
)
from sklearn_ser.baseline import make_baseline
from sklearn_ser.persistence import save

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def model(corpus):
    pipeline = make_pipeline(
        LogMelTransformer(n_mels=16), make_baseline(of_frames=True)
    )
    return pipeline.fit(corpus.waveforms, corpus.y)


def test_its_rows_are_those_of_timelines(model, paths):
    table = predict_table(model, paths[:3], window=0.2, hop=0.1)
    expected = pd.concat(
        emotion_timeline(model, path, window=0.2, hop=0.1).to_frame()
        for path in paths[:3]
    )
    names = ["file", "start", "end", "emotion", "error", *model.classes_]
    assert list(table.columns) == names
    assert table.error.isna().all()
    pd.testing.assert_frame_equal(
        table.drop(columns="error"),
        expected.reset_index(drop=True),
        check_dtype=False,
        check_exact=True,
    )


def test_the_forms_of_a_table_have_the_same_rows(model, paths, corpus, tmp_path):
    expected = predict_table(model, paths[:2])
    contents = [Path(path).read_bytes() for path in paths[:2]]
    rows = {"file": paths[:2], "other": [1, 2]}
    for table in (rows, pd.DataFrame(rows), rows | {"bytes": contents}):
        pd.testing.assert_frame_equal(predict_table(model, table), expected)
    waves = predict_table(model, corpus.waveforms[:2])
    assert waves.file.tolist() == ["recordings[0]", "recordings[1]"]
    assert np.array_equal(waves[model.classes_], expected[model.classes_])


def test_a_recording_that_fails_is_a_row(model, paths, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"this is no audio")
    files = [paths[0], str(tmp_path / "broken.wav"), None, paths[1]]
    table = predict_table(model, {"file": files})
    assert table.error.notna().tolist() == [False, True, True, False]
    assert "does not decode" in table.error[1]
    assert table.drop(columns=["file", "error"]).isna().all(axis=1).tolist() == [
        *(False, True, True, False)
    ]
    others = predict_table(model, [paths[0], paths[1]])
    found = table.dropna(subset="emotion").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, others)


def test_a_table_has_the_same_columns_whatever_its_rows_are(model, paths):
    tables = [
        predict_table(model, {"file": files}) for files in ([], paths[:1], ["no.wav"])
    ]
    assert [len(table) for table in tables] == [0, 1, 1]
    assert len({tuple(table.dtypes.items()) for table in tables}) == 1


def test_parts_on_several_workers_are_those_of_one(model, paths):
    expected = predict_table(model, [*paths, "no.wav"])
    with joblib.parallel_config("threading"):
        found = predict_table(model, [*paths, "no.wav"], n_jobs=2)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


class Kills(TransformerMixin, BaseEstimator):
    """Kills each worker that meets a sequence of some length.

    With a `mark`, a file that says that it did, it kills only the first.
    """

    def __init__(self, n_frames, mark=None):
        self.parent = os.getpid()
        self.n_frames, self.mark = n_frames, mark

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        is_met = self.n_frames in {x.shape[1] for x in X}
        is_first = self.mark is None or not self.mark.exists()
        if is_met and is_first and os.getpid() != self.parent:
            if self.mark is not None:
                self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return X


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (  # else a worker that starts too slowly again is lost
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        distributed.LocalCluster(n_workers=2, **options) as cluster,
    ):
        yield cluster


@pytest.fixture
def backend(request):
    """Two workers, of Dask or of this machine's own pool."""
    if request.param == "loky":
        yield
        return
    cluster = request.getfixturevalue("cluster")
    with cluster.get_client(), joblib.parallel_config("dask"):
        yield


needs_sigkill = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
both = pytest.mark.parametrize("backend", ["dask", "loky"], indirect=True)


@pytest.mark.slow
@needs_sigkill
@both
@pytest.mark.usefixtures("backend")
def test_a_worker_that_is_killed_loses_no_row(model, paths, tmp_path):
    """Its part is predicted again, to the bit."""
    files, mark = [*paths * 4, "no.wav"], tmp_path / "killed"
    expected = predict_table(model, files)
    n_frames = model[0].transform(paths[:1])[0].shape[1]
    deadly = make_pipeline(model[0], Kills(n_frames, mark), model[1])
    found = predict_table(deadly, files, n_jobs=2)
    assert mark.exists()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.slow
@needs_sigkill
@both
@pytest.mark.usefixtures("backend")
def test_a_recording_that_kills_its_process_is_a_row(model, paths):
    """And the others of its part are predicted, to the bit."""
    wave = np.random.default_rng(0).normal(size=16000)
    waves = [wave[:size] for size in (*[8000] * 9, 4000, *[9000] * 6)]
    deadly = make_pipeline(model[0], Kills(1 + 4000 // 160), model[1])
    expected, killed = predict_table(model, waves), np.arange(16) == 9
    found = predict_table(deadly, waves, n_jobs=2)
    assert found.error.notna().tolist() == killed.tolist()
    assert set(found.error[killed]) == {"its process was killed; is memory short?"}
    assert found.file.equals(expected.file)
    pd.testing.assert_frame_equal(found[~killed], expected[~killed], check_exact=True)


@pytest.mark.slow
@needs_sigkill
def test_a_model_that_kills_every_process_ends_the_run(model, monkeypatch):
    monkeypatch.setattr(prediction, "_DEADLY", 2)
    deadly = make_pipeline(model[0], Kills(26), model[1])
    with pytest.raises(ChildProcessError, match="of the first 2 recordings were kill"):
        predict_table(deadly, [np.arange(4000) % 9 / 9.0] * 16, n_jobs=2)


def test_a_saved_model_is_loaded_once(model, paths, tmp_path):
    pytest.importorskip("skops")
    path = tmp_path / "model.skops"
    save(model, path)
    expected = predict_table(model, paths[:2])
    before = prediction._load.cache_info()
    for _ in range(3):
        pd.testing.assert_frame_equal(predict_table(path, paths[:2]), expected)
    after = prediction._load.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)


def test_voices_are_known_by_the_column_speaker(corpus, paths):
    front, last = LogMelTransformer(n_mels=16), make_baseline(of_frames=True)
    pipeline = make_pipeline(front, SpeakerNormalizer(), last)
    pipeline.fit(
        corpus.waveforms, corpus.y, speakernormalizer__speakers=corpus.speakers
    )
    plain = predict_table(pipeline, {"file": paths[:2]})
    table = {"file": paths[:2], "speaker": [corpus.speakers[0], None]}
    known = predict_table(pipeline, table)
    differs = (plain[pipeline.classes_] != known[pipeline.classes_]).any(axis=1)
    assert differs.tolist() == [True, False]


def test_a_row_may_be_a_part_of_a_file(model, paths):
    table = pd.DataFrame({"file": paths[:3], "start": [0.05, None, 9], "end": None})
    found = predict_table(model, table)
    assert found.start[:2].tolist() == [0.05, 0]
    segments = [{"path": paths[0], "start": 0.05}, paths[1]]
    other = predict_table(model, segments)
    pd.testing.assert_frame_equal(found[:2], other)
    whole = predict_table(model, paths[:2])
    differs = (other[model.classes_] != whole[model.classes_]).any(axis=1)
    assert differs.tolist() == [True, False]
    assert "beyond the end" in found.error[2]
    assert emotion_timeline(model, segments[0]).starts[0] == 0.05


def test_silence_is_told(model):
    with pytest.warns(SilentRecordingWarning, match="its few samples are all zero"):
        table = predict_table(model, [np.zeros(3)])
    assert table.error.isna().all()


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ("a.wav", "recordings is a str, expected a table with the column file"),
        (3, "recordings is a int, expected a table"),
        ({"path": ["a.wav"]}, r"the columns \['path'\], expected one of file"),
        ({"file": ["a", "b"], "speaker": ["c"]}, "unequal length: .*'speaker': 1"),
    ],
)
def test_what_is_no_table_is_refused(model, recordings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        predict_table(model, recordings)


def test_what_predicts_no_probabilities_is_refused(paths, tmp_path):
    unfitted = make_pipeline(LogMelTransformer(), make_baseline(of_frames=True))
    with pytest.raises(TypeError, match="model is a Pipeline without predict_proba"):
        predict_table(unfitted, paths)
    with pytest.raises(ValueError, match=r"no\.skops"):
        predict_table(tmp_path / "no.skops", paths)
    with pytest.raises(ValueError, match="window must be between"):
        predict_table(unfitted, paths, window=0)
