"""The commands of the accuracy benchmarks; each goes on where it was stopped."""

import argparse
from pathlib import Path

import torch

from . import corpora, methods, report, rows, speakers, tables

_OF_SUMMARY = rows.RESULTS / "summary.csv", corpora.CORPORA, None
# What each command runs, its rows, what it is asked of, and its methods.
COMMANDS = {
    "within": (tables.within, *_OF_SUMMARY),
    "sentences": (tables.sentences, *_OF_SUMMARY),
    "pools": (tables.pools, _OF_SUMMARY[0], corpora.POOLS, None),
    "transfers": (tables.transfers, *_OF_SUMMARY[:2], methods.OF_TRANSFERS),
    "speakers": (speakers.curve, speakers.CURVE, None, speakers.METHODS),
    "probes": (speakers.probes, speakers.PROBED, speakers.PROTOCOLS, methods.NETWORKS),
}


def main(argv=None):
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("report", help=report.run.__doc__)
    sub.add_argument("--check", action="store_true")
    sub.set_defaults(command=report.run)
    for name, (command, results, known, own) in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__)
        sub.set_defaults(command=command, features="speech-model")
        option = sub.add_argument
        option("--cache", type=Path, required=True, help="keeps features and folds")
        option("--results", type=Path, default=results)
        option("--method", nargs="+", choices=list(methods.LABELS), default=own)
        if name == "speakers":
            option("--sizes", nargs="+", type=int, default=speakers.SIZES)
            option("--draws", type=int, default=speakers.DRAWS)
            continue
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
    if args.command is not report.run:
        args.method = args.method or methods.OF_FEATURES[args.features]
    torch.set_num_threads(1)
    args.command(args)


if __name__ == "__main__":
    main()
