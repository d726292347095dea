"""Rows on disk: appended one by one, torn by nothing, never written twice.

Git ignores them. What stays is the summary that `condense` makes of them.
"""

import fcntl
import json
import os
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "rows.jsonl"
# Equal in these, two rows are the same experiment.
KEY = (
    "corpus",
    "method",
    "seed",
    "fold",
    "params",
    "split_hash",
    "manifest_hash",
    "audio_hash",
    "weights_hash",  # of a speech model's features only
)
_ADVERSARY = {"adversary_weight", "adversary_lr", "alternate"}


def deciding(params):
    """Return the parameters of a row as what decides its result.

    Left out are the adversary's settings of a net without one, and the noise of vectors
    on spectrograms. ``encoder="auto"`` becomes what it takes.
    """
    params = dict(params)
    if params.get("encoder") == "auto":
        params["encoder"] = _encoder(params)
    if params.get("features__kind") == "log_mel":
        params.pop("feature_noise", None)
    if params.get("method", "any") is None:
        params = {k: v for k, v in params.items() if k not in _ADVERSARY}
    return params


def _encoder(params):
    """Return what "auto" takes; in doubt "auto"."""
    kind = params.get("features__kind")
    if kind == "log_mel":
        return "conv" if "alignment" in params else "conv_lstm"
    if params.get("features__pooling"):
        return "pointwise"
    return "statistics" if kind == "speech_model" else "auto"


def key(row):
    """Return what tells one experiment from another."""
    row = row | {"params": deciding(row["params"])}
    return json.dumps([row.get(name) for name in KEY], sort_keys=True)


def read(path=RESULTS):
    """Return the rows of a file; what an interruption tore at its end is left out."""
    path = Path(path)
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    found = [json.loads(line) for line in whole.splitlines()]
    return [row | {"params": deciding(row["params"])} for row in found]


class RowFile:
    """A file of rows that this process alone appends to.

    Parameters
    ----------
    path : str or path-like

    Raises
    ------
    ValueError
        If another process has it.
    """

    def __init__(self, path=RESULTS):
        self.path = Path(path)

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "r+b" if self.path.exists() else "x+b")
        try:
            # A lock that forked processes do not hold on to when this one is killed.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ValueError(f"Another run writes to {self.path}.") from None
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        self._file.seek(len(whole))
        self._done = {key(json.loads(line)) for line in whole.splitlines()}
        return self

    def __exit__(self, *error):
        self._file.close()

    def __contains__(self, row):
        return key(row) in self._done

    def append(self, row):
        """Write a row through to the disk, unless it is there."""
        if row in self:
            return
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._done.add(key(row))
