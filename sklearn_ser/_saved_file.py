"""The header of a saved model, read before any object is made."""

import json
from io import BytesIO
from zipfile import ZipFile

MAX_INFLATION = 20
"""Times its own size that a file may hold; `save` does not compress at all."""


def read_header(data):
    """Return the format and the versions that a saved model names.

    All is read as JSON, since this release may not know the types of a later format.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    written : int
        The number of its format.
    versions : dict of str to str
        By package.

    Raises
    ------
    Exception
        Of any kind, if the file is damaged, or would inflate to more than
        `MAX_INFLATION` times its size.
    """
    with ZipFile(BytesIO(data)) as archive:
        sizes = {part.filename: part.file_size for part in archive.infolist()}
        _refuse_size(sum(part.file_size for part in archive.infolist()), data)
        named = set()

        def note(state):
            if isinstance(name := state.get("file"), str):
                named.add((state.get("__id__") or f"{len(named)}", name))
            return state

        schema = json.loads(archive.read("schema.json"), object_hook=note)
    # skops reads a part anew for each object whose state names it.
    _refuse_size(sum(sizes.get(name, 0) for _, name in named), data)
    content = schema["content"]
    versions = content["versions"]["content"].items()
    return int(content["format"]["content"]), {
        name: str(json.loads(v["content"])) for name, v in versions
    }


def _refuse_size(size, data):
    if size > MAX_INFLATION * len(data) + 2**20:
        raise ValueError(
            f"it unpacks from {len(data)} to {size} bytes, expected at most "
            f"{MAX_INFLATION} times its size"
        )
