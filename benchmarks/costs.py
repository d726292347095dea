"""Where does the time go? A profile of each step from an import to a saved model.

Each step runs under cProfile, and the functions that take longest by themselves are
kept, with their share of the CPU time of the step.

    python benchmarks/costs.py [--output FILE]
"""

import argparse
import cProfile
import json
import os
import platform
import pstats
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))
MOST = 4  # functions of each step that are kept


def steps(folder):
    """Functions to profile, by name."""
    import torch
    from sklearn.pipeline import make_pipeline

    from sklearn_ser import LogMelTransformer, SpeakerAdversarialClassifier
    from sklearn_ser.datasets import make_emotional_speech
    from sklearn_ser.features import load_audio
    from sklearn_ser.nn.batching import BatchIterator, SequenceDataset
    from sklearn_ser.persistence import load, save

    torch.set_num_threads(1)
    corpus = make_emotional_speech(n_speakers=8, n_utterances=4, random_state=0)
    waves = [np.resize(wave, 48000) for wave in corpus.data]
    flac, wav = (
        [f"{folder}/{i}.{form}" for i in range(len(waves))] for form in ("flac", "wav")
    )
    for paths in (flac, wav):
        for path, wave in zip(paths, waves, strict=True):
            soundfile.write(path, wave, 16000)
    front = LogMelTransformer(top_db=50, normalize="level")
    sequences = front.transform(waves)
    model = SpeakerAdversarialClassifier(
        method=None, max_epochs=2, random_state=0, device="cpu"
    )
    pipeline = make_pipeline(front, model).fit(waves, corpus.target)
    thousand = (waves * (1000 // len(waves) + 1))[:1000]
    data = SequenceDataset(sequences, {"y": np.zeros(len(sequences), int)})
    path = f"{folder}/model.skops"
    return {
        f"decoding of {len(flac)} FLAC files": lambda: [load_audio(p) for p in flac],
        f"decoding of {len(wav)} WAV files": lambda: [load_audio(p) for p in wav],
        f"log-mels of {len(waves)} recordings": lambda: front.transform(waves),
        "batching, 20 epochs": lambda: [
            list(BatchIterator(data, 32, np.random.default_rng(0))) for _ in range(20)
        ],
        f"training, 2 epochs of {len(waves)} recordings": lambda: model.fit(
            sequences, corpus.target
        ),
        "prediction of one clip, 50 times": lambda: [
            pipeline.predict_proba([waves[0]]) for _ in range(50)
        ],
        "prediction of a thousand clips": lambda: pipeline.predict_proba(thousand),
        "saving": lambda: save(pipeline, path),
        "loading": lambda: load(path),
    }


def short(function):
    """The name of a profiled function, without the folders of this machine."""
    file, _, name = function
    if file == "~":
        return name.strip("<>").replace("built-in method ", "")
    return f"{Path(file).parent.name}/{Path(file).name}: {name}"


def profiled(call):
    """CPU seconds of a call, and the functions that take longest by themselves."""
    call()  # warms up
    start = time.process_time()
    call()
    seconds = time.process_time() - start
    profile = cProfile.Profile()
    profile.runcall(call)
    stats = pstats.Stats(profile).stats
    total = sum(own for _, _, own, _, _ in stats.values())
    largest = sorted(stats.items(), key=lambda item: -item[1][2])[:MOST]
    return {
        "cpu_seconds": seconds,
        "largest": {short(name): own / total for name, (_, _, own, _, _) in largest},
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    default = Path(__file__).parent / "results" / "costs.json"
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, call in steps(folder).items():
            rows.append({"step": name} | profiled(call))
            shares = [f"{k} {100 * v:.0f} %" for k, v in rows[-1]["largest"].items()]
            print(f"{name:45} {rows[-1]['cpu_seconds']:8.4f} s", "; ".join(shares))
    result = {
        "command": " ".join(["python", "benchmarks/costs.py", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {n: version(n) for n in ("numpy", "scipy", "scikit-learn", "torch", "skops")},
        "cpu_count": os.cpu_count(),
        "load_average_at_end": os.getloadavg(),
        "rows": rows,
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
