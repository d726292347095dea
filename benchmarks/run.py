"""Run methods on corpora, one row per fold and seed.

``python -m benchmarks.run --corpus emodb4 emovo --method dsnet egemaps --seeds 12 22``
appends rows to ``benchmarks/results/rows.jsonl``, each as its fold finishes. A row that
is there is not run again, so that the same command resumes what was killed.
``--features speech-model`` puts a frozen speech model in front of the methods. Without
``--corpus`` and ``--method`` it runs all that the tables want and the summary lacks.
"""

import argparse
import ast
import os
import platform
import resource
import subprocess
import sys
import threading
import time
import traceback
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from sklearn_ser import DSNetClassifier
from sklearn_ser.metrics import emotion_probe_score, speaker_probe_score
from sklearn_ser.metrics._bootstrap import (
    confusion_uar,
    confusion_wa,
    speaker_confusions,
)
from sklearn_ser.model_selection import cross_corpus_validate, speaker_cross_validate

from . import condense, corpora, rows
from .features import OF_FOLDS, SETS, centre, choose, extract, set_of, weights_hash
from .methods import ALL_METHODS, parameters, with_settings

PACKAGES = ("sklearn-ser", "numpy", "scipy", "scikit-learn", "torch", "skorch")
_EXTRA_PACKAGES = {
    "opensmile": "opensmile",
    "mfcc": "librosa",
    "speech_model": "transformers",
}


def tasks(corpus_names, method_names, seeds, settings, sets=("log-mel",)):
    """Yield each fold of each run: its row without results, and what runs it."""
    for name in corpus_names:
        corpus, features = corpora.load(name), {}
        own = {
            "protocol": corpus.protocol and repr(corpus.protocol),
            "split_hash": corpora.digest(
                [(a.tolist(), b.tolist()) for a, b in corpus.splits]
            ),
            "manifest_hash": corpus.manifest_hash,
            "audio_hash": corpus.audio_hash,
        }
        for method_name, set_name in _on_sets(method_names, sets):
            method = ALL_METHODS[method_name]
            estimator, wanted = with_settings(method, settings, set_name)
            of_all = {k: v for k, v in wanted.items() if k not in OF_FOLDS}
            kind = repr(of_all)
            if kind not in features:
                features[kind] = extract(corpus, **of_all)
            X, model = features[kind], {}
            if wanted["kind"] == "speech_model":
                model = {"weights_hash": weights_hash(wanted["model"])}
            for seed in seeds if method.seeded else (None,):
                seeded = _with_seed(estimator, seed)
                for fold, (train, test) in enumerate(corpus.splits, 1):
                    row = {
                        "corpus": name,
                        "method": method_name,
                        "seed": seed,
                        "fold": fold,
                        "n_folds": len(corpus.splits),
                        "params": parameters(seeded, wanted),
                        **own,
                        **model,
                    }
                    if wanted.get("centred"):
                        X = centre(features[kind], corpus.corpora, train)
                    how = {
                        k: v
                        for k, v in wanted.items()
                        if k.startswith("enroll") or k == "adapted"
                    }
                    yield row, (seeded, X, corpus, train, test, how)


def _on_sets(method_names, sets):
    """Pair methods with those of the sets that they are run on."""
    pairs = []
    for name in method_names:
        known = ALL_METHODS[name].sets
        if not set(known) & set(sets):
            raise ValueError(
                f"--method {name} is run with --features {' or '.join(known)}, got "
                f"{' '.join(sets)}."
            )
        pairs += [(name, own) for own in sets if own in known]
    return pairs


def _with_seed(estimator, seed):
    """Return a clone that starts from the seed; a search passes it on."""
    if seed is None:
        return clone(estimator)
    names = [n for n in estimator.get_params() if n.endswith("random_state")]
    return clone(estimator).set_params(**{min(names, key=len): seed})


def run_fold(estimator, X, corpus, train, test, how):
    """Fit and score one fold; return the figures of its row.

    `how` says what the model may know of the test speakers: arguments of
    speaker_cross_validate that enrol them, or ``adapted``, with which their unlabelled
    recordings are the target of an adaptation.
    """
    data = estimator, X, corpus.target
    options = {"n_bootstrap": 0, "return_estimator": True}
    if ":" in corpus.name or how.get("adapted"):
        domains, pair = corpus.get("corpora"), tuple(corpus.name.split(":"))
        if how.get("adapted"):
            domains, pair = np.full(len(corpus.target), "known"), ("known", "new")
            domains[test] = "new"
        who = domains, corpus.speakers
        result = cross_corpus_validate(*data, *who, transfers=[pair], **options)
        fold = result.transfers[0]
        classes, predictions, scored = fold.classes, fold.predictions, test
    else:
        result = speaker_cross_validate(
            *data, corpus.speakers, cv=[(train, test)], **options, **how
        )
        fold, classes = result.folds[0], result.classes
        predictions, scored = result.predictions, result.rows
    names, counts = speaker_confusions(
        corpus.target[scored], predictions, corpus.speakers[scored], classes
    )
    confusion, classes = counts.sum(axis=0), classes.tolist()
    model = result.estimators[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak /= 2**20 if sys.platform == "darwin" else 2**10
    return {
        "classes": classes,
        "uar": float(confusion_uar(confusion)),
        "wa": float(confusion_wa(confusion)),
        "recall": _recalls(confusion, classes),
        "recall_per_speaker": {
            who: _recalls(own, classes)
            for who, own in zip(names.tolist(), counts, strict=True)
        },
        "confusion": {
            who: own.tolist() for who, own in zip(names.tolist(), counts, strict=True)
        },
        "chosen": getattr(model, "best_params_", None),
        **(
            {"label_free": label_free_scores(model, X, corpus, train, test)}
            if ":" in corpus.name
            else {"probes": probes(model, X, corpus, train, test)}
        ),
        "fit_seconds": round(fold.fit_time, 2),
        "score_seconds": round(fold.score_time, 2),
        "peak_mb": round(peak),
    }


def probes(model, X, corpus, train, test):
    """Return what linear probes read, score and chance, from a model's embeddings.

    Of the training speakers' utterances, and of the test speakers' where there are two
    or more. The speaker is read across texts, the emotion across speakers.
    """
    model = getattr(model, "best_estimator_", model)
    if not hasattr(model, "embed"):
        return None
    found = {}
    for name, part in ("seen", train), ("unseen", test):
        speakers, own = corpus.speakers[part], choose(X, part)
        if len(np.unique(speakers)) < 2:
            continue
        texts = corpus.frame.get("text", corpus.frame.get("text_id"))
        texts = None if texts is None else texts[part]
        options = {"n_bootstrap": 0}
        Z = model.embed(own)
        figures = {
            "speaker": speaker_probe_score(Z, speakers, groups=texts, **options),
            "emotion": emotion_probe_score(
                Z, corpus.target[part], groups=speakers, **options
            ),
        }
        if isinstance(model, DSNetClassifier):
            u = model.embed(own, subspace="irrelevant")
            figures["speaker in u"] = speaker_probe_score(
                u, speakers, groups=texts, **options
            )
            figures["emotion in u"] = emotion_probe_score(
                u, corpus.target[part], groups=speakers, **options
            )
        found[name] = {k: [round(v.score, 4), v.chance] for k, v in figures.items()}
    return found


class _ByRow:
    """A fitted model that is asked by number of row: skada wants X to be an array."""

    def __init__(self, model, X):
        self.model, self.X = model, X

    def predict_proba(self, rows, **params):
        return self.model.predict_proba(choose(self.X, rows[:, 0]))


def label_free_scores(model, X, corpus, train, test):
    """Return what skada's scorers, which see no label of the target, say of a model."""
    if not hasattr(model, "normalize_domains"):
        return None
    rows, domain = np.r_[train, test], np.repeat([1, -1], [len(train), len(test)])
    y = np.where(domain > 0, np.unique(corpus.target, return_inverse=True)[1][rows], -1)
    asked = _ByRow(model, X), rows[:, None], y
    with config_context(enable_metadata_routing=True):
        from skada.metrics import PredictionEntropyScorer, SoftNeighborhoodDensity

        return {
            kind.__name__: float(kind()(*asked, sample_domain=domain))
            for kind in (PredictionEntropyScorer, SoftNeighborhoodDensity)
        }


def _recalls(confusion, classes):
    support = confusion.sum(axis=1)
    return {
        name: round(float(confusion[i, i] / support[i]), 4)
        for i, name in enumerate(classes)
        if support[i]
    }


def in_processes(work, n_jobs):
    """Run each task in a process of its own; yield (row, figures or error text)."""
    context, running = get_context("fork"), {}
    work, more = iter(work), True
    while more or running:
        while more and len(running) < n_jobs:
            row, arguments = next(work, (None, None))
            more = row is not None
            if more:
                receiver, sender = context.Pipe(duplex=False)
                target = (sender, os.getpid(), arguments)
                process = context.Process(target=_child, args=target, daemon=True)
                process.start()
                sender.close()
                running[receiver] = row, process
        for receiver in wait(running) if running else ():
            row, process = running.pop(receiver)
            try:
                outcome = receiver.recv()
            except EOFError:
                process.join()
                outcome = f"the process died with exit code {process.exitcode}"
            process.join()
            yield row, outcome


def _child(sender, parent, arguments):
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            sender.send(run_fold(*arguments))
    except Exception:
        sender.send(traceback.format_exc())


def _end_with(parent):
    """Do not outlive a parent that was killed."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def provenance(kind):
    """Return what a row says of the run around it."""
    extra = [_EXTRA_PACKAGES[kind]] if kind in _EXTRA_PACKAGES else []
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False)
    return {
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in (*PACKAGES, *extra)},
        "commit": commit.stdout.strip() or None,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "command": " ".join(["python -m benchmarks.run", *sys.argv[1:]]),
    }


def _setting(text):
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"expected name=value, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _asked_for(args):
    """Yield the tasks of the corpora and methods that are named, or of all tables."""
    from .tables import SEEDS, wanted

    known = set() if args.corpus else {condense.key(x) for x in condense.read()}
    for features in args.features:
        named = dict.fromkeys(args.corpus or (), args.method) or wanted(features)
        for corpus, methods in named.items():
            methods = [m for m in methods if features in ALL_METHODS[m].sets]
            if methods:
                seeds = args.seeds or SEEDS[features]
                found = tasks([corpus], methods, seeds, dict(args.set), [features])
                yield from (
                    task for task in found if condense.key_of(task[0]) not in known
                )


def main(argv=None):
    """Run what is missing; return 1 if a fold failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    option = parser.add_argument
    option("--corpus", nargs="+")
    option("--method", nargs="+", choices=list(ALL_METHODS))
    option("--features", nargs="+", default=["log-mel"], choices=list(SETS))
    option("--seeds", nargs="+", type=int, help="default: those of the tables")
    option("--set", nargs="+", type=_setting, default=[], metavar="name=value")
    option("--jobs", type=int, default=1)
    option("--results", type=Path, default=rows.RESULTS)
    args = parser.parse_args(argv)
    if not os.environ.get("SKLEARN_SER_DATA"):
        parser.error("SKLEARN_SER_DATA must name the directory of the corpora.")
    if "speech-model" in args.features and not os.environ.get("SKLEARN_SER_MODELS"):
        parser.error("SKLEARN_SER_MODELS must name the directory of the speech models.")
    if (args.corpus is None) != (args.method is None):
        parser.error("--corpus and --method must be given together.")
    try:
        _on_sets(args.method or [], args.features)
    except ValueError as error:
        parser.error(str(error))
    failed = False
    with rows.RowFile(args.results) as file:
        work = (task for task in _asked_for(args) if task[0] not in file)
        for row, outcome in in_processes(work, args.jobs):
            what = [row[k] for k in ("corpus", "method", "seed", "fold")]
            label = " ".join(map(str, [set_of(row), *what]))
            if isinstance(outcome, str):
                failed = True
                print(f"{label}: failed\n{outcome}", file=sys.stderr, flush=True)
                continue
            file.append(row | outcome | provenance(row["params"]["features__kind"]))
            uar, seconds = 100 * outcome["uar"], outcome["fit_seconds"]
            print(f"{label}: UAR {uar:.1f}, {seconds:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
