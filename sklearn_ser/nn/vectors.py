"""A table of vectors, seen as sequences of one frame each, without copies."""

from collections.abc import Sequence

import numpy as np

# Rows that are summed at once, so that a table on disk is never in memory as a whole.
_CHUNK = 1 << 18  # cells


class Vectors(Sequence):
    """Rows of a table, each of which is a sequence (n_features, 1); all by default."""

    def __init__(self, table, rows=None):
        self.table = table
        self.rows = np.arange(len(table)) if rows is None else rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.table[self.rows[i]][:, None]

    @property
    def n_features(self):
        """Number of columns of the table."""
        return self.table.shape[1]

    def part(self, rows):
        """Return some of the rows, in this order."""
        return Vectors(self.table, self.rows[rows])

    def gather(self, rows):
        """Copy some of the rows to an array of shape (n_rows, n_features)."""
        return self.table[self.rows[rows]]

    def chunks(self):
        """Yield positions and values of some rows after the others."""
        n = max(1, _CHUNK // self.n_features)
        for start in range(0, len(self), n):
            rows = np.arange(start, min(start + n, len(self)))
            yield rows, self.gather(rows)


def take(sequences, rows):
    """Return some sequences of a list or of Vectors, in this order."""
    if isinstance(sequences, Vectors):
        return sequences.part(rows)
    return [sequences[row] for row in rows]
