"""What do voices that enroll themselves win in a conversation, turn by turn?

Conversations of two unseen speakers are made from the recordings of a corpus: 40 turns,
once with all emotions equally often, once with three quarters neutral, as calls have
them. The model is trained without both speakers: `SpeakerNormalizer` and shrinkage LDA
on features of a frozen Whisper. The table shows UAR over all turns with no voice
enrolled, with ten other recordings of each voice, and with the turns themselves, where
some turns are given to the wrong speaker, as diarisation does.

    python -m benchmarks.turns --cache DIR [--corpus NAME ...] [--conversations N]
        [--pairs N] [--output FILE]
"""

import argparse
import json
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
from sklearn import config_context
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from tqdm.auto import tqdm

from benchmarks.accuracy.corpora import load, vectors
from sklearn_ser import OneSidedEnrollmentWarning, SpeakerNormalizer, enroll
from sklearn_ser.baseline import EqualPriorsLDA
from sklearn_ser.pipeline import with_own_voices
from sklearn_ser.timeline.windows import enroll_own

CORPORA = "emovo", "ravdess", "casia"
TURNS = 20  # of each speaker
CLEAN = 10  # recordings of each speaker that are enrolled before
MIXES = {"balanced": None, "three quarters neutral": 0.75}
WRONG = 0.0, 0.1, 0.25  # share of turns that are given to the other speaker


def draw(rows, y, neutral, rng):
    """Draw the turns of a speaker, and up to ten more recordings of all emotions.

    A recording comes twice only if an emotion has fewer than are wanted.
    """
    labels = rng.permutation(np.unique(y))
    n_neutral = 0 if neutral is None else round(neutral * TURNS)
    others = labels if neutral is None else labels[labels != "neutral"]
    wanted = np.r_[
        np.repeat("neutral", n_neutral), np.resize(others, TURNS - n_neutral)
    ]
    turns, rest = [], []
    for label in labels:
        own, n = rng.permutation(rows[y[rows] == label]), np.sum(wanted == label)
        turns.append(np.resize(own, n))
        rest.append(own[n:] if n < len(own) else own)
    deepest = max(map(len, rest))
    spread = [own[i] for i in range(deepest) for own in rest if i < len(own)]
    return np.concatenate(turns), np.array(spread[:CLEAN])


def predict(model, X, speakers):
    with config_context(enable_metadata_routing=True):
        return model.predict(X, speakers=speakers)


def converse(model, X, y, members, neutral, rng):
    """Yield kind, share of wrong turns, labels and predictions of one conversation."""
    drawn = [draw(rows, y, neutral, rng) for rows in members]
    turns = np.concatenate([own for own, _ in drawn])
    clean = np.concatenate([own for _, own in drawn])
    names = ["a", "b"]
    truth = np.repeat(names, TURNS)
    yield "none", 0.0, y[turns], predict(model, X[turns], np.repeat("?", len(turns)))
    before = with_own_voices(model)
    enroll(before, X[clean], np.repeat(names, [len(own) for _, own in drawn]))
    order = rng.permutation(len(turns))
    for wrong in WRONG:
        given, swapped = truth.copy(), order[: round(wrong * len(turns))]
        given[swapped] = np.where(given[swapped] == "a", "b", "a")
        itself = with_own_voices(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OneSidedEnrollmentWarning)
            enroll_own(itself, X[turns], given.tolist())
        for kind, voiced in (("ten clean", before), ("self", itself)):
            yield kind, wrong, y[turns], predict(voiced, X[turns], given)


def measure(corpus, X, n_conversations, n_pairs):
    """Return the UAR in % over all turns, by mix, kind and share of wrong turns."""
    y, speakers = corpus.target, corpus.speakers
    rng = np.random.default_rng(0)
    pairs = rng.permutation([*combinations(np.unique(speakers), 2)])[:n_pairs]
    found = {}
    for pair in tqdm(pairs, corpus.name):
        out = ~np.isin(speakers, pair)
        model = make_pipeline(SpeakerNormalizer(), EqualPriorsLDA(temperature=None))
        model.fit(X[out], y[out], speakernormalizer__speakers=speakers[out])
        members = [np.flatnonzero(speakers == who) for who in pair]
        for _ in range(n_conversations):
            for mix, neutral in MIXES.items():
                for *key, true, guess in converse(model, X, y, members, neutral, rng):
                    found.setdefault((mix, *key), []).append((true, guess))
    return {
        key: 100
        * recall_score(*map(np.concatenate, zip(*told, strict=True)), average="macro")
        for key, told in found.items()
    }


def table(corpus, figures):
    """Return the lines of a table in Markdown."""
    for (mix, kind, wrong), uar in figures.items():
        yield f"| {corpus} | {mix} | {kind} | {100 * wrong:.0f} % | {uar:.1f} |"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--corpus", nargs="+", default=CORPORA)
    parser.add_argument("--conversations", type=int, default=10, help="of each pair")
    parser.add_argument("--pairs", type=int, default=15, help="of speakers, at most")
    default = Path(__file__).parent / "results" / "turns.json"
    parser.add_argument("--cache", required=True, help="a folder for features")
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args(argv)
    rows = []
    print("| corpus | mix | enrolled | wrong turns | UAR |\n|---|---|---|---|---|")
    for name in args.corpus:
        corpus = load(name)
        X = vectors(corpus, args.cache)
        figures = measure(corpus, X, args.conversations, args.pairs)
        print(*table(name, figures), sep="\n", flush=True)
        names = "mix", "enrolled", "wrong"
        rows += [
            {"corpus": name, **dict(zip(names, key, strict=True)), "uar": round(uar, 2)}
            for key, uar in figures.items()
        ]
    args.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
