"""Compare the compact encoders on the development corpora, by UAR per minute.

``python -m benchmarks.encoders`` runs DSNet with each encoder, leave one speaker out,
on ``emodb4`` and ``emovo`` below the directory ``SKLEARN_SER_DATA``. A row is appended
to ``benchmarks/results/encoders.jsonl`` as it finishes and is never run twice.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import load_manifest
from sklearn_ser.model_selection import speaker_cross_validate

RESULTS = Path(__file__).parent / "results" / "encoders.jsonl"
COMPACT = ["conv", "conv_gru", "conv_lstm", "residual"]
FEATURES = {"normalize": "level"}
PACKAGES = ("numpy", "scikit-learn", "torch", "skorch", "sklearn-ser")


def digest(*parts):
    """Hash whatever has a stable repr or bytes."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part if isinstance(part, bytes) else repr(part).encode())
    return sha.hexdigest()[:16]


def parameters(encoder):
    """Return the parameters of a run, the seed aside."""
    params = DSNetClassifier(encoder=encoder).get_params()
    del params["random_state"]
    return params | {"features": FEATURES}


def run(corpus, encoder, seed, n_jobs):
    """Cross-validate one encoder on one corpus with one seed."""
    manifest = Path(os.environ["SKLEARN_SER_DATA"]) / corpus / "metadata.csv"
    data = load_manifest(manifest)
    X = LogMelTransformer(**FEATURES).transform(data.data)
    classifier = DSNetClassifier(encoder=encoder, random_state=seed)
    result = speaker_cross_validate(
        classifier, X, data.target, data.speakers, n_jobs=n_jobs
    )
    splits = LeaveOneGroupOut().split(data.data, groups=data.speakers)
    minutes = sum(fold.fit_time for fold in result.folds) / 60
    return {
        "corpus": corpus,
        "encoder": encoder,
        "seed": seed,
        "uar": round(100 * result.uar, 2),
        "uar_interval": [round(100 * bound, 2) for bound in result.uar_interval],
        "wa": round(100 * result.wa, 2),
        "training_minutes": round(minutes, 2),
        "uar_per_fold": [round(100 * fold.uar, 2) for fold in result.folds],
        "n_jobs": n_jobs,
        "cpu_count": os.cpu_count(),
        "params": parameters(encoder),
        "split_hash": digest([test.tolist() for _, test in splits]),
        "manifest_hash": digest(manifest.read_bytes()),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "command": "python -m benchmarks.encoders " + " ".join(sys.argv[1:]),
    }


def read():
    """Return the rows that are there."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def table(rows):
    """Print UAR, mean over the seeds, beside the minutes it took to train."""
    corpora = sorted({row["corpus"] for row in rows})
    print("encoder".ljust(12), *(f"{c} UAR %  minutes".rjust(26) for c in corpora))
    for encoder in sorted({row["encoder"] for row in rows}):
        cells = []
        for corpus in corpora:
            own = [r for r in rows if (r["encoder"], r["corpus"]) == (encoder, corpus)]
            if not own:
                cells.append("missing")
                continue
            uar = np.mean([r["uar"] for r in own])
            minutes = np.mean([r["training_minutes"] for r in own])
            cells.append(f"{uar:.1f} ({len(own)} seeds)  {minutes:.1f}")
        print(encoder.ljust(12), *(cell.rjust(26) for cell in cells))


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    option = parser.add_argument
    option(
        "--encoders", nargs="*", default=["conv", "conv_gru", "conv_lstm", "residual"]
    )
    option("--corpora", nargs="*", default=["emodb4", "emovo"])
    option("--seeds", nargs="*", type=int, default=[12])
    option("--jobs", type=int, default=2)
    args = parser.parse_args()
    for corpus in args.corpora:
        for encoder in args.encoders:
            for seed in args.seeds:
                key = corpus, encoder, seed
                params = parameters(encoder)
                if any(
                    (r["corpus"], r["params"], r["seed"]) == (corpus, params, seed)
                    for r in read()
                ):
                    continue
                row = run(*key, args.jobs)
                with RESULTS.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(*key, row["uar"], row["training_minutes"], flush=True)
    table(read())


if __name__ == "__main__":
    main()
