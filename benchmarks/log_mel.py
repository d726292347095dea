"""How fast are log-mel spectrograms, and how far from librosa's?

Compares LogMelTransformer with librosa, a plain SciPy and a per-file torch version,
from waveforms and from FLAC and WAV files, on one and on two threads. The repeats are
interleaved and their medians reported: CPU time of one thread, for a machine that is
shared, and time by the clock of two, for one that is not. The clips are those of
``$SKLEARN_SER_DATA/emodb4`` or, without it, generated ones of such lengths.

    python benchmarks/log_mel.py [--clips N] [--repeats N] [--output FILE]
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np
import scipy.fft
import soundfile
import torch
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))
from sklearn_ser.features import LogMelTransformer

RATE, N_FFT, WIN, HOP, N_MELS, TOP_DB = 16000, 512, 400, 160, 80, 80
MEL = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=N_MELS)
WINDOW = librosa.util.pad_center(
    librosa.filters.get_window("hann", WIN), size=N_FFT
).astype(np.float32)
TORCH_MEL, TORCH_WINDOW = torch.from_numpy(MEL), torch.from_numpy(WINDOW)


def by_librosa(wave):
    mel = librosa.feature.melspectrogram(
        y=wave,
        sr=RATE,
        n_fft=N_FFT,
        win_length=WIN,
        hop_length=HOP,
        n_mels=N_MELS,
        pad_mode="constant",
    )
    return librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=TOP_DB)


def by_scipy(wave):
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, N_FFT // 2), N_FFT)[
        ::HOP
    ]
    mel = MEL @ (np.abs(scipy.fft.rfft(frames * WINDOW)) ** 2).T
    level = 10 * np.log10(np.maximum(mel, 1e-10))
    return np.maximum(level, level.max() - TOP_DB)


def by_torch(wave):
    spectrum = torch.stft(
        torch.from_numpy(wave),
        N_FFT,
        HOP,
        window=TORCH_WINDOW,
        pad_mode="constant",
        return_complex=True,
    )
    mel = TORCH_MEL @ spectrum.abs().square()
    level = 10 * torch.log10(mel.clamp(min=1e-10))
    return level.clamp(min=level.max() - TOP_DB).numpy()


def decode(path):
    return soundfile.read(path, dtype="float32")[0]


def load_by_librosa(path):
    return librosa.load(path, sr=RATE)[0]


def methods(n_threads, from_paths):
    """Functions from a list of clips to a list of features, by name."""

    def each(function, load):
        if from_paths:
            return lambda clips: [function(load(path)) for path in clips]
        return lambda clips: [function(wave) for wave in clips]

    n_jobs = None if n_threads == 1 else n_threads
    ours = LogMelTransformer(top_db=TOP_DB, normalize=None, n_jobs=n_jobs)
    return {
        "librosa": each(by_librosa, load_by_librosa),
        "scipy": each(by_scipy, decode),
        "torch": each(by_torch, decode),
        "sklearn_ser": ours.transform,
    }


def corpus_clips(limit):
    """The waveforms of emodb4, or generated ones, and where they come from."""
    root = os.environ.get("SKLEARN_SER_DATA")
    if root and (folder := Path(root) / "emodb4").is_dir():
        paths = sorted(folder.rglob("*.flac"))
        return [decode(path) for path in paths[:: -(-len(paths) // limit)]], "emodb4"
    return [speech_like(seed) for seed in range(limit)], "generated, seeds from 0"


def speech_like(seed):
    """Gliding harmonics with pauses over faint noise, 1.2 to 5 s."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(RATE * rng.uniform(1.2, 5.0))) / RATE
    phase = np.cumsum(rng.uniform(90, 250) * (1 + 0.2 * np.sin(7 * t))) / RATE
    voice = sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 30))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * t), 0, 1)
    wave = 0.05 * voice * syllables + 1e-3 * rng.normal(size=len(t))
    return wave.astype(np.float32)


def measure(inputs, waves, repeats, n_threads):
    """Median ms per clip and error of every method on every form of input."""
    expected = [by_librosa(wave) for wave in waves]
    runs = {
        (form, name): (function, clips)
        for form, clips in inputs.items()
        for name, function in methods(n_threads, form != "array").items()
    }
    errors, seconds = {}, {key: [] for key in runs}
    clock = time.process_time if n_threads == 1 else time.perf_counter
    torch.set_num_threads(n_threads)
    with threadpool_limits(n_threads):
        for key, (function, clips) in runs.items():  # the first call warms up
            errors[key] = error_of(function(clips), expected)
        for _ in range(repeats):
            for key, (function, clips) in runs.items():
                start = clock()
                function(clips)
                seconds[key].append(clock() - start)
    rows = []
    for form, name in runs:
        ratios = np.divide(seconds[form, "librosa"], seconds[form, name])
        rows.append(
            {
                "threads": n_threads,
                "input": form,
                "method": name,
                "ms_per_clip": 1e3 * float(np.median(seconds[form, name])) / len(waves),
                "times_librosa": float(np.median(ratios)),
                "times_librosa_quartiles": np.quantile(ratios, [0.25, 0.75]).tolist(),
                **errors[form, name],
            }
        )
    return rows


def error_of(features, expected):
    """Largest difference from librosa in dB, near the peak and anywhere."""
    near = far = 0.0
    for ours, theirs in zip(features, expected, strict=True):
        error = np.abs(ours - theirs)
        near = max(near, error[theirs > theirs.max() - 60].max())
        far = max(far, error.max())
    return {"max_error_db_within_60_db": float(near), "max_error_db": float(far)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=15)
    default = Path(__file__).parent / "results" / "log_mel.json"
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args()
    # librosa.load imports modules that Python 3.13 drops.
    warnings.filterwarnings("ignore", category=DeprecationWarning)

    waves, origin = corpus_clips(args.clips)
    with tempfile.TemporaryDirectory() as folder:
        inputs = {"array": waves}
        for form in ("flac", "wav"):
            inputs[form] = [f"{folder}/{i}.{form}" for i in range(len(waves))]
            for path, wave in zip(inputs[form], waves, strict=True):
                samples = np.clip(np.rint(wave * 32768), -32768, 32767)
                soundfile.write(path, samples.astype(np.int16), RATE)
        waves[:] = [decode(path) for path in inputs["wav"]]  # the very same samples
        rows = [row for n in (1, 2) for row in measure(inputs, waves, args.repeats, n)]

    print(
        f"{origin}: {len(waves)} clips, mean {np.mean([*map(len, waves)]) / RATE:.2f} s"
    )
    print("threads input  method         ms/clip  x librosa  max error (dB): <60, all")
    for row in rows:
        print(
            "{threads:>7} {input:6} {method:12} {ms_per_clip:>9.3f} "
            "{times_librosa:>10.2f} {max_error_db_within_60_db:>17.1e} "
            "{max_error_db:.1e}".format_map(row)
        )
    packages = ("numpy", "scipy", "scikit-learn", "librosa", "torch", "soundfile")
    result = {
        "command": " ".join(["python", "benchmarks/log_mel.py", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in packages},
        "cpu_count": os.cpu_count(),
        "load_average_at_end": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "clips": {
            "origin": origin,
            "n": len(waves),
            "mean_seconds": float(np.mean([len(wave) for wave in waves])) / RATE,
            "sha256": hashlib.sha256(b"".join(w.tobytes() for w in waves)).hexdigest(),
        },
        "repeats": args.repeats,
        "rows": rows,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
