"""Models as ONNX graphs: the same probabilities, and what is refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC

import sklearn_ser
from sklearn_ser import (
    DIDANDomainAdapter,
    DSNetClassifier,
    LogMelTransformer,
    SpeakerNormalizer,
    SpeechModelTransformer,
)
from sklearn_ser.baseline import EqualPriorsLDA, make_baseline
from sklearn_ser.datasets import load_manifest
from sklearn_ser.export import LogMel, to_onnx
from sklearn_ser.features import load_audio
from sklearn_ser.features.log_mel import check_settings
from sklearn_ser.nn.encoders import ENCODERS, ConvEncoder
from sklearn_ser.nn.layers import frame_mask
from sklearn_ser.nn.net import SpeechNet

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CLOSE = {"rtol": 0, "atol": 1e-4}


class Quick(DSNetClassifier):
    """One epoch without speakers."""

    def __init__(self, *, encoder="conv", max_epochs=1):
        super().__init__(
            encoder=encoder,
            calibration_weight=0,
            max_epochs=max_epochs,
            batch_size=8,
            random_state=0,
        )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


@pytest.fixture
def exported(path):
    """Return a function that exports a model and opens the graph."""

    def export(model):
        to_onnx(model, path)
        return onnxruntime.InferenceSession(path)

    return export


def padded(X, extra=0, fill=0.0):
    """Return a batch of recordings or sequences, and their lengths."""
    lengths = np.array([x.shape[-1] for x in X])
    shape = len(X), *X[0].shape[:-1], lengths.max() + extra
    batch = np.full(shape, fill, np.float32)
    for row, x in zip(batch, X, strict=True):
        row[..., : x.shape[-1]] = x
    return batch, lengths


def run(session, *given):
    names = [x.name for x in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, given, strict=True)))
    return found


def inputs(session):
    return [x.name for x in session.get_inputs()]


# ----------------------------------------------------------------- the same figures


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_on_padded_sequences(encoder, corpus, log_mels, exported):
    model = Quick(encoder=encoder).fit(log_mels, corpus.y)
    session = exported(model)
    assert inputs(session) == ["sequences", "lengths"]
    expected = model.predict_proba(log_mels)
    found = run(session, *padded(log_mels))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, **CLOSE)
    # What lies beyond a length does not count, nor does the company of a recording.
    again = run(session, *padded(log_mels, extra=50, fill=7.0))
    np.testing.assert_allclose(again, found, rtol=0, atol=1e-5)
    alone = [run(session, *padded([x]))[0] for x in log_mels[:3]]
    np.testing.assert_allclose(alone, found[:3], rtol=0, atol=1e-5)
    rng = np.random.default_rng(0)
    for lengths in ([1], [2, 1], [15, 17, 4], [900]):
        X = [rng.normal(-40, 15, size=(16, n)).astype(np.float32) for n in lengths]
        expected = model.predict_proba(X)
        np.testing.assert_allclose(run(session, *padded(X)), expected, **CLOSE)


def test_every_method_from_the_waveform(method, corpus, exported):
    model = make_pipeline(LogMelTransformer(n_mels=16, normalize="level"), method())
    speakers = {f"{method.step}__speakers": corpus.speakers}
    session = exported(model.fit(corpus.waveforms, corpus.y, **speakers))
    assert inputs(session) == ["waveform", "lengths"]
    expected = model.predict_proba(corpus.waveforms)
    for extra in (0, 3333):
        found = run(session, *padded(corpus.waveforms, extra, fill=0.5))
        np.testing.assert_allclose(found, expected, **CLOSE)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn_ser.SilentRecordingWarning")
@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"normalize": "utterance"},
        {"normalize": "level", "top_db": 50},
        {"top_db": None, "hop_length": 80},
        {"n_fft": 401, "win_length": 399, "fmin": 100, "fmax": 4000},
        {"duration": 0.4},
        {"duration": 0.4, "length_mode": "constant", "normalize": "utterance"},
        {"dtype": "float16"},
        {"channel": 1},
        {"dtype": "float64", "sampling_rate": 11025, "n_fft": 256, "win_length": 256},
    ],
    ids=str,
)
def test_the_settings_of_the_log_mel(settings, corpus, exported):
    # Before it has learnt, a network magnifies what float16 rounds.
    last = Quick(max_epochs=9 if settings.get("dtype") == "float16" else 1)
    model = make_pipeline(LogMelTransformer(n_mels=16, **settings), last)
    stereo = lambda waves: [  # noqa: E731
        {"array": np.stack([np.zeros_like(x), x]), "sampling_rate": 16000}
        for x in waves
    ]
    heard = stereo(corpus.waveforms) if "channel" in settings else corpus.waveforms
    session = exported(model.fit(heard, corpus.y))
    silence = np.zeros(3000, np.float32)
    X = [*corpus.waveforms, corpus.waveforms[0][:1], corpus.waveforms[1][:77], silence]
    found = run(session, *padded(X, extra=99, fill=0.1))
    X = stereo(X) if "channel" in settings else X
    np.testing.assert_allclose(found, model.predict_proba(X), **CLOSE)


def test_the_spectrogram_of_the_graph_is_that_of_the_transformer(corpus):
    """Closer than the probabilities can tell."""
    front = LogMelTransformer()
    batch, lengths = padded(corpus.waveforms, extra=999, fill=0.3)
    with torch.no_grad():
        x, n_frames = LogMel(check_settings(front))(
            torch.from_numpy(batch), torch.from_numpy(lengths)
        )
    for found, n, expected in zip(
        x.numpy(), n_frames, front.transform(corpus.waveforms), strict=True
    ):
        assert n == expected.shape[1]
        near = expected > expected.max() - 60
        np.testing.assert_allclose(found[:, :n], expected, rtol=0, atol=1e-2)
        np.testing.assert_allclose(found[:, :n][near], expected[near], atol=1e-3)
        assert not found[:, n:].any()


@pytest.mark.slow
def test_real_recordings(exported):
    home = os.environ.get("SKLEARN_SER_DATA")
    manifest = Path(home or "") / "emodb4" / "metadata.csv"
    if home is None or not manifest.exists():
        pytest.skip("SKLEARN_SER_DATA names no directory with the corpus emodb4")
    corpus = load_manifest(manifest)
    files, y = corpus.data[::20], corpus.target[::20]
    waves = [load_audio(file, sampling_rate=16000) for file in files]
    model = make_pipeline(LogMelTransformer(), Quick(encoder="conv_lstm")).fit(files, y)
    found = run(exported(model), *padded(waves, extra=5000))
    np.testing.assert_allclose(found, model.predict_proba(files), **CLOSE)


@pytest.fixture(scope="module")
def table():
    """Vectors of float32 far from zero, in units of their own."""
    rng = np.random.default_rng(0)
    return (rng.normal(3, 1, (24, 6)) * 10.0 ** np.arange(6)).astype(np.float32)


@pytest.mark.parametrize("named", [False, True])
def test_vectors(named, corpus, exported, table):
    given = table
    if named:
        pd = pytest.importorskip("pandas")
        given = pd.DataFrame(table, columns=list("abcdef"))
    model = Quick(encoder="auto").fit(given, corpus.y)
    session = exported(model)
    assert inputs(session) == ["vectors"]
    expected = model.predict_proba(given)
    np.testing.assert_allclose(run(session, table), expected, **CLOSE)
    np.testing.assert_allclose(run(session, table[:1]), expected[:1], **CLOSE)
    session = exported(Quick(encoder="pointwise").fit(given, corpus.y))
    found = run(session, table[:, :, None], np.ones(24, int))
    np.testing.assert_allclose(found, expected, **CLOSE)


SCALED = {
    "network": make_pipeline(StandardScaler(), Quick(encoder="auto")),
    "named encoder": make_pipeline(StandardScaler(), Quick(encoder="pointwise")),
    "robust": make_pipeline(RobustScaler(), Quick(encoder="auto")),
    "largest": make_pipeline(MaxAbsScaler(), SpeakerNormalizer(), Quick()),
    "range": make_pipeline(MinMaxScaler((-1, 3)), EqualPriorsLDA()),
    "mean alone": make_pipeline(StandardScaler(with_std=False), EqualPriorsLDA()),
    "scale alone": make_pipeline(StandardScaler(with_mean=False), EqualPriorsLDA()),
    "no centre": make_pipeline(RobustScaler(with_centering=False), EqualPriorsLDA()),
    "baseline": make_baseline(of_frames=False),
    "no scaler": EqualPriorsLDA(),
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "scores": make_pipeline(StandardScaler(), LinearSVC()),
}


@pytest.mark.filterwarnings("ignore::sklearn_ser.SpeakersMissingWarning")
@pytest.mark.parametrize(
    ("name", "n_classes"),
    [*((name, 3) for name in SCALED), ("network", 2), ("baseline", 2), ("scores", 2)],
)
def test_scalers_and_linear_models_of_vectors(name, n_classes, exported, table):
    y = np.arange(24) % n_classes
    model = clone(SCALED[name]).fit(table, y)
    session = exported(model)
    assert inputs(session) == ["vectors"]
    [output] = [x.name for x in session.get_outputs()]
    found = run(session, table)
    assert found.shape == (24, n_classes)
    np.testing.assert_array_equal(found.argmax(axis=1), model.predict(table))
    if name == "scores":
        assert output == "scores"
    else:
        assert output == "probabilities"
        np.testing.assert_allclose(found, model.predict_proba(table), **CLOSE)


@pytest.mark.parametrize("from_waveforms", [False, True])
def test_the_baseline_of_sequences(from_waveforms, corpus, log_mels, exported):
    model, X = make_baseline(of_frames=True), log_mels
    if from_waveforms:
        model, X = make_pipeline(LogMelTransformer(n_mels=16), model), corpus.waveforms
        model = make_pipeline(model[0], *(step for _, step in model[1].steps))
    session = exported(model.fit(X, corpus.y))
    assert inputs(session)[0] == ("waveform" if from_waveforms else "sequences")
    found = run(session, *padded(X, extra=9, fill=7.0))
    np.testing.assert_allclose(found, model.predict_proba(X), **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alignment", "domains"),
    [
        *(("didan", "both"), ("lidan", "both"), ("didan", "not normalised")),
        (None, "source"),
    ],
)
def test_an_adapter_takes_recordings_for_the_target(
    alignment, domains, corpus, log_mels, exported
):
    X = [x + 30 * (s >= "s02") for x, s in zip(log_mels, corpus.speakers, strict=True)]
    model = DIDANDomainAdapter(
        alignment=alignment,
        encoder="conv",
        max_epochs=1,
        batch_size=8,
        normalize_domains=domains != "not normalised",
        random_state=0,
    )
    domain = np.where(corpus.speakers < "s02", 1, -1)
    if domains == "source":
        domain = None
    session = exported(model.fit(X, corpus.y, sample_domain=domain))
    expected = model.predict_proba(X)
    np.testing.assert_allclose(run(session, *padded(X)), expected, **CLOSE)
    if domains == "both":
        of_source = model.predict_proba(X, sample_domain=np.ones(24, int))
        assert np.abs(of_source - expected).max() > 1e-2


def test_a_normalizer_with_the_statistics_of_all(corpus, exported):
    model = make_pipeline(
        LogMelTransformer(n_mels=16), SpeakerNormalizer(), "passthrough", Quick()
    )
    speakers = {"speakernormalizer__speakers": corpus.speakers}
    session = exported(model.fit(corpus.waveforms, corpus.y, **speakers))
    expected = model.predict_proba(corpus.waveforms)
    found = run(session, *padded(corpus.waveforms, extra=500))
    np.testing.assert_allclose(found, expected, **CLOSE)


# ------------------------------------------------------------------------- the file


def test_metadata_say_what_the_graph_is(corpus, log_mels, exported, path):
    model = make_pipeline(LogMelTransformer(n_mels=16, sampling_rate=8000), Quick())
    session = exported(model.fit(corpus.waveforms, corpus.y))
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found["classes"]) == ["anger", "neutral", "sadness"]
    assert json.loads(found["sampling_rate"]) == 8000
    assert found["input"].startswith("waveform, float32 (batch, samples), mono at 8000")
    assert found["estimator"] == "Quick"
    assert found["sklearn_ser_version"] == sklearn_ser.__version__
    [opset] = onnx.load(path).opset_import
    assert opset.version == 17
    assert "opset 17" in to_onnx.__doc__

    numbers = np.unique(corpus.y, return_inverse=True)[1]
    found = exported(Quick().fit(log_mels, numbers)).get_modelmeta()
    found = found.custom_metadata_map
    assert json.loads(found["classes"]) == [0, 1, 2]
    assert "sampling_rate" not in found
    assert found["input"].startswith("sequences, float32 (batch, 16, frames)")


@pytest.mark.slow
def test_the_guide_serves_without_torch_and_scikit_learn(
    corpus, paths, exported, tmp_path
):
    page = Path(__file__).parents[1] / "docs" / "guide" / "deploy.md"
    if not page.exists():
        pytest.skip("the documentation is not part of the package")
    model = make_pipeline(LogMelTransformer(n_mels=16), Quick(encoder="conv_lstm"))
    exported(model.fit(corpus.waveforms, corpus.y))
    [block] = re.findall(
        r"^```python\n(import json\n.*?)^print", page.read_text(), re.M | re.S
    )
    assert len([line for line in block.splitlines() if line]) < 24
    code = """
json.dump(emotions(sys.argv[1:]), sys.stdout)
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"torch", "sklearn", "sklearn_ser", "skorch", "scipy", "librosa"}
"""
    command = [sys.executable, "-W", "error", "-c", f"import sys\n{block}{code}"]
    done = subprocess.run(
        [*command, *paths], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    rows = json.loads(done.stdout)
    assert list(rows[0]) == model.classes_.tolist()
    found = [list(row.values()) for row in rows]
    np.testing.assert_allclose(found, model.predict_proba(paths), **CLOSE)


def test_exporting_changes_neither_model_nor_cache(corpus, exported, tmp_path, weights):
    front = LogMelTransformer(n_mels=16, cache_dir=tmp_path / "cache")
    model = make_pipeline(front, Quick()).fit(corpus.waveforms, corpus.y)
    before, files = weights(model[-1]), sorted(front.cache_dir.rglob("*"))
    exported(model)
    assert weights(model[-1]) == before
    assert sorted(front.cache_dir.rglob("*")) == files


def test_an_export_that_fails_keeps_the_old_file(
    corpus, log_mels, tmp_path, path, monkeypatch
):
    model = Quick().fit(log_mels, corpus.y)
    to_onnx(model, path)
    before = path.read_bytes()

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn_ser._files.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        to_onnx(model, path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


# --------------------------------------------------------------- encoders of one's own


class Plain(ConvEncoder):
    """An encoder that can be exported."""


class Fixed(torch.nn.Module):
    """An encoder whose mask has the size of the batch that it was traced with."""

    def __init__(self, n_features):
        super().__init__()
        self.conv = torch.nn.Conv1d(n_features, 8, 1)

    def forward(self, x, lengths):
        frames = torch.arange(int(x.shape[-1]))
        return self.conv(x) * (frames < lengths[:, None])[:, None], lengths


class Reaching(Fixed):
    """An encoder that pads short recordings, which no graph can decide."""

    n_least = 16

    def forward(self, x, lengths):
        if x.shape[-1] < self.n_least:
            x = torch.nn.functional.pad(x, (0, self.n_least - x.shape[-1]))
        x = x[..., self.n_least // 2 :]
        mask = frame_mask((lengths - self.n_least // 2).clamp(min=1), x.shape[-1])
        return self.conv(x) * mask[:, None], mask.sum(1).long()


class Declared(Reaching):
    """The same, and says what it needs."""

    reach = 16


@pytest.mark.parametrize("encoder", [Plain, Declared])
def test_an_encoder_of_ones_own(encoder, corpus, log_mels, exported):
    model = Quick(encoder=encoder).fit(log_mels, corpus.y)
    found = run(exported(model), *padded(log_mels, extra=9))
    np.testing.assert_allclose(found, model.predict_proba(log_mels), **CLOSE)


@pytest.mark.parametrize("encoder", [Fixed, Reaching])
def test_an_encoder_whose_graph_is_another_is_refused(
    encoder, corpus, log_mels, tmp_path, path
):
    model = Quick(encoder=encoder).fit(log_mels, corpus.y)
    with pytest.raises(ValueError, match=rf"{encoder.__name__}.*cannot be exported"):
        to_onnx(model, path)
    assert list(tmp_path.iterdir()) == []


class SharpNet(SpeechNet):
    """With probabilities of one's own."""

    def probabilities(self, logits):
        return super().probabilities(2 * logits)


class Sharp(Quick):
    def _net_class(self, data):
        return SharpNet


COOL = DSNetClassifier(
    encoder="conv", calibration_weight=0, max_epochs=1, temperature=0.2, random_state=0
)


@pytest.mark.parametrize("model", [Sharp(), COOL], ids=["of one's own", "temperature"])
def test_probabilities_are_those_of_the_net(model, corpus, log_mels, exported):
    model.fit(log_mels, corpus.y)
    found = run(exported(model), *padded(log_mels))
    np.testing.assert_allclose(found, model.predict_proba(log_mels), **CLOSE)
    plain = Quick().fit(log_mels, corpus.y).predict_proba(log_mels)
    assert np.abs(found - plain).max() > 1e-2


# ----------------------------------------------------------------- what is refused


@pytest.fixture(scope="module")
def classifier(corpus, log_mels):
    return Quick().fit(log_mels, corpus.y)


REFUSED = [
    (
        [LogMelTransformer(trim=30)],
        ValueError,
        r"'logmeltransformer' \(LogMelTransformer\).*trim=30: expected trim=None",
    ),
    (
        [LogMelTransformer(), LogMelTransformer()],
        TypeError,
        r"'logmeltransformer-2'.*expected LogMelTransformer as the first step",
    ),
    (
        [PowerTransformer()],
        TypeError,
        r"'powertransformer' \(PowerTransformer\) cannot be",
    ),
    (
        [MinMaxScaler(clip=True).fit(np.eye(16))],
        ValueError,
        r"'minmaxscaler'.*with clip=True: expected clip=False",
    ),
    ([StandardScaler()], NotFittedError, "StandardScaler instance is not fitted"),
    (
        [SpeechModelTransformer()],
        TypeError,
        r"'speechmodeltransformer'.*Export the classifier behind it, "
        r"to_onnx\(pipeline\[-1\], path\)",
    ),
]


@pytest.mark.parametrize(("front", "error", "message"), REFUSED)
def test_steps_that_cannot_be_exported(
    front, error, message, classifier, tmp_path, path
):
    with pytest.raises(error, match=message):
        to_onnx(make_pipeline(*front, classifier), path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unseen", ["utterance", None])
def test_a_normalizer_of_another_kind(unseen, corpus, log_mels, classifier, path):
    front = SpeakerNormalizer(unseen=unseen).fit(log_mels, speakers=corpus.speakers)
    message = rf"unseen={re.escape(repr(unseen))}: expected unseen='global'"
    with pytest.raises(ValueError, match=message):
        to_onnx(make_pipeline(front, classifier), path)


def test_an_adapter_of_several_targets(corpus, log_mels, path):
    model = DIDANDomainAdapter(
        encoder="conv", max_epochs=1, batch_size=8, random_state=0
    )
    domain = [1, 1, -1, -2] * 6
    model.fit(log_mels, corpus.y, sample_domain=domain)
    with pytest.raises(
        ValueError,
        match=r"DIDANDomainAdapter cannot be exported: .* fit had several target",
    ):
        to_onnx(model, path)


@pytest.mark.parametrize("model", [RandomForestClassifier(), SVC(), None, "dsnet"])
def test_what_is_no_classifier_of_ours(model, table, path):
    if hasattr(model, "fit"):
        model.fit(table, np.arange(24) % 2)
    with pytest.raises(
        TypeError, match="pipeline must be a classifier of this library, a linear"
    ):
        to_onnx(model, path)


def test_a_linear_model_that_predicts_otherwise(table, path):
    model = SVC(kernel="linear").fit(
        StandardScaler().fit_transform(table), [0, 1, 2] * 8
    )
    with pytest.raises(ValueError, match="SVC cannot be exported"):
        to_onnx(model, path)


@pytest.mark.parametrize("model", [Quick(), EqualPriorsLDA(), LinearSVC()])
def test_a_model_that_is_not_fitted(model, path):
    with pytest.raises(NotFittedError):
        to_onnx(model, path)


@pytest.mark.parametrize("path", [3, None, b"model.onnx"])
def test_what_is_no_path(path, classifier):
    with pytest.raises(TypeError, match="path must be a path, got"):
        to_onnx(classifier, path)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_packages_the_error_names_the_extra(
    package, classifier, path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"sklearn_ser\[onnx\]"):
        to_onnx(classifier, path)
