"""Spellings of one name: letter case, Unicode forms and invisible characters."""

import unicodedata


def same_name(name):
    """Return what all spellings of a name have in common.

    Parameters
    ----------
    name : str
        A name, such as a speaker's.

    Returns
    -------
    key : str
        The same for names that differ in letter case only, in how accented letters are
        composed (NFC and NFD), or in characters without width.
    """
    seen = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", seen).casefold())


def spell_alike(names):
    """Return one spelling for each name, and which spellings became one.

    Parameters
    ----------
    names : list of str
        Names, of which several may be spellings of one.

    Returns
    -------
    spelling : dict of str to str
        From each name to the first of its spellings.
    unified : list of list of str
        The spellings of each name that has several.
    """
    groups = {}
    for name in dict.fromkeys(names):
        groups.setdefault(same_name(name), []).append(name)
    spelling = {name: group[0] for group in groups.values() for name in group}
    return spelling, [group for group in groups.values() if len(group) > 1]
