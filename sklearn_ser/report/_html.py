"""The pieces of a report: tables, bars and curves as HTML that needs no network."""

import base64
import io
from html import escape

import numpy as np

from ..features.audio import load_audio

_RATE, _SECONDS = 16000, 20  # of a player

STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5a6675; --paper: #ffffff;
  --card: #f4f6f9; --line: #d5dbe3; --mark: #1c5d8a; --other: #b4531f;
  --hot: 28, 93, 138; --warn: #fff4e0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --soft: #a3afbd;
  --paper: #14191f; --card: #1d242c; --line: #38434f; --mark: #6db3e3; --other: #f0975c;
  --hot: 60, 130, 185; --warn: #3a2e17; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); margin: 0 auto; padding: 1rem; max-width: 62rem;
  overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { margin: 2.2rem 0 .6rem;
  font-size: 1.25rem; border-bottom: 1px solid var(--line); } h3 { font-size: 1.05rem; }
p, .note { max-width: 46rem; } .soft { color: var(--soft); }
.wide { overflow-x: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; align-items: flex-start; }
.pair > * { min-width: 0; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  margin: .4rem 0; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; }
table.heat td, table.heat th { padding: .3rem .5rem; }
table.heat td { text-align: right; background: rgba(var(--hot), var(--share)); }
.note { background: var(--warn); border-left: 4px solid var(--other); margin: .6rem 0;
  padding: .5rem .8rem; }
.score { display: grid; grid-template-columns: 14rem 1fr; gap: .1rem 1rem;
  margin: .7rem 0; align-items: center; }
.score b { font-size: 1.35rem; } .score small { color: var(--soft); }
.track { position: relative; height: 1.6rem; background: var(--card);
  border-radius: .3rem; }
.track i { position: absolute; top: 0; bottom: 0; }
.band { background: var(--mark); opacity: .35; } .dot { width: 4px; margin-left: -2px;
  background: var(--mark); } .chance { border-left: 2px dashed var(--other); }
.base .band, .base .dot { background: var(--soft); }
.bar { display: inline-block; height: .7rem; background: var(--mark); min-width: 1px;
  border-radius: 2px; vertical-align: middle; margin-right: .4rem; }
svg { width: 20rem; max-width: 100%; height: auto; } svg text { fill: var(--soft);
  font: 12px system-ui, sans-serif; } svg .axis { stroke: var(--line); fill: none; }
svg .ideal { stroke: var(--soft); stroke-dasharray: 4 4; } svg .curve { fill: none;
  stroke: var(--mark); stroke-width: 1.5; opacity: .75; }
svg rect { fill: var(--mark); }
audio { width: 16rem; max-width: 100%; height: 2.2rem; }
details { margin: .6rem 0; } summary { cursor: pointer; }
code { font-size: .9em; overflow-wrap: anywhere; }
@media (max-width: 36rem) { .score { grid-template-columns: 1fr; }
  body { padding: .7rem; }
  table { font-size: .85rem; } th.n { white-space: normal; }
  table.heat td, table.heat th { padding: .2rem .3rem; }
  th, td { padding-right: .5rem; } .bars .bar { display: none; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --paper: #fff;
  --card: #eee; --line: #bbb; --mark: #1c5d8a; --other: #b4531f; --hot: 28, 93, 138;
  --warn: #fff; } body { max-width: none; font-size: 11pt;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3 { break-after: avoid; } tr, svg, .score, .note { break-inside: avoid; }
  audio { display: none; } .wide { overflow: visible; } }
"""


class Html(str):
    """Text that is HTML already."""


def page(title, parts):
    """Return a whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{cell(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{cell(title)}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def cell(value):
    """Return a value as HTML; text is escaped."""
    if isinstance(value, Html):
        return value
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.1f}"
    return escape(str(value))


def table(head, rows, *, style=""):
    """Return a table; columns of numbers are aligned on the right."""
    rows = [list(row) for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float | np.number) for row in rows)
        for i in range(len(head))
    ]

    classes = [' class="n"' if right else "" for right in numeric]

    def line(cells, kind):
        parts = [
            f"<{kind}{name}>{cell(each)}</{kind}>"
            for each, name in zip(cells, classes, strict=True)
        ]
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return Html(
        f'<div class="wide"><table class="{style}"><thead>{line(head, "th")}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def heat(counts, classes):
    """Return a confusion matrix, shaded by the share of its row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th>{cell(name)}</th>" for name in classes)
    rows = []
    for name, row, part in zip(classes, counts.tolist(), shares, strict=True):
        cells = "".join(
            f'<td style="--share: {0.55 * share:.2f}">'
            f"{100 * share:.0f}%<br><small>{count}</small></td>"
            for count, share in zip(row, part, strict=True)
        )
        rows.append(f"<tr><th>{cell(name)}</th>{cells}</tr>")
    return Html(
        f'<div class="wide"><table class="heat"><thead><tr><th>true \\ predicted</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def score(name, value, interval, guess, style=""):
    """Return a score as text, and as a mark on a line from 0 to 100%."""
    low, high = (100 * end for end in interval)
    known = np.isfinite(low)
    between = f" [{low:.1f}, {high:.1f}]" if known else ""
    band = (
        f'<i class="band" style="left: {low:.2f}%; width: {high - low:.2f}%"></i>'
        if known
        else ""
    )
    return Html(
        f'<div class="score {style}"><div>{cell(name)}<br><b>{100 * value:.1f}%</b>'
        f"{between}<br><small>chance {100 * guess:.1f}%</small></div>"
        f'<div class="track">{band}<i class="dot" style="left: {100 * value:.2f}%"></i>'
        f'<i class="chance" style="left: {100 * guess:.2f}%"></i></div></div>'
    )


def bar(share):
    """Return a share as a bar with its percentage."""
    if np.isnan(share):
        return Html("–")
    width = f"{8 * share:.2f}rem"
    return Html(f'<span class="bar" style="width: {width}"></span>{100 * share:.1f}%')


def reliability(accuracy, n):
    """Return a plot of the accuracy in each bin of confidence."""
    most = max(n.max(), 1)
    bars = "".join(
        f'<rect x="{40 + 200 * i / len(n):.1f}" y="{220 - 200 * a:.1f}" '
        f'width="{200 / len(n) - 2:.1f}" height="{200 * a:.1f}" '
        f'opacity="{0.35 + 0.65 * k / most:.2f}"/>'
        for i, (a, k) in enumerate(zip(accuracy, n, strict=True))
        if k
    )
    return Html(
        '<svg viewBox="0 0 260 265" role="img" aria-label="Accuracy by confidence">'
        f'{bars}<path class="axis" d="M40 20V220H240"/>'
        '<path class="ideal" d="M40 220L240 20"/>'
        '<text x="40" y="12">accuracy</text><text x="8" y="26">100%</text>'
        '<text x="22" y="222">0%</text><text x="34" y="238">0%</text>'
        '<text x="220" y="238">100%</text><text x="90" y="258">confidence</text></svg>'
    )


def curves(name, lines):
    """Return a plot of one line for each fold over the epochs."""
    values = np.concatenate([np.asarray(line, float) for line in lines])
    low, high = values.min(), values.max()
    span, last = (high - low) or 1.0, max(max(map(len, lines)), 2) - 1
    paths = []
    for line in lines:
        points = " ".join(
            f"{64 + 190 * i / last:.1f},{120 - 100 * (value - low) / span:.1f}"
            for i, value in enumerate(line)
        )
        paths.append(f'<polyline class="curve" points="{points}"/>')
    return Html(
        f'<svg viewBox="0 0 260 160" role="img" aria-label="{cell(name)} by epoch">'
        f'{"".join(paths)}<path class="axis" d="M64 20V120H254"/>'
        f'<text x="64" y="12">{cell(name)}</text><text x="2" y="26">{high:.3g}</text>'
        f'<text x="2" y="122">{low:.3g}</text><text x="60" y="138">1</text>'
        f'<text x="240" y="138">{last + 1}</text>'
        '<text x="140" y="152">epoch</text></svg>'
    )


def player(recording, row):
    """Return a player that holds the sound."""
    import soundfile

    wave = load_audio(recording, sampling_rate=_RATE, name=f"recordings[{row}]")
    file = io.BytesIO()
    peak = max(1.0, float(np.abs(wave).max()))
    soundfile.write(file, wave[: _RATE * _SECONDS] / peak, _RATE, format="WAV")
    data = base64.b64encode(file.getvalue()).decode()
    return Html(f'<audio controls src="data:audio/wav;base64,{data}"></audio>')
