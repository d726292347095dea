"""The command train: what it saves, and what predicts with it elsewhere."""

import shutil
import sys

import numpy as np
import pytest
import soundfile
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklearn_ser.features import SpeechModelTransformer, load_audio
from sklearn_ser.persistence import load, save

pytest.importorskip("skops")


@pytest.mark.parametrize(
    ("options", "front", "params"),
    [
        (["--method", "baseline"], "LogMelTransformer", {"top_db": 50}),
        (
            ["--method", "dat", "--epochs", 1, "--channel", 0],
            "LogMelTransformer",
            {"channel": 0, "n_jobs": None},
        ),
        (
            ["--method", "baseline", "--features", "opensmile"],
            "OpenSMILETransformer",
            {"channel": "mean"},
        ),
    ],
)
def test_what_is_trained_is_saved_and_predicts(
    trained, run, formats, options, front, params
):
    if "opensmile" in options:
        pytest.importorskip("opensmile")
    path = trained(*options)
    model = load(path)
    assert type(model[0]).__name__ == front
    assert params.items() <= model[0].get_params().items()
    assert getattr(model[-1], "method", "dat") == "dat"
    line = run("predict", path, formats / "web.ogg").lines[1]
    expected = model.predict_proba([str(formats / "web.ogg")])[0]
    found = np.array(line.split()[4:], float)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_network_gets_the_speakers(trained, run, manifest):
    model = load(trained("--epochs", 1, "--enrollable"))
    assert [type(step).__name__ for step in model] == [
        *("LogMelTransformer", "SpeakerNormalizer", "DSNetClassifier")
    ]
    assert set(model[1].speaker_statistics_) == {"s00", "s01", "s02"}
    assert model[2].verbose == 0
    assert model[2].history_[0]["train_calibration"] > 0


def test_features_of_a_speech_model_are_named(run, speech_pipeline, formats, tmp_path):
    argv = "predict", speech_pipeline.path, formats
    assert run(*argv, "--window", 0.6).err == ""
    front, classifier = load(speech_pipeline.path)
    expected = SpeechModelTransformer(
        str(speech_pipeline.weights), layer=-1, pooling="mean_std"
    )
    assert front.get_params() == expected.get_params()  # it is quiet again
    assert type(classifier).__name__ == "DSNetClassifier"
    wave = load_audio(formats / "web.ogg")[: round(0.6 * 16000)]
    p = load(speech_pipeline.path).predict_proba([wave])[0]
    found = run("predict", argv[1], formats / "web.ogg", "--window", 0.6).lines[1]
    np.testing.assert_allclose(np.array(found.split()[4:], float), p, atol=2e-4)


def test_the_weights_may_lie_elsewhere_where_it_predicts(
    run, fails, speech_pipeline, tiny_speech_model, formats, tmp_path
):
    argv = "predict", speech_pipeline.path, formats / "web.ogg"
    expected = run(*argv).out
    hidden = speech_pipeline.weights.rename(tmp_path / "hidden")
    try:
        message = fails(*argv)
        assert "there is no such directory" in message
        assert "--features names where this machine has the model" in message
        assert run(*argv, "--features", tiny_speech_model).out == expected
    finally:
        hidden.rename(speech_pipeline.weights)
    other = tmp_path / "other"
    shutil.copytree(tiny_speech_model, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    message = fails(*argv, "--features", other)
    assert "other weights than those of the fit" in message


@pytest.mark.parametrize("command", ["predict --enroll", "predict"])
def test_one_channel_of_several(trained, run, tmp_path, command):
    """The channel of the model is read from what is enrolled and from each window."""
    rng = np.random.default_rng(0)
    lines = ["file,speaker,emotion"]
    for i in range(8):
        wave = rng.normal(size=(8000, 2)) / 9
        wave[:, 0] = 0  # nothing is on the first channel
        wave[:, 1] *= 1 + i % 2
        soundfile.write(tmp_path / f"{i}.wav", wave, 16000)
        lines.append(f"{i}.wav,s{i // 4},{('calm', 'angry')[i % 2]}")
    table = tmp_path / "stereo.csv"
    table.write_text("\n".join(lines))
    path = tmp_path / "model.skops"
    argv = "--manifest", table, "--method", "baseline", "--channel", 1, "--out", path
    said = run("train", *argv, "--enrollable").lines[0]
    assert "log-mel spectrograms of channel 1" in said
    calls = tmp_path / "calls.csv"
    calls.write_text("file,speaker\n0.wav,zoe\n1.wav,zoe\n")
    options = ["--enroll", calls] if "--enroll" in command else []
    assert len(run("predict", path, tmp_path / "3.wav", *options).lines) == 2


def test_a_model_of_log_mels_takes_no_speech_model(fails, model, formats):
    argv = "predict", model, formats, "--features", "whisper"
    assert "takes no speech model" in fails(*argv)


def test_without_skops_nothing_is_trained(fails, manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    argv = "train", "--manifest", manifest, "--out", tmp_path / "m.skops"
    assert "sklearn_ser[skops]" in fails(*argv)


def test_a_model_without_features_is_an_error(fails, tmp_path, formats):
    path = tmp_path / "svm.skops"
    X, y = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2
    save(make_pipeline(StandardScaler(), LinearSVC()).fit(X, y), path)
    assert "starts with LogMelTransformer" in fails("predict", path, formats)
    path.write_bytes(b"something else")
    assert "no model saved" in fails("predict", path, formats)
