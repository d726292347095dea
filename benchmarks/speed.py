"""How fast are training and prediction, beside bare loops over the same network?

Training: the plain network (``method=None``) on the log-mels of a corpus, by the
estimator; by a plain torch loop over the same module, batches and recipe; and by a
stock skorch ``NeuralNetClassifier`` on recordings padded to the longest. Prediction:
one recording of 3 s from waveform to probabilities, by the pipeline, and by its
log-mel and forward pass alone; and 31 recordings of 3 s with one of 5 min, in one call
and in two. The estimator and the plain loop also train on random vectors. And
SpeakerNormalizer on 20,000 vectors of 512, beside a loop over sorted speakers. One
thread; repeats are interleaved, and medians reported. The corpus is
``$SKLEARN_SER_DATA/emodb4`` or, without it, the synthetic one.

    python benchmarks/speed.py [--epochs N] [--repeats N] [--output FILE]
"""

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from sklearn_ser import (
    LogMelTransformer,
    SpeakerAdversarialClassifier,
    SpeakerNormalizer,
)
from sklearn_ser.datasets import load_manifest, make_emotional_speech
from sklearn_ser.nn.batching import BatchIterator, SequenceDataset
from sklearn_ser.nn.layers import ClassNoise, Standardize
from sklearn_ser.sequences import frame_statistics

BATCH, LR, DECAY = 32, 3e-3, 1e-2


def corpus():
    """The recordings and emotions of emodb4, or synthetic ones, and which."""
    root = os.environ.get("SKLEARN_SER_DATA")
    if root and (table := Path(root, "emodb4", "metadata.csv")).exists():
        found = load_manifest(table)
        return found.data, found.target, "emodb4"
    found = make_emotional_speech(n_speakers=10, n_utterances=8, random_state=0)
    return found.data, found.target, "synthetic, 10 speakers, 8 utterances"


def estimator(epochs):
    return SpeakerAdversarialClassifier(
        temperature=None,  # which the bare ways do not have
        method=None,
        class_weight=None,
        max_epochs=epochs,
        batch_size=BATCH,
        lr=LR,
        weight_decay=DECAY,
        device="cpu",
        random_state=0,
    )


def fresh_module(fitted, sequences):
    """The fitted estimator's network anew, its random layers with a generator."""
    net = fitted.net_
    torch.manual_seed(0)
    module = net.module(**net.get_params_for("module"))
    for layer in module.modules():
        if isinstance(layer, Standardize):
            layer.set_statistics(*frame_statistics(sequences))
        elif isinstance(layer, ClassNoise):
            layer.set_residuals(torch.from_numpy(np.concatenate(sequences, axis=1).T))
        if hasattr(layer, "generator"):
            layer.generator = torch.Generator().manual_seed(0)
    return module


def plain_loop(fitted, sequences, y, epochs):
    """Train as the estimator does, with nothing around it."""
    module = fresh_module(fitted, sequences).train()
    dataset = SequenceDataset(sequences, {"y": y})
    batches = BatchIterator(dataset, BATCH, np.random.default_rng(0))
    loss_of = nn.CrossEntropyLoss(label_smoothing=fitted.label_smoothing)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=LR, weight_decay=DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LR, total_steps=epochs * len(batches.rows()) + 1
    )
    for _ in range(epochs):
        for batch, target in batches:
            optimizer.zero_grad()
            loss = loss_of(module(batch.x, batch.lengths)["logits"], target)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), fitted.gradient_clip_value)
            optimizer.step()
            schedule.step()
            loss.item()


class Padded(nn.Module):
    """The same network for a stock net: one array, every length the longest."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x, torch.full((len(x),), x.shape[-1]))["logits"]


def stock_skorch(fitted, sequences, y, epochs):
    """Train by skorch's defaults on what a user without masks would pass."""
    longest = max(x.shape[1] for x in sequences)
    X = np.stack([np.pad(x, ((0, 0), (0, longest - x.shape[1]))) for x in sequences])
    NeuralNetClassifier(
        Padded,
        module__module=fresh_module(fitted, sequences),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=DECAY,
        lr=LR,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        max_epochs=epochs,
        verbose=0,
    ).fit(X.astype(np.float32), y)


def bare_prediction(pipeline, wave):
    """Log-mel and forward pass, without checks and without an estimator."""
    mel, model = pipeline[0], pipeline[-1]
    module = model.net_.module_.eval()

    def predict():
        (x,) = mel.transform([wave])
        with torch.inference_mode():
            out = module(torch.from_numpy(x)[None], torch.tensor([x.shape[1]]))
            return out["logits"].double().softmax(1).numpy()

    return predict


def bare_normalisation(X, speakers):
    """Subtract the mean of each speaker of sorted vectors, and nothing else."""
    Z = np.empty_like(X)
    ends = np.flatnonzero(np.diff(speakers)) + 1
    for own, z in zip(np.split(X, ends), np.split(Z, ends), strict=True):
        z[:] = own - own.mean(axis=0, dtype=np.float64)
    return Z


def noise(rng, seconds):
    return rng.normal(size=seconds * 16000).astype(np.float32) / 10


def interleaved(functions, repeats):
    """Seconds of each function, one after the other, `repeats` times."""
    seconds = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def compared(seconds, base):
    """Median seconds of each, and its median ratio to `base` with quartiles."""
    return {
        name: {
            "seconds": float(np.median(values)),
            "ratio": float(np.median(np.divide(values, seconds[base]))),
            "quartiles": np.quantile(
                np.divide(values, seconds[base]), [0.25, 0.75]
            ).tolist(),
        }
        for name, values in seconds.items()
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    default = Path(__file__).parent / "results" / "speed.json"
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)

    recordings, target, origin = corpus()
    mel = LogMelTransformer()
    sequences = mel.transform(recordings)
    y = np.unique(target, return_inverse=True)[1]
    model = estimator(args.epochs)
    pipeline = make_pipeline(mel, model)
    model.fit(sequences, y)  # the first fit warms up
    training = interleaved(
        {
            "estimator": lambda: estimator(args.epochs).fit(sequences, y),
            "plain torch loop": lambda: plain_loop(model, sequences, y, args.epochs),
            "stock skorch, padded": lambda: stock_skorch(
                model, sequences, y, args.epochs
            ),
        },
        args.repeats,
    )
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(y), 1024)).astype(np.float32)
    columns = [v[:, None] for v in vectors]
    on_vectors = estimator(args.epochs).fit(vectors, y)
    training_on_vectors = interleaved(
        {
            "estimator": lambda: estimator(args.epochs).fit(vectors, y),
            "plain torch loop": lambda: plain_loop(on_vectors, columns, y, args.epochs),
        },
        2 * args.repeats,
    )
    wave = noise(rng, 3)
    bare = bare_prediction(pipeline, wave)
    np.testing.assert_allclose(pipeline.predict_proba([wave]), bare(), atol=1e-6)
    prediction = interleaved(
        {"pipeline": lambda: pipeline.predict_proba([wave]), "bare": bare},
        40 * args.repeats,
    )
    short, long = [noise(rng, 3) for _ in range(31)], [noise(rng, 300)]
    mixed = interleaved(
        {
            "one call": lambda: pipeline.predict_proba(short + long),
            "two calls": lambda: [pipeline.predict_proba(x) for x in (short, long)],
        },
        2 * args.repeats,
    )
    many = rng.normal(size=(20_000, 512)).astype(np.float32)
    names = np.sort(rng.integers(0, 200, len(many)))
    bare_means = bare_normalisation(many, names)
    found = SpeakerNormalizer(relevance_factor=0).fit_transform(many, speakers=names)
    np.testing.assert_allclose(found, bare_means, atol=1e-5)
    normalisation = interleaved(
        {
            "SpeakerNormalizer": lambda: SpeakerNormalizer().fit_transform(
                many, speakers=names
            ),
            "bare means": lambda: bare_normalisation(many, names),
        },
        2 * args.repeats,
    )
    result = {
        "command": " ".join(["python", "benchmarks/speed.py", *(argv or sys.argv[1:])]),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "skorch")},
        },
        "cpu_count": os.cpu_count(),
        "load_average_at_end": os.getloadavg(),
        "corpus": origin,
        "recordings": len(sequences),
        "frames": {
            "mean": float(np.mean([x.shape[1] for x in sequences])),
            "longest": max(x.shape[1] for x in sequences),
        },
        "epochs": args.epochs,
        "repeats": args.repeats,
        "training": compared(training, "plain torch loop"),
        "training on vectors": compared(training_on_vectors, "plain torch loop"),
        "prediction": compared(prediction, "bare"),
        "mixed lengths": compared(mixed, "two calls"),
        "normalisation": compared(normalisation, "bare means"),
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    for what in (
        "training",
        "training on vectors",
        "prediction",
        "mixed lengths",
        "normalisation",
    ):
        for name, row in result[what].items():
            print(f"{what:20} {name:22} {row['seconds']:8.4f} s {row['ratio']:6.2f}")


if __name__ == "__main__":
    main()
