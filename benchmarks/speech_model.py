"""How fast does a speech model turn recordings into pooled features?

Whisper base by ``SpeechModelTransformer``, from paths to the mean and deviation of its
middle layer; by the model's own pipeline as published, which pads to 30 s; and by bare
forward passes on inputs that are ready and not padded: one recording after the other
by transformers' layers, and in the batches of the transformer. One thread, whose CPU
time counts, so that other processes disturb less; repeats are interleaved, and medians
reported. Recordings are every n-th of ``$SKLEARN_SER_DATA/emodb4`` or, without it,
synthetic ones.

    python benchmarks/speech_model.py [--model NAME] [--recordings N] [--repeats N]
        [--output FILE]
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import AutoModel, WhisperFeatureExtractor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.speed import compared
from sklearn_ser import SpeechModelTransformer
from sklearn_ser.datasets import load_manifest, make_emotional_speech
from sklearn_ser.features._hub import locate
from sklearn_ser.features._speech_encoders import load_encoder

TOLERANCE = 1e-3


def corpus(n_recordings, folder):
    """Paths of recordings, and where they are from."""
    root = os.environ.get("SKLEARN_SER_DATA")
    if root and (table := Path(root, "emodb4", "metadata.csv")).exists():
        paths = load_manifest(table).data
        origin = "emodb4"
    else:
        speech = make_emotional_speech(random_state=0)
        paths, origin = [], "synthetic"
        for i, wave in enumerate(speech.data[:n_recordings]):
            paths.append(str(Path(folder, f"{i}.wav")))
            soundfile.write(paths[-1], wave, speech.sampling_rate)
    step = max(1, len(paths) // n_recordings)
    return paths[::step][:n_recordings], origin


def statistics(states):
    """Mean and deviation over the frames (n_frames, n_features) of one recording."""
    return torch.cat([states.mean(dim=0), states.std(dim=0, correction=0)]).numpy()


def published(source, layer, paths):
    """The model's own pipeline, one recording after the other."""
    extractor = WhisperFeatureExtractor.from_pretrained(source.directory)
    encoder = AutoModel.from_pretrained(source.directory).float().eval().encoder

    def run():
        rows = []
        for path in paths:
            wave, rate = soundfile.read(path, dtype="float32")
            values = extractor(wave, sampling_rate=rate, return_tensors="pt")
            with torch.inference_mode():
                out = encoder(values["input_features"], output_hidden_states=True)
                rows.append(statistics(out.hidden_states[layer][0]))
        return np.stack(rows)

    return run


def bare(encoder, inputs):
    """The layers of transformers on each recording, and nothing else."""
    module = encoder._module
    mels = [torch.from_numpy(x) for x in inputs]

    @torch.inference_mode()
    def run():
        states = []
        for mel in mels:
            x = torch.nn.functional.gelu(module.conv1(mel[None]))
            x = torch.nn.functional.gelu(module.conv2(x)).transpose(1, 2)
            x = x + module.embed_positions.weight[: x.shape[1]]
            for layer in module.layers:
                x = layer(x, None)
            states.append(x[0])
        return states

    return run


def interleaved(functions, repeats):
    """CPU seconds of each function, one after the other, `repeats` times."""
    seconds = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name].append(time.process_time() - start)
    return seconds


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="openai/whisper-base")
    parser.add_argument("--recordings", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    default = Path(__file__).parent / "results" / "speech_model.json"
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)

    source = locate(args.model, local_files_only=True)
    layer = source.layer("middle")
    encoder = load_encoder(source, layer, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        paths, origin = corpus(args.recordings, folder)
        estimator = SpeechModelTransformer(args.model, pooling="mean_std", device="cpu")
        waves = [soundfile.read(path, dtype="float32")[0] for path in paths]
        inputs = [encoder.inputs(wave) for wave in waves]
        inputs.sort(key=lambda x: x.shape[1])
        one_by_one = bare(encoder, inputs)
        batched = encoder.states(inputs, estimator.frames_per_batch)
        error = max(
            float((a - b).abs().max())
            for a, b in zip(one_by_one(), batched, strict=True)
        )
        if error > TOLERANCE:
            raise AssertionError(f"batches and single recordings differ by {error}")
        alone = np.vstack([estimator.transform([path]) for path in paths])
        error_alone = float(np.abs(estimator.transform(paths) - alone).max())
        ways = {
            "transformer": lambda: estimator.transform(paths),
            "bare forward, one by one": one_by_one,
            "bare forward, in batches": lambda: encoder.states(
                inputs, estimator.frames_per_batch
            ),
        }
        overhead = interleaved(ways, 5 * args.repeats)
        ways = {
            "transformer": ways["transformer"],
            "published pipeline": published(source, layer, paths),
        }
        padding = interleaved(ways, args.repeats)
    audio = sum(len(wave) for wave in waves) / encoder.sampling_rate
    own = float(np.median(overhead["transformer"]))
    result = {
        "command": " ".join(
            ["python", "benchmarks/speech_model.py", *(argv or sys.argv[1:])]
        ),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "transformers")},
        },
        "cpu_count": os.cpu_count(),
        "load_average_at_end": os.getloadavg(),
        "model": args.model,
        "weights_hash": source.weights_hash,
        "layer": layer,
        "corpus": origin,
        "recordings": len(paths),
        "audio_seconds": audio,
        "seconds_per_minute_of_audio": 60 * own / audio,
        "repeats": args.repeats,
        "largest_difference": {
            "states, batched and bare": error,
            "pooled, together and one at a time": error_alone,
        },
        "overhead": compared(overhead, "bare forward, one by one"),
        "padding": compared(padding, "transformer"),
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    for what in ("overhead", "padding"):
        for name, row in result[what].items():
            print(f"{what:9} {name:26} {row['seconds']:8.3f} s {row['ratio']:6.2f}")


if __name__ == "__main__":
    main()
