"""Would more threads, half precision or the compiler make training faster?

Threads: a fit in one thread, as the estimators run, and in two, on an idle machine and
beside another process that computes. Steps: one step of the plain net on a batch of 32,
in single precision, in bfloat16, and compiled.

    python benchmarks/alternatives.py [--output FILE]
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
from sklearn_ser import DSNetClassifier, SpeakerAdversarialClassifier
from sklearn_ser.nn import devices
from sklearn_ser.speaker_adversarial import SpeakerAdversarial

KINDS = {"log-mels": ("conv_lstm", 80, 300), "vectors": ("pointwise", 1024, 1)}
REPEATS = 5


def data(kind):
    """Random sequences with labels and speakers."""
    rng = np.random.default_rng(0)
    _, bands, frames = KINDS[kind]
    n = 512 if frames == 1 else 128
    lengths = rng.integers(frames // 2 + 1, frames + 1, n)
    X = [rng.standard_normal((bands, k)).astype(np.float32) for k in lengths]
    X = np.hstack(X).T if frames == 1 else X
    y = np.array(["neutral", "anger", "joy", "sadness"])[np.arange(n) % 4]
    return X, y, np.arange(n) // 4 % 6


@contextmanager
def company(wanted):
    """Another process that computes, with PyTorch's own number of threads."""
    if not wanted:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=busy, daemon=True)
    process.start()
    time.sleep(5)
    try:
        yield
    finally:
        process.kill()


def busy():
    """Multiply matrices for ever."""
    a = torch.randn(512, 512)
    while True:
        a @ a


def threads():
    """Seconds of a fit, by kind, method, company and number of threads."""
    rows, small = [], devices.SMALL
    makes = {
        "DSNet": DSNetClassifier,
        "plain net": lambda **o: SpeakerAdversarialClassifier(method=None, **o),
    }
    torch.set_num_threads(2)
    for beside in (False, True):
        with company(beside):
            for kind in KINDS:
                X, y, speakers = data(kind)
                for name, make in makes.items():
                    seconds = {1: [], 2: []}
                    for _ in range(REPEATS + 1):
                        for n in seconds:
                            devices.SMALL = small if n == 1 else 0
                            start = time.perf_counter()
                            make(max_epochs=2, random_state=0).fit(
                                X, y, speakers=speakers
                            )
                            seconds[n].append(time.perf_counter() - start)
                    one, two = (float(np.median(s[1:])) for s in seconds.values())
                    row = {"method": name, "on": kind, "beside another": beside}
                    rows.append(row | {"one": one, "two": two, "ratio": two / one})
                    print(*(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    devices.SMALL = small
    return rows


def step(module, x, lengths, y, half=False):
    """A training step."""
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)

    def run():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = module(x, lengths)["logits"]
        F.cross_entropy(logits.float(), y).backward()
        optimizer.step()

    return run


def steps():
    """CPU milliseconds of a step, by kind and by how it is computed."""
    rows = []
    torch.set_num_threads(1)
    for kind, (encoder, n_features, n_frames) in KINDS.items():
        x = torch.randn(32, n_features, n_frames)
        batch = x, torch.full((32,), n_frames), torch.arange(32) % 4

        def module(encoder=encoder, n_features=n_features):
            return SpeakerAdversarial(4, 0, encoder=encoder, n_features=n_features)

        start = time.perf_counter()
        compiled = step(torch.compile(module()), *batch)
        compiled()
        first = time.perf_counter() - start
        ways = {
            "single": step(module(), *batch),
            "bfloat16": step(module(), *batch, half=True),
            "compiled": compiled,
        }
        row = {"on": kind, "first compiled step, seconds": first}
        for name, run in ways.items():
            spent = []
            for _ in range(6 * REPEATS):
                start = time.process_time()
                run()
                spent.append(time.process_time() - start)
            row[name] = 1e3 * float(np.median(spent[REPEATS:]))
        rows.append(row)
        print(*(f"{k}={v}" for k, v in row.items()), flush=True)
    return rows


def main(argv=None):
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    default = Path(__file__).parent / "results" / "alternatives.json"
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args(argv)
    result = {
        "command": "python benchmarks/alternatives.py",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "torch", "skorch")},
        "cpu_count": os.cpu_count(),
        "threads": threads(),
        "steps": steps(),
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
