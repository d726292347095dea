"""Files that are there whole or not at all."""

import contextlib
import os
import uuid


@contextlib.contextmanager
def atomic_write(path):
    """Open a file that takes its place at ``path`` only if the block ends well.

    Parameters
    ----------
    path : str or PathLike

    Yields
    ------
    file : binary file
        Beside ``path``, under a name of its own.
    """
    path = os.fspath(path)
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
