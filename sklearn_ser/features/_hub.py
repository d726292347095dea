"""The files of a speech model, and the hash of its weights. Nothing is loaded."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache

from .._validation import import_or_raise

# The known families of encoders.
_FAMILIES = (
    *("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2"),
    *("wav2vec2-bert", "wav2vec2-conformer", "wavlm", "whisper"),
)

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_TIMEOUT = 10.0  # seconds until the Hub counts as out of reach


@dataclass(frozen=True)
class Source:
    """A speech model on this machine's disk.

    `name` is the user's; `revision` is the commit, of a model from the Hub; `weights`
    are the paths of its safetensors files; `family` is the ``model_type`` of
    transformers; `n_layers` and `n_features` are the depth and width of its encoder.
    """

    name: str
    directory: str
    revision: str | None
    weights: tuple
    family: str
    n_layers: int
    n_features: int

    @property
    def weights_hash(self):
        """SHA-256 of the weights' file; of the files' digests, where there are more."""
        digests = [_digest(path) for path in self.weights]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    @property
    def settings_hash(self):
        """SHA-256 of the other files that decide the features."""
        paths = [os.path.join(self.directory, name) for name in _SETTINGS]
        digests = [_digest(path) for path in paths if os.path.isfile(path)]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def layer(self, layer):
        """Return how many layers a frame goes through, from 0 to `n_layers`."""
        if layer == "middle":
            return (self.n_layers + 1) // 2
        if layer == "last":
            return self.n_layers
        if not -self.n_layers - 1 <= layer <= self.n_layers:
            raise ValueError(
                f"layer must be 'middle', 'last' or an int from {-self.n_layers - 1} "
                f"to {self.n_layers}, because model {self.name!r} has "
                f"{self.n_layers} layers; got {layer}."
            )
        return int(layer) % (self.n_layers + 1)


def locate(model, revision=None, local_files_only=False, seen=None):
    """Find a speech model by a directory or by its name on the Hugging Face Hub.

    A name is looked up below the directory in the environment variable
    ``SKLEARN_SER_MODELS``, then in the user's cache of the Hub, then on the Hub.
    Without a `revision`, the commit that an earlier call has `seen` is taken.
    """
    name = os.fspath(model)
    home = os.environ.get("SKLEARN_SER_MODELS")
    if os.path.isdir(name):
        if revision is not None:
            raise ValueError(
                f"revision is {revision!r}, but model {name!r} is a directory with a "
                "single version; expected revision=None."
            )
        return _source(name, name, None)
    if home and revision is None and _HUB_NAME.fullmatch(name):
        for folder in (name, name.rpartition("/")[2]):
            if os.path.isdir(directory := os.path.join(home, folder)):
                return _source(name, directory, None)
    if not _HUB_NAME.fullmatch(name):
        raise ValueError(
            f"model is {name!r}, but there is no such directory; expected a "
            "directory with config.json and model.safetensors, or a name on the "
            "Hugging Face Hub, such as 'openai/whisper-base'."
        )
    directory = _snapshot(name, revision or seen, local_files_only)
    return _source(name, directory, os.path.basename(directory))


def _snapshot(name, revision, local_files_only):
    """Return the directory of a model in the Hub's cache, fetched first if allowed."""
    huggingface_hub = import_or_raise(
        "huggingface_hub", "speech-model", "Speech models need"
    )
    where = {"repo_id": name, "revision": revision}
    version = "" if revision is None else f" --revision {revision}"
    remedy = (
        f"Run `hf download {name}{version}` on a machine with a network. Or copy the "
        "model's files into a directory and pass it: model='path/to/directory', or "
        f"$SKLEARN_SER_MODELS/{name}."
    )
    try:
        directory = huggingface_hub.snapshot_download(**where, local_files_only=True)
        if _weights(name, directory):  # a look at the config leaves none
            return directory
    except (OSError, ValueError):
        pass  # it is not there
    if local_files_only:
        raise ValueError(
            f"model {name!r} is not on this machine, and local_files_only=True forbids "
            f"a download. {remedy}"
        )
    try:
        api = huggingface_hub.HfApi()
        found = api.model_info(name, revision=revision, timeout=_TIMEOUT)
        files = [file.rfilename for file in found.siblings]
        wanted = [file for file in (*_SETTINGS, _WEIGHTS) if file in files]
        if _WEIGHTS not in files:
            wanted += [_INDEX, "model-*-of-*.safetensors"]
        if {_WEIGHTS, _INDEX} & set(files):
            return huggingface_hub.snapshot_download(**where, allow_patterns=wanted)
    # The errors of the Hub's client, and of the network library below it, differ
    # between versions. They are only quoted.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"model {name!r} is not on this machine, and the download from the "
            f"Hugging Face Hub failed ({type(error).__name__}: {reason}). "
            f"{remedy}"
        ) from None
    raise ValueError(_no_safetensors(name, files))


def _source(name, directory, revision):
    path = os.path.join(directory, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model {name!r} is not a speech model: {path!r} is missing or not "
            f"JSON ({error})."
        ) from None
    family = config.get("model_type")
    if family not in _FAMILIES:
        raise ValueError(
            f"model {name!r} is of the type {family!r}, expected a speech encoder: "
            f"one of {sorted(_FAMILIES)}."
        )
    names = "num_hidden_layers", "hidden_size"
    if family == "whisper":
        names = "encoder_layers", "d_model"
    try:
        n_layers, n_features = (int(config[name]) for name in names)
    except KeyError as error:
        raise ValueError(
            f"model {name!r} has an incomplete config: {path!r} lacks {error}."
        ) from None
    weights = _weights(name, directory)
    return Source(name, directory, revision, weights, family, n_layers, n_features)


def _weights(name, directory):
    """Return the safetensors files of a directory that transformers would load."""
    if os.path.isfile(path := os.path.join(directory, _WEIGHTS)):
        return (path,)
    index = os.path.join(directory, _INDEX)
    if not os.path.isfile(index):
        raise ValueError(_no_safetensors(name, os.listdir(directory)))
    with open(index, encoding="utf-8") as file:
        shards = sorted(set(json.load(file)["weight_map"].values()))
    paths = tuple(os.path.join(directory, shard) for shard in shards)
    if lost := [path for path in paths if not os.path.isfile(path)]:
        raise ValueError(f"model {name!r} is incomplete: {lost[0]!r} is missing.")
    return paths


def _no_safetensors(name, files):
    found = sorted(file for file in files if file.endswith((".bin", ".h5", ".msgpack")))
    only = f", only {found}, whose format can run code when it is read" if found else ""
    return (
        f"model {name!r} has no {_WEIGHTS}{only}. If you trust its origin, convert it "
        "once with torch: "
        'python -c "from transformers import AutoModel, AutoFeatureExtractor as F; '
        f"[c.from_pretrained('{name}').save_pretrained('DIRECTORY') "
        "for c in (AutoModel, F)]\". Then pass model='DIRECTORY'."
    )


def _digest(path):
    # The same path may later name another file, which has another size or time.
    found = os.stat(path)
    return _digest_of(os.path.realpath(path), found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_of(path, size, mtime_ns):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
