"""Odd and hostile inputs by the million, in a process that may crash or hang.

    python benchmarks/fuzz.py --inputs 1000000 --seed 0 --output FILE

An input that ends in neither a sound result nor one clear error is a fault. It is
listed with its family, seed and number, by which it is tried again:

    python benchmarks/fuzz.py --seed 0 --again "audio files" 123
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
CHUNK = 2000  # inputs that one order to the worker names
PATIENCE = 300  # seconds for one input, beyond which it hangs
MEMORY = 8 * 2**30  # bytes of address space of the worker, libraries included


def worker(pipe, position, seed, folder):
    """Try the inputs that come in as (family, numbers); send what came of them."""
    sys.path.insert(0, str(TESTS))
    import torch
    from fuzzing import Fault, attempt

    torch.set_num_threads(1)
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while (order := pipe.recv()) is not None:
        name, numbers = order
        counts, faults = Counter(), {}
        for number in numbers:
            position.value = number
            try:
                counts[attempt(name, seed, number, folder)] += 1
            except Fault as fault:
                faults[number] = str(fault)
        pipe.send((counts, faults))


class Worker:
    """A process that is replaced when it crashes or hangs."""

    def __init__(self, seed, folder):
        self.context = multiprocessing.get_context("spawn")
        self.seed, self.folder = seed, folder
        self.start()

    def start(self):
        self.pipe, other = self.context.Pipe()
        self.position = self.context.Value("q", -1, lock=False)
        arguments = other, self.position, self.seed, self.folder
        self.process = self.context.Process(target=worker, args=arguments, daemon=True)
        self.process.start()
        other.close()

    def run(self, name, numbers):
        """Return the counts of outcomes, and the faults, of some inputs."""
        faults, numbers = {}, list(numbers)
        while True:
            self.pipe.send((name, numbers))
            what = self.wait()
            if what is None:
                counts, found = self.pipe.recv()
                return counts, faults | found
            bad = self.position.value
            faults[bad] = what
            numbers.remove(bad)  # the others are tried again
            self.process.kill()
            self.process.join()
            self.start()

    def wait(self):
        """Return None when a result is there, or what became of the process."""
        before, since = None, time.monotonic()
        while not self.pipe.poll(0.5):
            if not self.process.is_alive():
                return f"crash: the process ended with {self.process.exitcode}"
            if self.position.value != before:
                before, since = self.position.value, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                return f"hang: no end after {PATIENCE} s"
        return None if self.process.is_alive() else "crash: the process ended"


def run(n_inputs, seed):
    """Try so many inputs; return the report."""
    from fuzzing import FAMILIES

    report = {}
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        work = Worker(seed, folder)
        for name, family in FAMILIES.items():
            total, faults = Counter(), {}
            n, begin = round(family.share * n_inputs), time.perf_counter()
            for start in range(0, n, CHUNK):
                numbers = range(start, min(start + CHUNK, n))
                counts, found = work.run(name, numbers)
                total += counts
                faults |= found
                print(f"{name}: {start + len(numbers)} of {n}", file=sys.stderr)
            report[name] = {
                "inputs": n,
                "clean": total.pop("clean", 0),
                "errors": dict(sorted(total.items())),
                "faults": {str(k): v for k, v in faults.items()},
                "seconds": round(time.perf_counter() - begin),
            }
        work.pipe.send(None)
        work.process.join()
    return {
        "command": f"python benchmarks/fuzz.py --inputs {n_inputs} --seed {seed}",
        "limits": {"seconds": PATIENCE, "bytes": MEMORY},
        "python": platform.python_version(),
        "versions": {n: version(n) for n in ("numpy", "scikit-learn", "soundfile")},
        "families": report,
        "total": {
            "inputs": sum(part["inputs"] for part in report.values()),
            "clean": sum(part["clean"] for part in report.values()),
            "errors": sum(sum(p["errors"].values()) for p in report.values()),
            "faults": sum(len(part["faults"]) for part in report.values()),
        },
    }


def memory_folder():
    """Return a folder in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--again", nargs=2, metavar=("FAMILY", "NUMBER"))
    args = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    if args.again:
        from fuzzing import attempt

        name, number = args.again
        with tempfile.TemporaryDirectory() as folder:
            print(attempt(name, args.seed, int(number), folder))
        return 0
    report = run(args.inputs, args.seed)
    text = json.dumps(report, indent=1) + "\n"
    if args.output is None:
        print(text, end="")
    else:
        args.output.write_text(text)
    return int(report["total"]["faults"] > 0)


if __name__ == "__main__":
    sys.exit(main())
