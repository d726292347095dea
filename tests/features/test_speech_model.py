"""SpeechModelTransformer on tiny random models of every family, saved to disk."""

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ser.datasets import load_manifest, make_emotional_speech
from sklearn_ser.features import (
    SpeechModelTransformer,
    _hub,
    release_speech_models,
)
from sklearn_ser.features import speech_model as extraction
from sklearn_ser.model_selection import speaker_cross_validate

transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")

import torch  # noqa: E402
from huggingface_hub import constants  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from sklearn_ser.features._hub import locate  # noqa: E402
from sklearn_ser.features._speech_encoders import SpeechEncoder, load_encoder  # noqa: E402

RATE = 16000
WIDTH, LAYERS = 16, 4
SHAPE = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "conv_dim": (8,) * 7,
}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
WHISPER = {
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 24,
    "max_source_positions": 50,  # one second
    "max_target_positions": 4,
    "vocab_size": 8,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
    "decoder_start_token_id": 1,
    "begin_suppress_tokens": None,
}
# Of each family: the class of the model, its configuration, and whether its input is
# normalised.
FAMILIES = {
    "whisper": ("Whisper", WHISPER, False),
    "wav2vec2, group norm": ("Wav2Vec2", SHAPE, True),
    "wav2vec2, layer norm": ("Wav2Vec2", SHAPE | LARGE, True),
    "mms, adapters": ("Wav2Vec2", SHAPE | LARGE | {"adapter_attn_dim": 4}, True),
    "hubert, group norm": ("Hubert", SHAPE, False),
    "hubert, layer norm": ("Hubert", SHAPE | LARGE, True),
    "hubert, batch norm": ("Hubert", SHAPE | {"conv_pos_batch_norm": True}, True),
    "wavlm, group norm": ("WavLM", SHAPE, False),
    "wavlm, layer norm": ("WavLM", SHAPE | LARGE, True),
    "data2vec": (
        "Data2VecAudio",
        SHAPE | {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 3},
        True,
    ),
    "w2v-bert": (
        "Wav2Vec2Bert",
        {k: v for k, v in SHAPE.items() if "conv" not in k},
        True,
    ),
    "unispeech": ("UniSpeech", SHAPE, True),
    "unispeech-sat": ("UniSpeechSat", SHAPE, True),
    "conformer": ("Wav2Vec2Conformer", SHAPE, True),
}


def _extractor(kind, do_normalize):
    if kind == "Whisper":
        return transformers.WhisperFeatureExtractor(chunk_length=1)
    if kind == "Wav2Vec2Bert":
        return transformers.SeamlessM4TFeatureExtractor()
    return transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize)


def _build(kind, config, head="Model"):
    """A random model whose weights are large enough for a leak to show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**config)
        model = getattr(transformers, f"{kind}{head}")(config).eval()
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embed_positions" not in name:
                scale = weight[0].numel() ** -0.5
                torch.nn.init.normal_(weight, std=scale)
    return model


def _save(folder, family, head="Model", **options):
    kind, config, do_normalize = FAMILIES[family]
    _build(kind, config, head).save_pretrained(folder, **options)
    _extractor(kind, do_normalize).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a function from a family to the directory of its tiny model."""
    made = {}

    def directory(family):
        if family not in made:
            made[family] = _save(tmp_path_factory.mktemp("model"), family)
        return made[family]

    return directory


@pytest.fixture
def tiny(models):
    return models("wav2vec2, group norm")


def _noise(n_times=8000, seed=0, level=0.1):
    rng = np.random.default_rng(seed)
    return (level * rng.normal(size=n_times)).astype(np.float32)


WAVES = [
    _noise(n, seed=i) for i, n in enumerate((9000, 4000, 16000, 4100, 9000, 12345))
]


def _published(family, model, wave):
    """The model's own pipeline: its input, and the states of all layers."""
    kind, _, do_normalize = FAMILIES[family]
    extractor = _extractor(kind, do_normalize)
    model = model.encoder if kind == "Whisper" else model
    values = extractor(wave, sampling_rate=RATE, return_tensors="pt")
    values.pop("attention_mask", None)
    with torch.inference_mode():
        out = model(**values, output_hidden_states=True)
    states = [*out.hidden_states[:LAYERS], out.last_hidden_state]
    return [x[0].numpy().T for x in states]


def _assert_equal(found, expected, atol=0):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


# Parity with the models' own pipelines


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_the_published_pipeline(models, family):
    wave = _noise(RATE)
    model = transformers.AutoModel.from_pretrained(models(family)).float().eval()
    expected = _published(family, model, wave)
    for layer in (0, "middle", "last"):
        est = SpeechModelTransformer(models(family), layer=layer)
        (found,) = est.transform([wave])
        number = {"middle": LAYERS // 2, "last": LAYERS}.get(layer, layer)
        assert found.dtype == np.float32
        assert found.shape == (WIDTH, 49 if FAMILIES[family][0] != "Whisper" else 50)
        np.testing.assert_allclose(found, expected[number], atol=2e-5)
    assert np.abs(expected[1] - expected[2]).max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_and_order_change_nothing(models, family):
    est = SpeechModelTransformer(models(family), frames_per_batch=1)
    alone = [est.transform([wave])[0] for wave in WAVES]
    order = [3, 5, 0, 2, 1, 4]
    for frames in (1, 40, 5000):
        est.set_params(frames_per_batch=frames)
        together = est.transform([WAVES[i] for i in order])
        _assert_equal(together, [alone[i] for i in order], 2e-5)
    assert {x.shape[1] for x in alone} != {50}


@pytest.mark.parametrize(
    "family",
    [
        "wav2vec2, group norm",
        "mms, adapters",
        "hubert, layer norm",
        "w2v-bert",
        "unispeech-sat",
    ],
)
def test_masked_batches_change_nothing(models, family):
    """The way of a GPU: these families heed a mask in every layer."""
    encoder = load_encoder(locate(models(family)), 3, torch.device("cpu"))
    inputs = [encoder.inputs(wave) for wave in WAVES]
    alone = [encoder.states([x], 1)[0] for x in inputs]
    encoder._can_mask = True
    passes = []
    forward = encoder._forward
    encoder._forward = lambda batch: passes.append(len(batch)) or forward(batch)
    _assert_equal(encoder.states(inputs, 5000), alone, 2e-5)
    assert passes == [6]


@pytest.mark.parametrize(
    "family", ["wavlm, group norm", "data2vec", "conformer", "hubert, batch norm"]
)
def test_some_families_are_never_padded(models, family):
    source = locate(models(family))
    encoder = load_encoder(source, 1, torch.device("cpu"))
    assert not encoder._can_mask
    encoder.device = torch.device("meta")  # as on a GPU
    encoder._load(source, 1)
    assert not encoder._can_mask


@pytest.mark.parametrize("family", ["whisper", "wav2vec2, layer norm", "w2v-bert"])
@settings(
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(n_times=st.integers(1, 1500))
def test_short_recordings_are_padded(models, family, n_times):
    wave = _noise(n_times)
    features = SpeechModelTransformer(models(family)).transform([wave])[0]
    assert features.shape[0] == WIDTH
    assert 1 <= features.shape[1] <= 5
    assert np.isfinite(features).all()


def test_whisper_hears_what_its_extractor_hears(models):
    encoder = load_encoder(locate(models("whisper")), 1, torch.device("cpu"))
    extractor = transformers.WhisperFeatureExtractor(chunk_length=1)
    wave = _noise(16000) * np.linspace(0, 1, 16000, dtype=np.float32) ** 4
    for n_times, n_padded in ((16000, 16000), (8000, 8000), (8123, 8320), (9, 640)):
        padded = np.pad(wave[:n_times], (0, n_padded - n_times))
        (expected,) = extractor(padded, sampling_rate=RATE, padding=False)[
            "input_features"
        ]
        found = encoder.inputs(wave[:n_times])
        np.testing.assert_allclose(found, expected, atol=1e-4)
    silence = encoder.inputs(np.zeros(4000, np.float32))
    np.testing.assert_allclose(silence, -1.5, rtol=1e-6)


# Beyond the reach of a model


@pytest.mark.parametrize("seconds", [1.01, 1.5, 4.03])
def test_long_recordings_are_seen_in_windows(models, seconds):
    release_speech_models()
    est = SpeechModelTransformer(models("whisper"), layer=2)
    wave = _noise(round(seconds * RATE))
    (features,) = est.transform([wave])
    assert features.shape == (WIDTH, -(-len(wave) // 320))
    assert np.isfinite(features).all()
    parts, n_frames = [], features.shape[1]
    encoder = extraction._LOADED.popitem()[1]
    mel = encoder.inputs(wave)
    count = -(-(n_frames - 5) // 45)
    for start in np.linspace(0, n_frames - 50, count).round().astype(int):
        window = np.ascontiguousarray(mel[:, 2 * start : 2 * start + 100])
        parts.append((start, encoder.states([window], 50)[0].numpy().T))
    covered = np.zeros(n_frames, int)
    for start, _ in parts:
        covered[start : start + 50] += 1
    assert covered.min() == 1
    for (start, a), (following, b) in pairwise(parts):
        assert start + 50 - following >= 5
        # Between the two windows where they overlap, and each alone elsewhere.
        both = features[:, following : start + 50]
        low = np.minimum(a[:, following - start :], b[:, : start + 50 - following])
        high = np.maximum(a[:, following - start :], b[:, : start + 50 - following])
        assert (both > low - 1e-4).all()
        assert (both < high + 1e-4).all()
    for start, states in parts:
        alone = covered[start : start + 50] == 1
        own = features[:, start : start + 50][:, alone]
        np.testing.assert_allclose(own, states[:, alone], atol=2e-5)


@pytest.mark.parametrize("family", ["wav2vec2, layer norm", "w2v-bert"])
def test_windows_of_other_families(models, family, monkeypatch):
    est = SpeechModelTransformer(models(family), layer=0)
    wave = _noise(3 * RATE)
    (whole,) = est.transform([wave])
    monkeypatch.setattr(SpeechEncoder, "reach", 40)
    (windowed,) = est.transform([wave])
    assert windowed.shape == whole.shape
    # At either end one window alone, 13 frames from its edge; they differ in the rest.
    np.testing.assert_allclose(windowed[:, :27], whole[:, :27], atol=1e-4)
    np.testing.assert_allclose(windowed[:, -27:], whole[:, -27:], atol=1e-4)
    assert np.abs(windowed - whole).max() < 0.5 * np.abs(whole).max()


# What goes in and what comes out


def test_forms_of_a_recording(tiny, corpus, paths):
    est = SpeechModelTransformer(tiny)
    waves = corpus.waveforms[:3]
    expected = est.transform(waves)
    mappings = [{"array": x, "sampling_rate": corpus.sampling_rate} for x in waves]
    call = {"array": np.concatenate(waves), "sampling_rate": corpus.sampling_rate}
    ends = np.cumsum([len(wave) for wave in waves]) / corpus.sampling_rate
    starts = [0, *ends[:-1]]
    turns = [call | {"start": s, "end": e} for s, e in zip(starts, ends, strict=True)]
    assert [*map(extraction._seconds, turns)] == pytest.approx(np.diff([0, *ends]))
    for form in (paths[:3], [Path(p) for p in paths[:3]], mappings, turns):
        _assert_equal(est.transform(form), expected, 1e-5)


def test_other_rates_are_resampled(tiny):
    t = np.arange(2 * RATE) / (2 * RATE)
    wave = 0.1 * np.sin(2 * np.pi * 440 * t) * np.hanning(2 * RATE)
    est = SpeechModelTransformer(tiny, pooling="mean")
    fast = est.transform([{"array": wave, "sampling_rate": 2 * RATE}])
    np.testing.assert_allclose(fast, est.transform([wave[::2]]), atol=0.02)


def test_duration_cuts_and_repeats(tiny):
    est = SpeechModelTransformer(tiny, duration=0.5)
    features = est.transform(WAVES)
    assert features.shape == (6, WIDTH, 24)
    plain = SpeechModelTransformer(tiny)
    expected = plain.transform([np.tile(WAVES[1], 2), WAVES[2][:8000]])
    np.testing.assert_allclose(features[[1, 2]], np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", np.float64])
def test_dtype(tiny, dtype):
    for pooling in (None, "mean"):
        est = SpeechModelTransformer(tiny, dtype=dtype, pooling=pooling)
        (features,) = est.transform(WAVES[:1])
        assert features.dtype == dtype


@pytest.mark.parametrize("pooling", ["mean", "mean_std"])
def test_pooling(tiny, pooling):
    frames = SpeechModelTransformer(tiny).transform(WAVES)
    est = SpeechModelTransformer(tiny, pooling=pooling)
    features = est.fit_transform(WAVES)
    kinds = {"mean": [np.mean], "mean_std": [np.mean, np.std]}[pooling]
    expected = [np.concatenate([f(x, axis=1) for f in kinds]) for x in frames]
    np.testing.assert_allclose(features, np.stack(expected), atol=1e-5)
    assert features.dtype == np.float32
    names = est.get_feature_names_out()
    assert (names[0], names[-1]) == (
        "mean0",
        f"{pooling[-3:].replace('ean', 'mean')}15",
    )
    assert len(set(names)) == features.shape[1]
    assert not hasattr(est.set_params(pooling=None), "get_feature_names_out")


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(tiny, container):
    library = pytest.importorskip(container)
    est = SpeechModelTransformer(tiny, pooling="mean_std").set_output(
        transform=container
    )
    frame = est.fit_transform(WAVES)
    assert isinstance(frame, library.DataFrame)
    assert list(frame.columns) == est.get_feature_names_out().tolist()
    plain = clone(est).set_output(transform="default").transform(WAVES)
    np.testing.assert_array_equal(frame.to_numpy(), plain)
    sequences = SpeechModelTransformer(tiny).set_output(transform=container)
    assert isinstance(sequences.fit_transform(WAVES), list)


def test_progress_bar_counts_recordings(tiny, capsys):
    SpeechModelTransformer(tiny, verbose=1).transform(WAVES)
    assert "6/6" in capsys.readouterr().err
    SpeechModelTransformer(tiny).transform(WAVES)
    assert capsys.readouterr().err == ""


# Models on disk, in all their forms


def test_global_generators_stay_as_they_were(models, tmp_path):
    release_speech_models()
    for family in ("whisper", "wavlm, layer norm"):
        before = torch.random.get_rng_state()
        SpeechModelTransformer(models(family)).transform(WAVES[:1])
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("whisper", "ForConditionalGeneration"),
        ("whisper", "ForAudioClassification"),
        ("wav2vec2, layer norm", "ForCTC"),
        ("hubert, group norm", "ForSequenceClassification"),
    ],
)
def test_heads_are_left_aside(tmp_path, family, head):
    kind, config, _ = FAMILIES[family]
    directory = _save(tmp_path, family, head)
    model = _build(kind, config, head)
    base = getattr(model, model.base_model_prefix, model)
    expected = _published(family, base, _noise(RATE))[2]
    (found,) = SpeechModelTransformer(directory).transform([_noise(RATE)])
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_an_encoder_saved_alone(models, tmp_path):
    whole = transformers.WhisperModel.from_pretrained(models("whisper"))
    whole.encoder.save_pretrained(tmp_path)
    _extractor("Whisper", False).save_pretrained(tmp_path)
    expected = SpeechModelTransformer(models("whisper")).transform(WAVES)
    _assert_equal(SpeechModelTransformer(str(tmp_path)).transform(WAVES), expected)


@pytest.mark.parametrize("family", ["whisper", "wav2vec2, layer norm"])
def test_half_precision_and_shards(models, tmp_path, family):
    kind, config, _ = FAMILIES[family]
    half = _build(kind, config).half()
    half.save_pretrained(tmp_path / "half")
    half.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    for folder in ("half", "shards"):
        _extractor(kind, FAMILIES[family][2]).save_pretrained(tmp_path / folder)
    one, many = (
        SpeechModelTransformer(str(tmp_path / name)).fit(WAVES)
        for name in ("half", "shards")
    )
    assert one.weights_hash_ != many.weights_hash_
    whole = one.transform(WAVES)
    _assert_equal(many.transform(WAVES), whole)
    _assert_equal(whole, SpeechModelTransformer(models(family)).transform(WAVES), 0.05)
    release_speech_models()
    next((tmp_path / "shards").glob("model-*")).unlink()
    with pytest.raises(ValueError, match=r"is incomplete: '.*model-.*' is missing"):
        many.transform(WAVES)


def test_checkpoints_of_old(models, tmp_path):
    """As the first releases saved them: whole, and weight_norm by its old names."""
    kind, config, _ = FAMILIES["wav2vec2, group norm"]
    model = _build(kind, config | {"mask_time_prob": 0.05}, "ForPreTraining")
    state = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value.contiguous()
        for name, value in model.state_dict().items()
    }
    assert any(name.endswith("weight_g") for name in state)
    assert "wav2vec2.masked_spec_embed" in state
    model.config.save_pretrained(tmp_path)
    _extractor(kind, True).save_pretrained(tmp_path)
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    expected = _published("wav2vec2, group norm", model.wav2vec2, WAVES[0])[2]
    (found,) = SpeechModelTransformer(tmp_path).transform(WAVES[:1])
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_missing_weights_are_not_made_up(models, tmp_path):
    for family, gone in (
        ("whisper", "encoder.layers.0.fc1.weight"),
        ("hubert, group norm", "encoder.layers.0.attention.k_proj.weight"),
    ):
        folder = tmp_path / family
        shutil.copytree(models(family), folder)
        weights = load_file(folder / "model.safetensors")
        weights.pop(gone)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(
            ValueError, match=r"lacks weights: found none for '.*layers"
        ):
            SpeechModelTransformer(folder).transform(WAVES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: (d / "config.json").unlink(),
            "not a speech model: .*config.json",
        ),
        (lambda d: (d / "config.json").write_text("{"), "is not a speech model"),
        (
            lambda d: (d / "config.json").write_text('{"model_type": "bert"}'),
            "is of the type 'bert', expected a speech encoder",
        ),
        (
            lambda d: (d / "config.json").write_text('{"model_type": "wavlm"}'),
            "lacks 'num_hidden_layers'",
        ),
        (
            lambda d: (d / "preprocessor_config.json").unlink(),
            "has no preprocessor_config.json",
        ),
        (lambda d: (d / "model.safetensors").unlink(), "has no model.safetensors\\."),
        (
            lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"),
            "has no model.safetensors, only .*convert it",
        ),
    ],
)
def test_broken_directories(tiny, tmp_path, change, message):
    shutil.copytree(tiny, tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        SpeechModelTransformer(tmp_path / "model").transform(WAVES)


# Names


def test_a_name_below_the_directory_of_models(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("SKLEARN_SER_MODELS", str(tmp_path))
    shutil.copytree(tiny, tmp_path / "short")
    shutil.copytree(tiny, tmp_path / "someone" / "long")
    expected = SpeechModelTransformer(tiny).transform(WAVES[:1])[0]
    for name in ("short", "someone/short", "someone/long"):
        est = SpeechModelTransformer(name, local_files_only=True).fit(WAVES)
        np.testing.assert_array_equal(est.transform(WAVES[:1])[0], expected)
        assert est.revision_ is None


def test_a_name_in_the_cache_of_the_hub(tiny, tmp_path, monkeypatch):
    commits = {"main": "a" * 40, "old": "b" * 40}
    home = tmp_path / "models--someone--tiny"
    for branch, commit in commits.items():
        (home / "refs").mkdir(parents=True, exist_ok=True)
        (home / "refs" / branch).write_text(commit)
        shutil.copytree(tiny, home / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("SKLEARN_SER_MODELS", raising=False)
    est = SpeechModelTransformer("someone/tiny").fit(WAVES)
    assert est.revision_ == commits["main"]
    assert len(est.transform(WAVES)) == 6
    old = SpeechModelTransformer("someone/tiny", revision="old").fit(WAVES)
    assert old.revision_ == commits["old"]
    # The commit of the fit is the one that is used when the branch has moved on.
    (home / "refs" / "main").write_text(commits["old"])
    assert est._source().revision == commits["main"]
    # A snapshot without weights, as a look at the config leaves it, is none.
    (home / "snapshots" / commits["old"] / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="is not on this machine"):
        SpeechModelTransformer("someone/tiny", local_files_only=True).fit(WAVES)


def test_a_name_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    est = SpeechModelTransformer("some/model", local_files_only=True, revision="v1")
    with pytest.raises(ValueError, match="hf download some/model --revision v1") as e:
        est.fit(WAVES)
    assert "model='path/to/directory'" in str(e.value)
    assert "local_files_only=True" in str(e.value)


class _Hub(BaseHTTPRequestHandler):
    """As much of the Hub as one model of the name some/model needs."""

    commit = "c" * 40
    directory = None

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if "some/model" not in path:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        folder = Path(self.directory)
        if path.startswith("/api/models/some/model/tree"):
            body = [
                {
                    "type": "file",
                    "path": file.name,
                    "size": file.stat().st_size,
                    "oid": sha256(file.read_bytes()).hexdigest()[:40],
                }
                for file in folder.iterdir()
            ]
            self._answer(json.dumps(body).encode(), "application/json")
        elif path.startswith("/api/models/some/model"):
            files = [{"rfilename": file.name} for file in folder.iterdir()]
            body = {"id": "some/model", "sha": self.commit, "siblings": files}
            self._answer(json.dumps(body).encode(), "application/json")
        elif path.startswith("/some/model/resolve/"):
            content = (folder / path.rpartition("/")[2]).read_bytes()
            self._answer(content, "application/octet-stream")

    def _answer(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server in this process, and an empty cache."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.delenv("SKLEARN_SER_MODELS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield _Hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_name_on_the_hub_is_fetched_once(hub, models, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "directory", models("whisper"))
    est = SpeechModelTransformer("some/model").fit(WAVES)
    assert est.revision_ == hub.commit
    monkeypatch.setattr(hub, "directory", tmp_path / "gone")
    expected = SpeechModelTransformer(models("whisper")).transform(WAVES[:1])[0]
    np.testing.assert_array_equal(est.transform(WAVES[:1])[0], expected)


def test_a_name_on_the_hub_without_safetensors(hub, monkeypatch, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "pytorch_model.bin").write_bytes(b"pickle")
    monkeypatch.setattr(hub, "directory", tmp_path / "files")
    with pytest.raises(ValueError, match=r"only \['pytorch_model.bin'\].*convert it"):
        SpeechModelTransformer("some/model").fit(WAVES)
    assert not list((tmp_path / "hub").rglob("*.bin"))


def test_a_name_that_the_hub_does_not_know(hub):
    with pytest.raises(ValueError, match=r"Hub failed \(Repo.*hf download") as e:
        SpeechModelTransformer("some/other").fit(WAVES)
    assert e.value.__suppress_context__  # one error, no chain of the client's own


def test_a_network_without_an_answer(hub, monkeypatch):
    """A socket that accepts and is silent, as some proxies are."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(_hub, "_TIMEOUT", 0.2)
        start = time.monotonic()
        with pytest.raises(ValueError, match=r"Timeout.*hf download some/model"):
            SpeechModelTransformer("some/model").fit(WAVES)
        assert time.monotonic() - start < 20


# Weights are never held


def test_other_weights_are_refused(models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(models("whisper"), folder)
    est = SpeechModelTransformer(folder).fit(WAVES)
    digest = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert est.weights_hash_ == digest
    loaded = pickle.loads(pickle.dumps(est))
    weights = load_file(folder / "model.safetensors")
    weights["encoder.conv1.bias"] += 0.1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for estimator in (est, loaded):
        with pytest.raises(
            ValueError, match="other weights than those of the fit"
        ) as e:
            estimator.transform(WAVES)
        assert est.weights_hash_ in str(e.value)
    assert est.fit(WAVES).transform(WAVES[:1])[0].shape[0] == WIDTH


def test_the_cache_goes_by_the_content_of_the_weights(models, tmp_path):
    folder, cache = tmp_path / "model", tmp_path / "cache"
    shutil.copytree(models("whisper"), folder)
    for directory in (folder, models("whisper")):
        SpeechModelTransformer(directory, cache_dir=cache).transform(WAVES[:1])
    assert len(_entries(cache)) == 1
    weights = load_file(folder / "model.safetensors")
    weights["encoder.conv1.bias"] += 0.1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (found,) = SpeechModelTransformer(folder, cache_dir=cache).transform(WAVES[:1])
    (expected,) = SpeechModelTransformer(folder).transform(WAVES[:1])
    np.testing.assert_array_equal(found, expected)
    assert len(_entries(cache)) == 2


def test_saved_estimators_are_small(tiny, tmp_path):
    pytest.importorskip("skops")
    from sklearn_ser.persistence import load, save

    pipe = make_pipeline(
        SpeechModelTransformer(Path(tiny), pooling="mean", cache_dir=tmp_path / "c"),
        StandardScaler(),
    ).fit(WAVES)
    expected = pipe.transform(WAVES)
    save(pipe, tmp_path / "model.skops")
    assert (tmp_path / "model.skops").stat().st_size < 40_000
    assert len(pickle.dumps(pipe)) < 5_000
    loaded = load(tmp_path / "model.skops")
    assert loaded[0].weights_hash_ == pipe[0].weights_hash_
    np.testing.assert_allclose(loaded.transform(WAVES), expected, atol=1e-5)


def test_the_loaded_model_is_shared_and_released(tiny, tmp_path):
    release_speech_models()
    SpeechModelTransformer(tiny).transform(WAVES)
    SpeechModelTransformer(tiny, pooling="mean").transform(WAVES)
    assert len(extraction._LOADED) == 1
    for layer in ("last", -1, LAYERS):
        SpeechModelTransformer(tiny, layer=layer).transform(WAVES)
    assert len(extraction._LOADED) == 2
    release_speech_models()
    assert not extraction._LOADED
    SpeechModelTransformer(tiny).transform(WAVES)


FORK = """
import os, signal, threading, time
from sklearn_ser.features import release_speech_models, speech_model

held = threading.Event()
def load():
    with speech_model._LOADING:
        held.set()
        time.sleep(0.5)
threading.Thread(target=load).start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(10)  # it would wait for a thread that it has not
    release_speech_models()
    os._exit(0)
os._exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_a_model_is_loaded_does_not_wait_for_it():
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    assert subprocess.run(command, timeout=60).returncode == 0


# The cache


def _entries(folder):
    return sorted(Path(folder).rglob("*.npy"))


@pytest.mark.slow
def test_no_model_is_loaded_for_what_is_cached(tiny, tmp_path):
    est = SpeechModelTransformer(tiny, pooling="mean", cache_dir=tmp_path)
    np.savez(
        tmp_path / "expected.npz", X=est.transform(WAVES[:2]), a=WAVES[0], b=WAVES[1]
    )
    code = (
        "import sys, numpy as np\n"
        "from sklearn_ser.features import SpeechModelTransformer\n"
        f"folder = {json.dumps(str(tmp_path))}\n"
        "known = np.load(folder + '/expected.npz')\n"
        f"est = SpeechModelTransformer({json.dumps(tiny)}, pooling='mean', "
        "cache_dir=folder)\n"
        "X = est.fit([known['a']]).transform([known['a'], known['b']])\n"
        "assert np.array_equal(X, known['X'])\n"
        "print(*{'torch', 'transformers'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


OTHER = {
    "model": None,
    "layer": 0,
    "pooling": "mean",
    "channel": 0,
    "duration": 0.5,
    "dtype": "float64",
}
SAME = {"frames_per_batch": 7, "device": "cpu", "n_jobs": 2, "verbose": 0}


def test_every_parameter_is_named():
    known = {*OTHER, *SAME, "cache_dir", "local_files_only", "revision"}
    assert known == set(SpeechModelTransformer().get_params())


@pytest.mark.parametrize("name", [*OTHER, *SAME])
def test_what_shapes_the_features_has_entries_of_its_own(models, tmp_path, name):
    est = SpeechModelTransformer(models("hubert, group norm"), cache_dir=tmp_path)
    est.transform(WAVES[:1])
    other = {**OTHER, **SAME, "model": models("hubert, layer norm")}[name]
    est.set_params(**{name: other}).transform(WAVES[:1])
    assert len(_entries(tmp_path)) == (2 if name in OTHER else 1)


def test_an_extraction_that_fails_keeps_what_was_finished(tiny, tmp_path):
    waves = [*WAVES, np.full(100, np.nan)]  # the shortest comes last
    est = SpeechModelTransformer(tiny, cache_dir=tmp_path, frames_per_batch=60)
    with pytest.raises(ValueError, match=r"X\[6\] contains NaN"):
        est.transform(waves)
    before = {p: p.stat().st_mtime_ns for p in _entries(tmp_path)}
    assert len(before) >= 4
    assert not list(tmp_path.rglob("*.tmp"))
    est.transform(WAVES)
    after = {p: p.stat().st_mtime_ns for p in _entries(tmp_path)}
    assert {p: after[p] for p in before} == before
    assert len(after) == 6


# Manners of an estimator


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        ({"model": 5}, TypeError, "model must be a name or a path, got 5"),
        *(
            ({"model": name}, ValueError, "there is no such directory")
            for name in ("./nowhere", "no/such/directory", Path("/no/where"))
        ),
        ({"revision": "v1"}, ValueError, "revision is 'v1', but model .* directory"),
        ({"layer": "top"}, ValueError, "layer must be 'middle', 'last' or an int"),
        ({"layer": 1.5}, ValueError, "layer must be .*got 1.5"),
        ({"layer": True}, ValueError, "layer must be .*got True"),
        ({"layer": 5}, ValueError, "an int from -5 to 4.* has 4 layers; got 5"),
        ({"layer": -6}, ValueError, "an int from -5 to 4.* has 4 layers; got -6"),
        ({"pooling": "max"}, ValueError, "pooling must be one of .*got 'max'"),
        ({"revision": 3}, TypeError, "revision must be a string or None, got 3"),
        ({"channel": -1}, ValueError, "channel, unless 'mean', must be .*got -1"),
        ({"duration": 0}, ValueError, "duration must be a number of at least"),
        ({"frames_per_batch": 0}, ValueError, "frames_per_batch must be .*got 0"),
        ({"frames_per_batch": 9.5}, TypeError, "frames_per_batch must be an int"),
        ({"dtype": "int16"}, ValueError, "dtype must be one of .*got 'int16'"),
        ({"cache_dir": 5}, TypeError, "cache_dir must be a path or None, got 5"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_bad_parameter(tiny, params, kind, message, method):
    est = SpeechModelTransformer(**{"model": tiny, **params})  # says nothing yet
    with pytest.raises(kind, match=message):
        getattr(est, method)(WAVES)


def test_a_device_that_does_not_exist(tiny):
    with pytest.raises(ValueError, match="device is 'gpu9'"):
        SpeechModelTransformer(tiny, device="gpu9").transform(WAVES)


@pytest.mark.parametrize("package", ["transformers", "safetensors"])
def test_missing_extra(tiny, monkeypatch, package):
    release_speech_models()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r'pip install "sklearn_ser\[speech-model\]"'):
        SpeechModelTransformer(tiny).transform(WAVES)


# The real Whisper base


@pytest.fixture(scope="module")
def whisper():
    home = os.environ.get("SKLEARN_SER_MODELS")
    if not home or not Path(home, "whisper-base").is_dir():
        pytest.skip("SKLEARN_SER_MODELS names no directory with whisper-base")
    return Path(home, "whisper-base")


@pytest.fixture(scope="module")
def speech():
    """Recordings of three speakers, synthetic ones where there are no real."""
    home = os.environ.get("SKLEARN_SER_DATA")
    if home and (table := Path(home, "emodb4", "metadata.csv")).exists():
        found = load_manifest(table)
        rows = np.flatnonzero(np.isin(found.speakers, ["10", "11", "14"]))
        data = [found.data[i] for i in rows]
        return data, found.target[rows], found.speakers[rows], 0.8
    found = make_emotional_speech(n_speakers=3, n_utterances=4, random_state=0)
    return found.data, found.target, found.speakers, 0.4


def _unpadded(directory, wave):
    """transformers' own encoder, told that the recording's length is all there is."""
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(directory)
    encoder = transformers.AutoModel.from_pretrained(directory).float().eval().encoder
    (mel,) = extractor(wave, sampling_rate=RATE, padding=False)["input_features"]
    n_frames = mel.shape[1] // 2
    encoder.config.max_source_positions = n_frames
    positions = encoder.embed_positions.weight[:n_frames]
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(positions)
    with torch.inference_mode():
        out = encoder(torch.from_numpy(mel)[None], output_hidden_states=True)
    return [x[0].numpy().T for x in out.hidden_states]


def test_whisper_base_is_transformers_own(whisper):
    wave = _noise(3 * RATE) * np.hanning(3 * RATE).astype(np.float32)
    expected = _unpadded(whisper, wave)
    assert len(expected) == 7
    for layer, number in (("middle", 3), ("last", 6)):
        est = SpeechModelTransformer("openai/whisper-base", layer=layer)
        (found,) = est.transform([wave])
        assert found.shape == (512, 150)
        np.testing.assert_allclose(found, expected[number], atol=1e-3)


@pytest.mark.slow
def test_whisper_base_knows_emotions_of_unseen_speakers(whisper, speech, tmp_path):
    data, y, speakers, least = speech
    pipeline = make_pipeline(
        SpeechModelTransformer(whisper, pooling="mean_std", cache_dir=tmp_path),
        StandardScaler(),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    )
    result = speaker_cross_validate(pipeline, data, y, speakers, n_bootstrap=0)
    assert result.uar > least
    assert len(pickle.dumps(pipeline.fit(data, y)[0])) < 5_000
    assert len(_entries(tmp_path)) == len(data)


@pytest.mark.slow
def test_the_benchmark_has_a_figure_for_each_way(whisper, tmp_path, monkeypatch):
    root = Path(__file__).parents[2]
    if not (root / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not part of the package")
    monkeypatch.syspath_prepend(str(root))
    from benchmarks import speech_model

    output = tmp_path / "speech_model.json"
    size = ["--recordings", "2", "--repeats", "1", "--output", str(output)]
    speech_model.main(["--model", str(whisper), *size])
    found = json.loads(output.read_text())
    assert max(found["largest_difference"].values()) < 1e-3
    assert len(found["overhead"]) == 3
    assert found["overhead"]["transformer"]["ratio"] < 3
    assert found["padding"]["published pipeline"]["ratio"] > 3
