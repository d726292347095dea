"""What do imports cost, from the bare interpreter to a prediction from the shell?

Every command is a process of its own; the commands take turns. CPU seconds count,
since a shared machine delays an import by as much as it likes. The reference is the
import of torch and scikit-learn, which every estimator needs.

    python benchmarks/imports.py [--repeats N] [--output FILE]
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
BARE, REFERENCE = "bare interpreter", "import torch and scikit-learn"
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "skorch", "skops")


def commands(model, recording):
    """Arguments of the interpreter, by what they do."""
    return {
        BARE: ["-c", "pass"],
        "import sklearn_ser": ["-c", "import sklearn_ser"],
        "python -m sklearn_ser --help": ["-m", "sklearn_ser", "--help"],
        REFERENCE: ["-c", "import torch, sklearn.pipeline, sklearn.model_selection"],
        "import of an estimator": ["-c", "from sklearn_ser import DSNetClassifier"],
        "predict one file": ["-m", "sklearn_ser", "predict", model, recording],
    }


def prepare(folder):
    """Save a small model and a recording of 3 s; return their paths."""
    from sklearn.pipeline import make_pipeline

    from sklearn_ser import DSNetClassifier, LogMelTransformer
    from sklearn_ser.datasets import make_emotional_speech
    from sklearn_ser.persistence import save

    corpus = make_emotional_speech(n_speakers=3, n_utterances=2, random_state=0)
    model = make_pipeline(
        LogMelTransformer(), DSNetClassifier(max_epochs=1, random_state=0)
    )
    model.fit(corpus.data, corpus.target, dsnetclassifier__speakers=corpus.speakers)
    save(model, f"{folder}/model.skops")
    noise = 0.1 * np.random.default_rng(0).normal(size=48000)
    soundfile.write(f"{folder}/one.wav", noise, 16000)
    return f"{folder}/model.skops", f"{folder}/one.wav"


def cpu_seconds(arguments):
    """User and system seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=7)
    default = Path(__file__).parent / "results" / "imports.json"
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        runs = commands(*prepare(folder))
        seconds = {name: [] for name in runs}
        for repeat in range(args.repeats + 1):
            for name, arguments in runs.items():
                spent = cpu_seconds(arguments)
                if repeat:  # the first one compiles and warms up
                    seconds[name].append(spent)
    rows = []
    for name, spent in seconds.items():
        ratios = np.divide(spent, seconds[REFERENCE])
        extra = np.subtract(spent, seconds[BARE])
        rows.append(
            {
                "what": name,
                "cpu_seconds": float(np.median(spent)),
                "over_bare_interpreter": float(np.median(extra)),
                "times_reference": float(np.median(ratios)),
                "quartiles": np.quantile(ratios, [0.25, 0.75]).tolist(),
            }
        )
        print(
            "{what:30} {cpu_seconds:7.2f} s {over_bare_interpreter:7.3f} s more "
            "{times_reference:6.2f}".format_map(rows[-1])
        )
    result = {
        "command": " ".join(["python", "benchmarks/imports.py", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "cpu_count": os.cpu_count(),
        "load_average_at_end": os.getloadavg(),
        "repeats": args.repeats,
        "reference": REFERENCE,
        "rows": rows,
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
