"""Download public archives, and unpack them safely."""

import os
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from .._validation import import_or_raise

MAX_UNPACKED = 16 * 2**30
"""Most bytes that an archive may unpack to."""

_TIMEOUT = 30  # seconds without a byte


def fetch(spec, home):
    """Download a corpus and unpack it to a folder of its name.

    Parameters
    ----------
    spec : CorpusSpec
        The corpus.
    home : Path
        The folder in which the corpus gets a folder.

    Raises
    ------
    ValueError
        If its licence asks for a form, if the checksum of its archive is not known or
        differs, or if the archive is not a zip archive of ordinary files.
    ConnectionError
        If the download broke off.
    ImportError
        If pooch is not installed.
    """
    archive, folder = spec.archive, home / spec.name
    by_hand = f"To get it: {spec.access or 'see its declaration'}."
    if archive is None:
        raise ValueError(f"{spec.name} cannot be downloaded without a form. {by_hand}")
    if archive.known_hash is None:
        raise ValueError(
            f"{spec.name} is not downloaded, because the checksum of its archive is "
            f"not known. {by_hand}"
        )
    if folder.exists():
        raise ValueError(
            f"'{folder}' exists without recordings of {spec.name}: remove it first."
        )
    pooch = import_or_raise("pooch", "datasets", "download=True needs")
    home.mkdir(parents=True, exist_ok=True)
    # A hidden folder, which load_corpus does not search. It is always deleted.
    with tempfile.TemporaryDirectory(dir=home, prefix=f".{spec.name}-") as work:
        try:
            path = pooch.retrieve(
                archive.url,
                archive.known_hash,
                fname="archive.zip",
                path=work,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT),
            )
        except OSError as error:
            raise ConnectionError(
                f"{spec.name} could not be downloaded from {archive.url}: {error}. "
                "No file was kept. Try again, or download it by hand: "
                f"{spec.access}."
            ) from error
        except ValueError as error:
            raise ValueError(
                f"The download from {archive.url} is not the archive of {spec.name}: "
                f"{error} No file was kept. {by_hand}"
            ) from error
        unpacked = Path(work, "unpacked")
        unpack(path, unpacked)
        os.replace(unpacked, folder)


def unpack(path, folder):
    """Unpack a zip archive into a new folder, and nowhere else.

    Parameters
    ----------
    path : str or path-like
        The archive.
    folder : str or path-like
        The new folder.

    Raises
    ------
    ValueError
        If it is not a zip archive, holds a link or a name that leads out of the folder,
        is damaged, or unpacks to more than `MAX_UNPACKED` bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                _check_member(member)
            if (size := sum(m.file_size for m in members)) > MAX_UNPACKED:
                raise ValueError(
                    f"The archive unpacks to {size} bytes, expected at most "
                    f"{MAX_UNPACKED}."
                )
            os.makedirs(folder, exist_ok=True)
            archive.extractall(folder)
    # RuntimeError: it is encrypted; OSError: a name that is a file and a folder.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"The archive cannot be unpacked: {error}.") from error


def _check_member(member):
    name = member.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if (
        not parts
        or ".." in parts
        or parts[0].startswith("/")
        or PureWindowsPath(name).drive
    ):
        raise ValueError(
            f"The archive holds {name!r}, which points outside of its folder."
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(
            f"The archive holds {name!r}, which is a link, expected only files."
        )
