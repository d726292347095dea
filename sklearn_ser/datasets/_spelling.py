"""Spellings of one name: letter case, Unicode forms, invisible characters, spaces."""

import unicodedata


def same_name(name, spaces=True):
    """Return a key that is equal for all spellings of a name.

    Parameters
    ----------
    name : str
        A name, such as a speaker's.
    spaces : bool, default=True
        If True, spaces make two names: "S 1" and "S1" may be two speakers.

    Returns
    -------
    key : str
        The same for names that differ in letter case only, in how accented letters are
        composed (NFC and NFD), or in characters without width.
    """
    hidden = ("Cf",) if spaces else ("Cf", "Zs")
    seen = "".join(c for c in name if unicodedata.category(c) not in hidden)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", seen).casefold())


def spell_alike(names, spaces=True):
    """Return one spelling for each name, and the unified spellings.

    Parameters
    ----------
    names : list of str
        Names, of which several may be spellings of one.
    spaces : bool, default=True
        If True, spaces make two names.

    Returns
    -------
    spelling : dict of str to str
        From each name to the first of its spellings.
    unified : list of list of str
        The spellings of each name that has several.
    """
    groups = {}
    for name in dict.fromkeys(names):
        groups.setdefault(same_name(name, spaces), []).append(name)
    spelling = {name: group[0] for group in groups.values() for name in group}
    return spelling, [group for group in groups.values() if len(group) > 1]
