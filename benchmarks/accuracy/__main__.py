"""The commands of the accuracy benchmarks; each goes on where it was stopped."""

import argparse
from pathlib import Path

import torch

from . import corpora, methods, report, rows, speakers, tables

SUMMARY = rows.RESULTS / "summary.csv"
COMMANDS = {
    name: (getattr(tables, name), SUMMARY)
    for name in ("within", "sentences", "pools", "transfers")
}
COMMANDS["speakers"] = speakers.curve, rows.RESULTS / "speakers.csv"
COMMANDS["probes"] = speakers.probes, rows.RESULTS / "probes.csv"


def main(argv=None):
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("report", help=report.run.__doc__)
    sub.add_argument("--check", action="store_true")
    sub.set_defaults(command=report.run, features="speech-model", method=())
    for name, (command, results) in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__)
        sub.set_defaults(command=command, features="speech-model")
        option = sub.add_argument
        option("--cache", type=Path, required=True, help="keeps features and folds")
        option("--results", type=Path, default=results)
        option("--method", nargs="+", choices=list(methods.LABELS))
        if name == "speakers":
            option("--sizes", nargs="+", type=int, default=speakers.SIZES)
            option("--draws", type=int, default=speakers.DRAWS)
            continue
        of_pools = {"pools": corpora.POOLS, "probes": corpora.CORPORA | corpora.POOLS}
        known = of_pools.get(name, corpora.CORPORA)
        option("--corpus", nargs="+", choices=list(known))
        option("--seeds", type=int, default=tables.ENOUGH_SEEDS)
        option("--jobs", type=int)
        if name in ("within", "sentences"):
            option("--features", choices=list(methods.OF_FEATURES))
        if name == "transfers":
            how = ["by corpus", "by speaker", "raw"]
            option("--kind", nargs="+", default=how[:2], choices=how)
            option("--leave-one-out", action="store_true")
        elif name != "probes":
            option("--kind", nargs="+", default=["inductive"], choices=methods.KINDS)
    args = parser.parse_args(argv)
    defaults = {
        speakers.curve: speakers.METHODS,
        speakers.probes: tuple(methods.NETWORKS),
        tables.transfers: methods.OF_TRANSFERS,
    }
    of_features = methods.OF_FEATURES[args.features]
    args.method = args.method or defaults.get(args.command, of_features)
    torch.set_num_threads(1)
    args.command(args)


if __name__ == "__main__":
    main()
