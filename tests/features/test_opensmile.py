"""OpenSMILETransformer: openSMILE's own figures, in scikit-learn's forms."""

import sys

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser import SpeakerNormalizer
from sklearn_ser.features import OpenSMILETransformer, load_audio
from sklearn_ser.persistence import load, save

opensmile = pytest.importorskip("opensmile")


@pytest.mark.parametrize(
    "feature_set",
    ["eGeMAPSv02", pytest.param("ComParE_2016", marks=pytest.mark.slow)],
)
def test_the_functionals_are_those_of_opensmile(corpus, paths, feature_set):
    smile = opensmile.Smile(opensmile.FeatureSet[feature_set])
    expected = np.vstack([smile(w, 16000).ravel() for w in corpus.waveforms[:3]])
    transformer = OpenSMILETransformer(feature_set)
    mappings = [{"array": w, "sampling_rate": 16000} for w in corpus.waveforms[:3]]
    call = np.concatenate(corpus.waveforms[:3])
    ends = np.cumsum([len(w) for w in corpus.waveforms[:3]]) / 16000
    turns = [
        {"array": call, "sampling_rate": 16000, "start": start, "end": end}
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    for X in (corpus.waveforms[:3], paths[:3], mappings, turns):
        found = transformer.transform(X)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float64
    names = transformer.get_feature_names_out()
    assert names.tolist() == smile.feature_names
    assert found.shape == (3, len(names))


def test_descriptors_are_sequences(corpus):
    smile = opensmile.Smile(
        opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors
    )
    transformer = OpenSMILETransformer(level="lld").set_output(transform="pandas")
    found = transformer.transform(corpus.waveforms[:2])
    assert isinstance(found, list)
    for sequence, wave in zip(found, corpus.waveforms, strict=False):
        np.testing.assert_array_equal(sequence, smile(wave, 16000)[0])
        assert sequence.dtype == np.float32
        assert len(sequence) == 25
    assert not hasattr(transformer, "get_feature_names_out")
    equal = transformer.transform(np.stack([w[:3000] for w in corpus.waveforms[:2]]))
    assert equal.ndim == 3


def test_what_shapes_the_features_has_entries_of_its_own(corpus, tmp_path):
    others = {"feature_set": "emobase", "level": "lld", "sampling_rate": 8000}
    for name, value in {"n_jobs": 1, **others, "channel": 0}.items():
        smile = OpenSMILETransformer("IS09", cache_dir=tmp_path)
        smile.set_params(**{name: value}).transform(corpus.waveforms[:1])
    assert len([*tmp_path.rglob("*.npy")]) == 5


@pytest.mark.filterwarnings("ignore:Feature set .* is deprecated")
@pytest.mark.parametrize(
    "feature_set",
    [
        name if name == "eGeMAPSv02" else pytest.param(name, marks=pytest.mark.slow)
        for name in opensmile.FeatureSet.__members__
    ],
)
def test_a_very_short_recording_is_padded(feature_set):
    wave = np.random.default_rng(0).normal(size=1119) / 10
    for X in ([wave], [wave[:1]], [{"array": wave[:441], "sampling_rate": 44100}]):
        found = OpenSMILETransformer(feature_set).transform(X)
        assert np.isfinite(found).all()


def test_it_stands_in_pipelines_with_names(corpus):
    pandas = pytest.importorskip("pandas")
    pipeline = make_pipeline(OpenSMILETransformer("IS09"), StandardScaler())
    frame = pipeline.set_output(transform="pandas").fit_transform(corpus.waveforms[:4])
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns[0] == "pcm_RMSenergy_sma_max"
    speakers = corpus.speakers[:4]
    vectors = OpenSMILETransformer("IS09").transform(corpus.waveforms[:4])
    assert SpeakerNormalizer().fit_transform(vectors, speakers=speakers).shape == (
        4,
        384,
    )


@pytest.mark.slow
def test_a_pipeline_with_it_is_saved_and_predicts(capsys, corpus, paths, tmp_path):
    pytest.importorskip("skops")
    from sklearn_ser.cli import main

    model = make_pipeline(OpenSMILETransformer("IS09"), LinearDiscriminantAnalysis())
    save(model.fit(corpus.waveforms[:9], corpus.y[:9]), tmp_path / "model.skops")
    expected = model.predict_proba(paths[:1])
    loaded = load(tmp_path / "model.skops")
    np.testing.assert_array_equal(loaded.predict_proba(paths[:1]), expected)
    assert main(["predict", str(tmp_path / "model.skops"), paths[0]]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    np.testing.assert_allclose([float(p) for p in row[-3:]], expected[0], atol=1e-4)


@pytest.mark.parametrize(
    ("params", "X", "message"),
    [
        ({"feature_set": "eGeMAPS3"}, None, r"feature_set must be one of \['ComParE_"),
        ({"level": "func"}, None, r"level must be one of \['functionals', 'lld'\]"),
        ({"sampling_rate": 0}, None, "sampling_rate is 0, expected"),
        ({}, [np.ones(1000), []], r"X\[1\] is empty"),
    ],
)
def test_what_is_refused(params, X, message):
    X = [np.ones(1000)] if X is None else X
    with pytest.raises(ValueError, match=message):
        OpenSMILETransformer(**params).transform(X)


def test_without_opensmile_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    for call in ("fit", "transform"):
        with pytest.raises(ImportError, match=r'install "sklearn_ser\[opensmile\]"'):
            getattr(OpenSMILETransformer(), call)([np.ones(1000)])


def test_the_waveform_is_that_of_load_audio(paths):
    transformer = OpenSMILETransformer("IS09", sampling_rate=8000)
    wave = load_audio(paths[0], sampling_rate=8000)
    expected = opensmile.Smile(opensmile.FeatureSet.IS09)(wave, 8000).ravel()
    np.testing.assert_array_equal(transformer.transform(paths[:1])[0], expected)
