"""What several files share: a tiny corpus in each form, and the classifiers."""

import os
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

# Read by the libraries when they are loaded, here and in every process started from
# here: two processes of tests on two cores have one thread each.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import sklearn  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402

from sklearn_ser import (  # noqa: E402
    DIDANDomainAdapter,
    DSNetClassifier,
    LogMelTransformer,
    SpeakerAdversarialClassifier,
)
from sklearn_ser.datasets import make_emotional_speech  # noqa: E402

ROUNDING = Path(__file__).parent / "rounding"
collect_ignore = [str(ROUNDING)]


def pytest_addoption(parser):
    parser.addoption(
        "--rounding",
        type=int,
        metavar="SEED",
        help="round the initial weights of all nets otherwise, as other processors do",
    )


def pytest_configure(config):
    """Notice Ctrl-C; round in this process, and in all that tests start from here."""
    # A shell lets what it starts in the background ignore the signal that tests send.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = config.getoption("rounding")
    if seed is not None:
        os.environ["SKLEARN_SER_ROUNDING"] = str(seed)
        sys.path.insert(0, str(ROUNDING))  # what tests give to their processes
        paths = [str(ROUNDING), os.environ.get("PYTHONPATH")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        spec = spec_from_file_location("rounding", ROUNDING / "sitecustomize.py")
        spec.loader.exec_module(module_from_spec(spec))


# The files whose tests say something about trained nets. `.ci/run` repeats them under
# other roundings and on other kernels; the whole suite has one more of each.
TRAINING = [
    *("calibration", "common", "composition", "cross_corpus", "determinism", "didan"),
    *("domain_rows", "dsnet", "encoder_choice", "enrollment", "fit", "inspection"),
    *("invariance", "leakage", "model_selection", "numerics", "one_file"),
    *("persistence", "probes", "sequences", "skada", "speaker_adversarial"),
    *("speaker_normalizer", "callbacks", "statistics"),
]


LARGER = {"cnn6", "conv_gru", "conv_lstm"}


@pytest.hookimpl(tryfirst=True)  # before marks are asked for
def pytest_collection_modifyitems(items):
    """Mark the tests of trained nets. Those of the larger encoders are slow."""
    for item in items:
        if item.path.stem.removeprefix("test_") in TRAINING:
            item.add_marker("trains")
            call = getattr(item, "callspec", None)
            if call and LARGER & {str(value) for value in call.params.values()}:
                item.add_marker("slow")


# The quick profile and that of `.ci/run` are fixed sets of examples, plus those that a
# test names: their verdict is about a change, not about a draw. The thorough one draws
# anew each time (``pytest --hypothesis-profile=thorough``).
for _name, _examples in (("quick", 5), ("ci", 25)):
    hypothesis.settings.register_profile(
        _name, deadline=None, max_examples=_examples, derandomize=True
    )
hypothesis.settings.register_profile(
    "thorough", deadline=None, max_examples=100, print_blob=True
)
hypothesis.settings.load_profile("quick")

# Every classifier, with the parameters under which its fit needs no speakers. The
# third learns from one domain in what is common to all.
CLASSIFIERS = [
    (DSNetClassifier, {"calibration_weight": 0.0}),
    (SpeakerAdversarialClassifier, {"method": None}),
    (DIDANDomainAdapter, {"alignment": None}),
]

QUICK = {"encoder": "conv", "max_epochs": 1, "batch_size": 8, "random_state": 0}


class Method:
    """One row of CLASSIFIERS; called, it makes a classifier that fits quickly."""

    def __init__(self, cls, speakerless):
        self.cls = cls
        self.speakerless = speakerless
        self.step = cls.__name__.lower()

        self.uses_speakers = cls is not DIDANDomainAdapter
        # Under which batches hold the sequences as they were given.
        self.raw = {} if self.uses_speakers else {"normalize_domains": False}

    def __call__(self, **params):
        own = {} if self.uses_speakers else self.speakerless
        return self.cls(**{**QUICK, **own, **params})


@pytest.fixture(
    scope="session", params=CLASSIFIERS, ids=[cls.__name__ for cls, _ in CLASSIFIERS]
)
def method(request):
    return Method(*request.param)


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def routing_stays_as_it_was():
    before = sklearn.get_config()["enable_metadata_routing"]
    yield
    after = sklearn.get_config()["enable_metadata_routing"]
    sklearn.set_config(enable_metadata_routing=before)
    assert after == before


@pytest.fixture
def plt():
    """Return pyplot, which draws to no screen; no figure stays open."""
    matplotlib = pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    before = matplotlib.get_backend()
    plt.switch_backend("Agg")
    yield plt
    plt.close("all")
    plt.switch_backend(before)


@pytest.fixture
def browse(tmp_path):
    """Return a function from a page to its HTML, once a browser has run its scripts."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")

    def dump(page):
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        options += ["--allow-file-access-from-files", "--virtual-time-budget=10000"]
        options.append(f"--user-data-dir={tmp_path / 'profile'}")
        command = [browser, *options, page.as_uri()]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=True
        )
        return done.stdout

    return dump


@pytest.fixture(scope="session")
def corpus():
    """Four speakers in two sessions, three emotions, 24 short recordings."""
    speech = make_emotional_speech(
        n_speakers=4,
        n_utterances=2,
        emotions=("neutral", "anger", "sadness"),
        duration=(0.2, 0.6),
        random_state=0,
    )
    order = np.random.default_rng(0).permutation(len(speech.data))
    speakers = speech.speakers[order]
    return SimpleNamespace(
        waveforms=[speech.data[i] for i in order],
        y=speech.target[order],
        speakers=speakers,
        sessions=np.where(speakers < "s02", "first", "second"),
        sampling_rate=speech.sampling_rate,
    )


@pytest.fixture(scope="session")
def paths(corpus, tmp_path_factory):
    """The corpus as files, in floats, so that they equal the waveforms."""
    folder = tmp_path_factory.mktemp("corpus")
    names = [str(folder / f"{i:02d}.wav") for i in range(len(corpus.waveforms))]
    for name, wave in zip(names, corpus.waveforms, strict=True):
        soundfile.write(name, wave, corpus.sampling_rate, subtype="FLOAT")
    return names


@pytest.fixture(scope="session")
def write_corpus():
    """Return a function that writes a synthetic corpus and its table to a folder."""

    def write(table, **options):
        speech = make_emotional_speech(**{"random_state": 0, **options})
        lines = ["file,speaker,emotion"]
        for i, wave in enumerate(speech.data):
            soundfile.write(table.with_name(f"{i}.wav"), wave, speech.sampling_rate)
            lines.append(f"{i}.wav,{speech.speakers[i]},{speech.target[i]}")
        table.write_text("\n".join(lines))
        return table

    return write


@pytest.fixture(scope="session")
def log_mels(corpus):
    return LogMelTransformer(n_mels=16).transform(corpus.waveforms)


@pytest.fixture(scope="session")
def weights():
    """Return a function from a fitted classifier to digests of all its weights."""

    def read(model):
        state = model.net_.module_.state_dict()
        return {
            name: sha256(value.cpu().numpy().tobytes()).hexdigest()[:16]
            for name, value in state.items()
        }

    return read


@pytest.fixture(scope="session")
def tiny_speech_model(tmp_path_factory):
    """The directory of a wav2vec 2.0 of two layers and random weights."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("safetensors")
    folder = tmp_path_factory.mktemp("models") / "tiny"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = transformers.Wav2Vec2Config(
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
            conv_dim=(8,) * 7,
        )
        transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder
