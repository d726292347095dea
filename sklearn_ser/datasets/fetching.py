"""Downloads of public archives, which are known by their checksums."""

import os
import tempfile
import zipfile
import zlib
from pathlib import Path

from .._validation import import_or_raise

_TIMEOUT = 30  # seconds without a byte


def fetch(spec, home):
    """Download a corpus and unpack it to a folder of its name."""
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
        try:  # the names of files that lead elsewhere lose what leads there
            pooch.Unzip(extract_dir="unpacked")(path, "download", None)
            os.replace(Path(work, "unpacked"), folder)
        # RuntimeError: it is encrypted; OSError: a name that is a file and a folder.
        except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError) as e:
            raise ValueError(f"The archive cannot be unpacked: {e}.") from e
