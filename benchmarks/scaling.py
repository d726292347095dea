"""How do memory and time grow with the data?

``memory``: one epoch and one prediction on generated features, each measured in a
process of its own, whose largest resident memory counts. The features lie in a cache as
LogMelTransformer(cache_dir=...) leaves them, or in a list in memory.
``costs``: CPU seconds of single functions at sizes that double, and the exponent that
their growth has; 1 is linear.

    python benchmarks/scaling.py memory [--hours 1 10 100] [--cases ...]
    python benchmarks/scaling.py costs

Each writes a result file and a figure below benchmarks/results.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
RESULTS = Path(__file__).parent / "results"
N_SPEAKERS, N_CLASSES, SECONDS = 20, 4, 10
# Bands, and frames of a recording of 10 s: log-mels at 25 frames a second, so that a
# hundred hours are 1.4 GB; states of a speech model at 50.
SHAPES = {"log-mel": (40, 250), "states": (512, 500)}
STATES = "states of a speech model"
TWO_JOBS, SEARCH = "cross-validation, n_jobs=2", "search of two values, n_jobs=2"
CASES = (
    "cache",
    "list in memory",
    "speaker normalizer",
    "validation part",
    STATES,
    TWO_JOBS,
    SEARCH,
)


def make_cache(folder, kind, n, start=0):
    """Write the entries of n recordings."""
    from sklearn_ser.features.cache import write

    for i in range(start, n):
        rng = np.random.default_rng(i)
        array = rng.standard_normal(SHAPES[kind], np.float32)
        array += rng.standard_normal((SHAPES[kind][0], 1)) * (1 + i % N_CLASSES)
        write(folder, f"{i:064x}"[::-1], array)


def entries(folder, n):
    """The entries as LogMelTransformer returns them."""
    from sklearn_ser.sequences import CachedSequence

    keys = (f"{i:064x}"[::-1] for i in range(n))
    return [CachedSequence(f"{folder}/{key[:2]}/{key}.npy") for key in keys]


def in_memory(folder, n):
    """The same, read."""
    return [np.array(x) for x in entries(folder, n)]


def measured(case, folder, n):
    """Seconds of a fit of one epoch and of a prediction, and the peak memory in GB."""
    import torch
    from joblib.externals.loky import get_reusable_executor
    from sklearn.model_selection import GridSearchCV, GroupKFold

    from sklearn_ser import SpeakerAdversarialClassifier, SpeakerNormalizer
    from sklearn_ser.model_selection import speaker_cross_validate

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    y, speakers = np.arange(n) % N_CLASSES, np.arange(n) // N_CLASSES % N_SPEAKERS
    load = in_memory if case == "list in memory" else entries
    options = {"method": None, "max_epochs": 1, "random_state": 0, "device": "cpu"}
    if case == "validation part":
        options["validation_fraction"] = 0.2
    # A small network: memory and the reading of the cache are measured, not a layer.
    model = SpeakerAdversarialClassifier(**options)
    base = peak()
    X = load(folder, n)
    start = time.process_time()
    row = {}
    if case in (TWO_JOBS, SEARCH):
        wall = time.perf_counter()
        if case == TWO_JOBS:
            speaker_cross_validate(model, X, y, speakers, cv=2, n_jobs=2, n_bootstrap=0)
        else:
            grid = {"lr": [1e-3, 3e-3]}
            search = GridSearchCV(model, grid, cv=GroupKFold(2), n_jobs=2)
            search.fit(X, y, groups=speakers)
        row["wall_seconds"] = time.perf_counter() - wall
        get_reusable_executor().shutdown(wait=True)  # only ended children are counted
        row["largest_worker_gb"] = peak(resource.RUSAGE_CHILDREN)
    else:
        if case == "speaker normalizer":
            X = SpeakerNormalizer().fit_transform(X, speakers=speakers)
        model.fit(X, y, speakers=speakers)
        row["fit_cpu_seconds"] = time.process_time() - start
        start = time.process_time()
        model.predict(X)
        row["predict_cpu_seconds"] = time.process_time() - start
    return row | {"peak_gb": peak(), "before_gb": base}


def peak(who=resource.RUSAGE_SELF):
    """Largest resident memory so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit / 1e9


def run(case, folder, n, queue):
    queue.put(measured(case, folder, n))


def memory(args):
    """Measure each case at each number of hours."""
    rows, made = [], dict.fromkeys(SHAPES, 0)
    context = multiprocessing.get_context("spawn")
    for hours in args.hours:
        n = int(hours * 3600 / SECONDS)
        for case in args.cases:
            kind = "states" if case == STATES else "log-mel"
            folder = f"{args.folder}/{kind}"
            make_cache(folder, kind, n, made[kind])
            made[kind] = max(made[kind], n)
            queue = context.Queue()
            process = context.Process(target=run, args=(case, folder, n, queue))
            process.start()
            row = queue.get(timeout=3600)
            process.join()
            bands, frames = SHAPES[kind]
            row = {
                "case": case,
                "hours": hours,
                "recordings": n,
                "features_gb": n * bands * frames * 4 / 1e9,
            } | row
            rows = [
                r for r in earlier_rows() if (r["case"], r["hours"]) != (case, hours)
            ]
            rows.append(row)
            print(*(f"{key}={value}" for key, value in row.items()), flush=True)
            write_result("memory", {"shapes": SHAPES, "rows": rows})
    return rows


def earlier_rows():
    """The rows of earlier runs, which a new measurement of the same replaces."""
    path = RESULTS / "scaling-memory.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def cases_of_costs():
    """Functions that make an input of a size and return what is timed, by name."""
    import joblib
    from sklearn.base import BaseEstimator, ClassifierMixin

    from sklearn_ser.datasets import find_duplicates
    from sklearn_ser.features import LogMelTransformer, SpeakerNormalizer
    from sklearn_ser.metrics import speaker_probe_score
    from sklearn_ser.model_selection import (
        check_speaker_leakage,
        speaker_cross_validate,
    )

    rng = np.random.default_rng(0)

    class Constant(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.full(len(X), self.classes_[0])

    def duplicates(n):
        # The hardest case: all of one length, so that each has to be hashed.
        return partial(find_duplicates, list(rng.standard_normal((n, 1600))))

    def lengths(n):
        wave = rng.standard_normal(n)
        return partial(LogMelTransformer().transform, [wave])

    def recordings(n):
        waves = [rng.standard_normal(4000) for _ in range(n)]
        return partial(LogMelTransformer().transform, waves)

    def leakage(n_rows, n_speakers, n_folds):
        speakers = np.arange(n_rows) % n_speakers
        tests = [np.flatnonzero(speakers % n_folds == k) for k in range(n_folds)]
        rows = np.arange(n_rows)
        splits = [(np.setdiff1d(rows, test), test) for test in tests]
        return partial(check_speaker_leakage, splits, speakers)

    def normalizer(n_rows, n_speakers):
        X = list(rng.standard_normal((n_rows, 40, 20)).astype(np.float32))
        speakers = np.arange(n_rows) % n_speakers
        return partial(SpeakerNormalizer().fit, X, speakers=speakers)

    def probe(n_rows, n_speakers, bootstrap=0):
        speakers = np.arange(n_rows) % n_speakers
        X = rng.standard_normal((n_rows, 16)) + 2 * np.eye(n_speakers, 16)[speakers]
        return partial(speaker_probe_score, X, speakers, n_bootstrap=bootstrap)

    def evaluation(n_rows, n_speakers, n_folds, n_classes=4, bootstrap=0, n_jobs=None):
        X = rng.standard_normal((n_rows, 8))
        # Each class of each speaker.
        y = np.arange(n_rows) // n_speakers % n_classes
        speakers = np.arange(n_rows) % n_speakers

        def call():
            with joblib.parallel_config(backend="threading"):
                speaker_cross_validate(
                    Constant(),
                    X,
                    y,
                    speakers,
                    cv=n_folds,
                    n_bootstrap=bootstrap,
                    n_jobs=n_jobs,
                )

        return call

    sizes = [2**k for k in range(9, 13)]
    few = [16, 32, 64, 128]
    return {
        "find_duplicates, recordings": (duplicates, sizes),
        "LogMelTransformer, recordings": (recordings, [50, 100, 200, 400]),
        "LogMelTransformer, samples": (lengths, [16000 * 2**k for k in range(4, 8)]),
        "check_speaker_leakage, recordings": (
            lambda n: leakage(n * 64, 40, 10),
            sizes,
        ),
        "check_speaker_leakage, speakers": (lambda n: leakage(65536, n, 8), few),
        "check_speaker_leakage, folds": (lambda n: leakage(65536, 128, n), few),
        "SpeakerNormalizer.fit, recordings": (lambda n: normalizer(n, 40), sizes),
        "SpeakerNormalizer.fit, speakers": (lambda n: normalizer(4096, n), few),
        "speaker_probe_score, recordings": (lambda n: probe(n, 8), sizes),
        "speaker_probe_score, speakers": (lambda n: probe(4096, n), few[:3]),
        "probe's bootstrap, recordings": (lambda n: probe(n, 4, 1000), sizes),
        "evaluation, recordings": (lambda n: evaluation(n * 16, 32, 4), sizes),
        "evaluation, folds": (lambda n: evaluation(8192, 128, n), few),
        "evaluation, speakers": (lambda n: evaluation(8192, n, 4), few),
        "evaluation, classes": (lambda n: evaluation(65536, 4, 4, n), few),
        "evaluation, jobs": (lambda n: evaluation(8192, 64, 64, 4, 0, n), [1, 2, 4, 8]),
        "bootstrap intervals, speakers": (
            lambda n: evaluation(8192, n, 4, bootstrap=1000),
            few,
        ),
        "bootstrap intervals, resamples": (
            lambda n: evaluation(2048, 64, 4, bootstrap=n),
            [1000, 2000, 4000, 8000],
        ),
    }


def costs(args):
    """Time each function at each size, and fit the exponent of its growth."""
    rows = []
    for name, (make, sizes) in cases_of_costs().items():
        seconds = []
        for size in sizes:
            call, found = make(size), []
            for _ in range(args.repeats):
                start = time.process_time()
                call()
                found.append(time.process_time() - start)
            seconds.append(min(found))
        # Of the two largest, where a constant share weighs least.
        exponent = np.log2(seconds[-1] / seconds[-2]) / np.log2(sizes[-1] / sizes[-2])
        row = {"what": name, "sizes": sizes, "cpu_seconds": seconds}
        rows.append(row | {"exponent": float(exponent)})
        print(f"{name:36} {exponent:6.2f}", np.round(seconds, 4).tolist(), flush=True)
    write_result("costs", {"repeats": args.repeats, "rows": rows})
    return rows


def write_result(group, found):
    result = {
        "command": " ".join(["python", "benchmarks/scaling.py", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {n: version(n) for n in ("numpy", "scipy", "scikit-learn", "torch")},
        "cpu_count": os.cpu_count(),
        "load_average_at_end": os.getloadavg(),
    } | found
    path = RESULTS / f"scaling-{group}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


def draw(group, lines, labels, limit=None):
    """Draw lines (name, x, y), and a limit or, where it is None, linear growth."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "scaling"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for i, (name, x, y) in enumerate(lines):
        axes.plot(x, y, "os^Dv<>"[i % 7] + "-", label=name, color=f"C{i % 10}")
    ticks = sorted({value for _, x, _ in lines for value in x})
    gray = {"color": "gray", "linestyle": "--", "linewidth": 1, "zorder": 0}
    if limit is None:
        axes.plot(ticks, ticks, label="linear", **gray)
        axes.set(yscale="log", yticks=ticks, yticklabels=[f"{t:g}" for t in ticks])
    else:
        axes.axhline(limit, label="bar", **gray)
        axes.set_ylim(bottom=0)
    axes.set(xlabel=labels[0], ylabel=labels[1], xscale="log")
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / f"scaling-{group}.svg", metadata={"Date": None})
    plt.close(figure)


def draw_memory(rows):
    cases = dict.fromkeys(row["case"] for row in rows)
    lines = []
    for case in cases:
        own = sorted(
            (row for row in rows if row["case"] == case), key=lambda row: row["hours"]
        )
        lines.append((case, [r["hours"] for r in own], [r["peak_gb"] for r in own]))
    draw("memory", lines, ("hours of speech", "largest memory (GB)"), 1.5)


def draw_costs(rows):
    lines = [
        (
            f"{row['what']} ({row['exponent']:.2f})",
            np.divide(row["sizes"], row["sizes"][0]),
            np.divide(row["cpu_seconds"], row["cpu_seconds"][0]),
        )
        for row in rows
    ]
    draw("costs", lines, ("times the smallest size", "times its CPU time"))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("group", choices=("memory", "costs"))
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 10, 100])
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where the cache is made; default: temporary")
    args = parser.parse_args(argv)
    if args.group == "costs":
        draw_costs(costs(args))
        return
    own = args.folder is None
    args.folder = args.folder or tempfile.mkdtemp()
    try:
        draw_memory(memory(args))
    finally:
        if own:
            shutil.rmtree(args.folder)


if __name__ == "__main__":
    main()
