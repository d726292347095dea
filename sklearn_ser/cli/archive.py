"""An archive: recordings in whole parts, each a file that is there or is not.

What stands in the files of a folder is finished. So a run that goes on needs no other
memory: it predicts the recordings that have no row yet, in further parts.
"""

import contextlib
import csv
import hashlib
import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor, CancelledError
from pathlib import Path

from .._csv import harmless, write_csv
from .._files import atomic_write
from .._validation import import_or_raise, shortened
from .options import add_options, check_needs, make_folder, refuse, refuse_given
from .terminal import print_line, print_note

FORMATS = ("csv", "parquet")
_OPTIONS = """
--out FOLDER
    write the windows to files in a folder, part by part, instead of the screen;
    recordings that fail are listed in failed.csv
--format
    of the files in --out; parquet needs pandas and pyarrow; default: csv
--resume
    predict only the recordings that have no row in --out yet
--jobs N
    processes, -1 for all cores; default: 1
--dask ADDRESS
    predict on the workers of a Dask scheduler, such as tcp://host:8786
"""
_SETTINGS, _FAILED = "archive.json", "failed.csv"
_ERRORS = ["file", "error"]
_PART = re.compile(r"part-(\d{6,})\.(csv|parquet)")
_LEFT = re.compile(r"(part-|failed\.csv\.|archive\.json\.).*\.tmp", re.DOTALL)
_BYTES = 2**25  # of files in a part: long recordings make small parts


def add_arguments(parser):
    """Add the options of an archive."""
    group = parser.add_argument_group("an archive")
    add_options(group, _OPTIONS, format={"choices": FORMATS}, jobs={"type": int})


def check_options(args):
    """Refuse options that do not fit together, and a folder that does not."""
    check_needs(args, "out", ("format", "resume", "jobs", "dask"))
    if args.out is None:
        return
    args.format = args.format or "csv"
    refuse_given(args, ["csv"], "--out writes tables already")
    refuse_given(args, ["timeline", "turns"], "is for a few recordings, not for --out")
    by_itself = args.enroll == "self"
    refuse(by_itself, "--enroll", "self needs all windows at once, not --out")
    refuse(args.paths == ["-"], "--out", "standard input is no archive")
    refuse(args.jobs == 0, "--jobs", "must not be 0")
    if args.dask is not None:
        refuse_given(args, ["jobs"], "the cluster of --dask has its own number")
    if args.format == "parquet":
        import_or_raise("pandas pyarrow", "datasets", "--format parquet needs")
    names = os.listdir(args.out) if os.path.isdir(args.out) else []
    is_begun = any(name == _SETTINGS or _PART.fullmatch(name) for name in names)
    refuse(
        is_begun and not args.resume,
        "--out",
        f"'{args.out}' holds predictions already: take another folder, or go on with "
        "--resume",
    )


def run(args, model, recordings, times):
    """Predict the recordings without rows, and return 1 if one of them failed.

    `recordings` are (name, file, speaker or None).
    """
    for name, file, _ in recordings:  # a file is what is finished or not
        is_part = isinstance(file, Mapping)
        refuse(is_part, "--out", f"takes whole recordings, found a part of '{name}'")
    known = {harmless(recording[0]): recording for recording in recordings}
    folder = _Folder(args.out, args.format, model.classes_)
    with _workers(args.dask):
        speakers = {k: r[2] and str(r[2]) for k, r in known.items()}
        done = folder.begin(_settings(args, times), speakers)
        missing = [
            (name, os.path.abspath(file), speaker)
            for key, (name, file, speaker) in known.items()
            if key not in done
        ]
        _predict(args, model, folder, missing, times, len(known))
    n_failed = len(folder.failed.keys() & known.keys())
    n_predicted = len(known) - n_failed
    print_line(f"Written to {args.out}: the windows of {n_predicted} recordings.")
    if n_failed:
        failed = os.path.join(args.out, _FAILED)
        print_note(
            f"{n_failed} of {len(known)} recordings were not predicted; see {failed}"
        )
    return int(n_failed > 0)


def _predict(args, model, folder, missing, times, total):
    """Write each part when it ends."""
    from tqdm.auto import tqdm

    from ..prediction import predict_parts

    parts = dict(enumerate(_parts(missing), folder.next_number()))
    n_jobs, n_done = -1 if args.dask else args.jobs, total - len(missing)
    bar = tqdm(total=total, initial=n_done, desc="predicting", unit="recording")
    try:
        with bar:
            for number, rows in predict_parts(model, parts.items(), *times, n_jobs):
                folder.write(number, rows)
                bar.update(len(parts[number]))
    except KeyboardInterrupt:
        print_note(f"what is finished is in {args.out}; --resume goes on with it")
        raise
    except (BrokenExecutor, CancelledError, ChildProcessError) as error:
        raise OSError(
            f"{error or type(error).__name__}; what is finished is in {args.out}; "
            "--resume goes on with it"
        ) from error


def _parts(recordings):
    """Yield lists of recordings, of 100 at most and of 32 MB together."""
    from ..prediction import PART

    part, size = [], 0
    for recording in recordings:
        with contextlib.suppress(OSError, ValueError):  # its row will say so
            size += os.path.getsize(recording[1])
        part.append(recording)
        if len(part) == PART or size >= _BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


@contextlib.contextmanager
def _workers(address):
    """Let joblib use the workers of a Dask scheduler, where an address is given."""
    if address is None:
        yield
        return
    import joblib

    distributed = import_or_raise("distributed", "dask", "--dask needs")
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"argument --dask: no scheduler at '{address}' ({error})"
        ) from error
    with client, joblib.parallel_config("dask"):
        yield


def _settings(args, times):
    """Return what the rows of all runs in a folder must share."""
    window, hop = times
    return {
        "model": _digest(args.model),
        "--enroll": _digest(args.enroll),
        "--window": window,
        "--hop": hop,
        "--format": args.format,
    }


def _digest(path):
    """Return the hash of a file; what is no file, such as a word, stands for itself."""
    if path is None or not os.path.isfile(path):
        return path
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Folder:
    """The files of an archive's folder: settings, parts, and what failed."""

    def __init__(self, path, kind, classes):
        from ..timeline.windows import column_names

        self.path, self.kind = Path(path), kind
        self.names, self.failed = column_names(classes), {}

    def begin(self, settings, speakers):
        """Return the names of the recordings that have rows, or have failed.

        Other settings than those of the rows are refused, and other speakers. What a
        killed run left is removed.
        """
        make_folder(self.path)
        for left in filter(_LEFT.fullmatch, os.listdir(self.path)):
            os.remove(self.path / left)
        done = set().union(*map(self._names_in, self._parts()))
        with contextlib.suppress(FileNotFoundError):
            rows = _read(self.path / _FAILED, _ERRORS)
            self.failed = {row[0]: row for row in rows}
        done |= self.failed.keys()
        path, before = self.path / _SETTINGS, {}
        if path.exists():
            with _naming_damage(path):
                before = dict.fromkeys(settings) | dict(json.loads(path.read_bytes()))
        kept = before | settings
        told = [
            f"{name} was {value!r}"
            for name, value in before.items()
            if kept[name] != value
        ]
        voices = kept.setdefault("speakers", {})
        told += [
            f"the speaker of '{name}' was {voices.get(name)!r}"
            for name in speakers
            if name in done and voices.get(name) != speakers[name]
        ]
        if told:
            raise ValueError(
                f"argument --resume: '{self.path}' was begun with other settings: "
                f"{shortened(', '.join(told))}"
            )
        kept["speakers"] = voices | {k: v for k, v in speakers.items() if v is not None}
        if kept != before:
            with atomic_write(path) as out:
                out.write(json.dumps(kept, indent=1).encode())
        return done

    def write(self, number, rows):
        """Write the rows of a part, completely or not at all."""
        failed = [(harmless(row[0]), row[4]) for row in rows if row[4] is not None]
        if failed:
            self.failed |= {row[0]: row for row in failed}
            write_csv(self.path / _FAILED, [_ERRORS, *self.failed.values()])
        rows = [(*row[:4], *row[5:]) for row in rows if row[4] is None]
        if not rows:
            return
        path = self.path / f"part-{number:06d}.{self.kind}"
        if self.kind == "csv":
            write_csv(path, [self.names, *rows])
            return
        from pandas import DataFrame

        with atomic_write(path) as out:
            DataFrame(rows, columns=self.names).to_parquet(out, index=False)

    def next_number(self):
        """Return the number of the part after the last one."""
        numbers = [int(_PART.fullmatch(path.name)[1]) for path in self._parts()]
        return max(numbers, default=-1) + 1

    def _parts(self):
        return [path for path in self.path.iterdir() if _PART.fullmatch(path.name)]

    def _names_in(self, path):
        if self.kind == "csv":
            return {row[0] for row in _read(path, self.names)}
        from pandas import read_parquet

        with _naming_damage(path):
            names = read_parquet(path, columns=["file"])["file"]
        return {harmless(name) for name in names}


def _read(path, names):
    with _naming_damage(path), open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
        if header != names or any(len(row) != len(names) for row in rows):
            raise ValueError(f"expected whole rows of {', '.join(names)}")
    return rows


@contextlib.contextmanager
def _naming_damage(path):
    """Say of a file that another program changed how the run can go on."""
    try:
        yield
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            f"'{path}' is damaged ({error}): delete it, and --resume goes on without it"
        ) from error
