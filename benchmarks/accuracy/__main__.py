"""The commands of the accuracy benchmarks; each goes on where it was stopped."""

import argparse
import sys
from pathlib import Path

import torch

from . import corpora, methods, rows, speakers, tables

SUMMARY = rows.RESULTS / "summary.csv"
COMMANDS = {
    "within": (tables.within, SUMMARY),
    "sentences": (tables.sentences, SUMMARY),
    "pools": (tables.pools, SUMMARY),
    "transfers": (tables.transfers, SUMMARY),
    "speakers": (speakers.run, rows.RESULTS / "speakers.csv"),
}


def main(argv=None):
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    commands = parser.add_subparsers(required=True)
    for name, (command, results) in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__)
        sub.set_defaults(command=command)
        option = sub.add_argument
        option("--cache", type=Path, required=True, help="keeps features and folds")
        option("--results", type=Path, default=results)
        option("--method", nargs="+", choices=list(methods.LABELS))
        if name == "speakers":
            option("--sizes", nargs="+", type=int, default=speakers.SIZES)
            option("--draws", type=int, default=speakers.DRAWS)
            continue
        known = {"pools": corpora.POOLS}.get(name, corpora.CORPORA)
        option("--corpus", nargs="+", choices=list(known))
        option("--seeds", type=int, default=tables.ENOUGH_SEEDS)
        option("--jobs", type=int)
        sub.set_defaults(features="speech-model")
        if name in ("within", "sentences"):
            option("--features", choices=list(methods.OF_FEATURES))
        if name == "transfers":
            how = ["corpus", "speaker", "no"]
            option("--normalised", nargs="+", default=how[:2], choices=how)
            option("--leave-one-out", action="store_true")
        else:
            option("--kind", nargs="+", default=["inductive"], choices=methods.KINDS)
    args = parser.parse_args(argv)
    if not args.method and args.command is not speakers.run:
        of_features = methods.OF_FEATURES[args.features]
        is_transfer = args.command is tables.transfers
        args.method = methods.OF_TRANSFERS if is_transfer else of_features
    torch.set_num_threads(1)
    args.command(args)


if __name__ == "__main__":
    sys.exit(main())
