"""Turn the committed summary into the tables and the figures of the READMEs.

``python -m benchmarks.report`` rewrites what stands between the markers; with
``--check`` it only tells whether that is up to date. Of most parts there is one for
each set of features: ``<!-- uar -->`` is of log-mels, and of speech models
``<!-- uar speech-model -->``.
"""

import argparse
import re
import sys
from pathlib import Path

from . import condense, tables, transfers
from .corpora import POOLS
from .features import SETS
from .figures import figure, front_figure, probe_figure
from .summaries import mean

HERE = Path(__file__).parent
README, FRONT = HERE / "README.md", HERE.parent / "README.md"
FIGURE = HERE / "results" / "uar.svg"
(POOL,) = POOLS


def sections(found, features="log-mel"):
    """Return the parts about a set of features, by name, and the summaries."""
    summaries = tables.summaries_of(found, features)
    # Figures of frozen models are beside those of ours.
    published = features == "speech-model"
    pooled = (*tables.INDUCTIVE, *tables.OF_POOLS)
    transductive = {"methods": tables.TRANSDUCTIVE}
    if features == "speech-model":
        transductive["corpora"] = (*tables.CORPORA, *POOLS)
    main_table, comparison = tables.main_table, tables.comparison_table
    parts = {
        "uar": main_table(summaries, published=published),
        "wa": main_table(summaries, lambda s: mean(s.was)),
        "cost": main_table(summaries, lambda s: f"{s.minutes:.1f} min, {s.peak_mb} MB"),
        "transductive": main_table(summaries, **transductive),
        "adapted": main_table(summaries, methods=tables.ADAPTED),
        "enrolled": main_table(summaries, methods=tables.ENROLLED),
        "pool": tables.pool_table(summaries, POOL, pooled),
        "probes": tables.probe_table(summaries),
        "comparison": comparison(summaries),
        "pool comparison": comparison(
            summaries, "dsnet-centred", tables.OF_POOLS, (POOL,)
        ),
        "tradeoff": tables.tradeoff_table(tables.tradeoff(found, features)),
        "transfer means": transfers.means_table(found, features),
        "transfers": transfers.by_transfer_table(found, features),
        "transfer weights": transfers.weights_table(found, features),
        "settings": tables.settings_table(found, features),
    }
    return {_of(features, name): part for name, part in parts.items()}, summaries


def _of(features, name, between=" "):
    return name if features == "log-mel" else f"{name}{between}{features}"


def fill(text, parts):
    """Replace what stands between the markers of each part that the text has."""
    for name, content in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if begin in text:
            head, _, rest = text.partition(begin)
            tail = rest.partition(end)[2]
            text = f"{head}{begin}\n{content}\n{end}{tail}"
    return text


def main(argv=None):
    """Write the report, or check it; return 1 if it is not up to date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    found = condense.read()
    _check_weights(found)
    parts, summaries = {}, {}
    for features in SETS:
        own, summaries[features] = sections(found, features)
        parts |= own
    parts["front"] = tables.front_table(summaries)
    stale = []
    for path in (README, FRONT):
        text = path.read_text()
        new = fill(text, parts)
        if new != text:
            stale.append(path.name)
        if not args.check:
            path.write_text(new)
    if args.check:
        print("stale:" if stale else "up to date", *stale)
        return int(bool(stale))
    front_figure(summaries, FIGURE.with_stem("front"))
    for features, own in summaries.items():
        if any(own.values()):
            path = FIGURE.with_stem(_of(features, "uar", "-"))
            figure(own, path)
        if any(s and s.probes for s in own.values()):
            path = FIGURE.with_stem(_of(features, "probes", "-"))
            probe_figure(own, tables.tradeoff(found, features), path)
    return 0


def _check_weights(found):
    """Refuse lines whose speech models share a name but not their weights."""
    known = {}
    for line in found:
        if line["weights"]:
            name = re.search(r"(?<!\w)model=[^,]*|$", line["setting"])[0]
            name = name.removeprefix("model=") or SETS["speech-model"]["model"]
            if known.setdefault(name, line["weights"]) != line["weights"]:
                raise ValueError(f"lines of {name!r} are of two models by that name.")


if __name__ == "__main__":
    sys.exit(main())
