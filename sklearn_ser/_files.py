"""Write files completely or not at all, and refuse devices and pipes."""

import contextlib
import os
import stat
import uuid


@contextlib.contextmanager
def atomic_write(path):
    """Open a file that replaces ``path`` only if the block ends without an error.

    A link stays, and the file that it leads to is replaced. An existing file keeps its
    mode. What is no regular file, such as a device or a pipe, is never replaced: it is
    opened and written, as any program does.

    Parameters
    ----------
    path : str or PathLike
        The file to write.

    Yields
    ------
    file : binary file
        A temporary file in the folder of ``path``, or the device or pipe itself.
    """
    path = os.fspath(path)
    try:
        mode = os.stat(path).st_mode  # of what a link leads to
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as file:
            yield file
        return
    folder, name = os.path.split(os.path.realpath(path))
    # A file system takes names of 255 bytes: what is added must not make it more.
    temporary = os.path.join(folder, f"{name[:50]}.{uuid.uuid4().hex}.tmp")
    private = None if mode is None else lambda *args: os.open(*args, mode=0o600)
    try:
        with open(temporary, "xb", opener=private) as file:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            yield file
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def check_regular(path):
    """Raise an OSError if a path is not a regular file, without opening it.

    Parameters
    ----------
    path : str or PathLike
        The file.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL in the name
        raise OSError(f"its name is not a valid file name ({error}).") from error
    if not stat.S_ISREG(mode):
        raise OSError("it is a folder, a device or a pipe, expected a regular file.")
