"""Write files wholly or not at all."""

import contextlib
import os
import uuid


@contextlib.contextmanager
def atomic_write(path):
    """Open a file that replaces ``path`` only if the block ends without an error.

    Parameters
    ----------
    path : str or PathLike
        The file to write.

    Yields
    ------
    file : binary file
        A temporary file in the folder of ``path``.
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
