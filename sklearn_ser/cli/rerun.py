"""The command behind a result: written down with it, and run again from it."""

import json
import os
import shlex

from .options import LOG_MEL, OPENSMILE, refuse

# What differs between machines: where files lie, and how many processes there may be.
PLACES = ("manifest", "target", "features")
_WORDS = LOG_MEL, OPENSMILE  # features that lie nowhere
_OWN = ("command", "parser", "out", "resume", "rerun", "jobs", "data_home")


def add_argument(option, result, places):
    """Add the option ``--from``."""
    option(
        "--from",
        dest="rerun",
        metavar="RESULT",
        help=f"run the evaluation of a {result} again, with its own options; "
        f"{places} say where its files are now",
    )


def command_of(args):
    """Return the command that runs the evaluation again, without an absolute path."""
    words = [_name_of(args)]
    for action in args.parser._actions:
        value = getattr(args, action.dest, None)
        if action.dest in _OWN or value is None or value is False:
            continue
        values = value if isinstance(value, list) else [] if value is True else [value]
        if action.dest in PLACES and args.out is not None:
            values = [portable(each, args.out) for each in values]
        option, values = action.option_strings[0], [*map(str, values)]
        is_like_option = len(values) == 1 and values[0].startswith("-")
        words += [f"{option}={values[0]}"] if is_like_option else [option, *values]
    return shlex.join(words)


def _name_of(args):
    return args.parser.prog.split()[-1]


def portable(path, folder):
    """Return a path from a folder, or its name if either is not below this folder."""
    here = os.getcwd()
    paths = os.path.abspath(path), os.path.abspath(folder)
    if path in _WORDS or not os.path.exists(path):
        return path  # the name of features
    if os.path.dirname(here) != here and os.path.commonpath([here, *paths]) == here:
        return os.path.relpath(path, folder)
    return os.path.basename(paths[0])


def data_of(corpus):
    """Return what tells the recordings, the emotions and the speakers from others."""
    from ..model_selection._resume import digest

    columns = {"recordings": "data", "emotions": "target", "speakers": "speakers"}
    return {name: digest(corpus[key]) for name, key in columns.items()}


def told_changes(before, data):
    """Return a sentence on data that differ from those in an evaluation's settings."""
    changed = [name for name in data if before.get(name, data[name]) != data[name]]
    if not changed:
        return []
    return [
        f"{' and '.join(changed)} are not those of the evaluation that is run again, "
        "whose figures may differ for this reason alone."
    ]


def take_options(args, path, option, shown=None):
    """Take the options of the evaluation of a file, and return its settings.

    Beside them only what differs between machines can be given, and with ``--from`` a
    folder.
    """
    given = {
        name: value
        for name, value in vars(args).items()
        if value != args.parser.get_default(name) and name not in ("resume", "rerun")
    }
    open_to = {"jobs", "data_home", "audio", *PLACES, *["out"] * (option == "--from")}
    for name in given.keys() - open_to:
        refuse(
            True,
            f"--{name.replace('_', '-')}",
            f"{option} takes the options of the evaluation that it goes on with",
        )
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        if "results" in found:  # of a comparison: each result has its command
            (first, *_), *_ = found["results"].values()
            found = first["result"]
        settings = found["settings"]
        if not isinstance(settings["command"], str):
            raise LookupError
        name, *words = shlex.split(settings["command"])
        if name != _name_of(args):
            raise ValueError(f"it is of the command {name}")
        known = vars(args.parser.parse_args(words))
        if any(known.get(name) is not None for name in ("out", "resume", "rerun")):
            raise ValueError("its command takes the options of another one")
    except (OSError, ValueError, TypeError, LookupError) as error:
        lacks = isinstance(error, LookupError)
        why = "it does not name the command that wrote it" if lacks else error
        raise ValueError(
            f"argument {option}: no evaluation in '{shown or path}' ({why})"
        ) from error
    for name in PLACES:
        if name in given:
            _refuse_others(name, given[name], known[name], option)
        if name in given or known.get(name) is None:
            continue
        is_list = isinstance(known[name], list)
        values = known[name] if is_list else [known[name]]
        places = [os.path.join(os.path.dirname(path), value) for value in values]
        are_there = [
            value not in _WORDS and os.path.exists(place)
            for value, place in zip(values, places, strict=True)
        ]
        refuse(
            name != "features" and not all(are_there),
            option,
            f"'{path}' names the table '{known[name]}', which is not beside it: say "
            f"where it is by --{name}",
        )
        values = [
            place if is_there else value
            for value, place, is_there in zip(values, places, are_there, strict=True)
        ]
        known[name] = values if is_list else values[0]
    kept = {name: getattr(args, name, None) for name in ("resume", "out")}
    vars(args).update(known | given | kept)
    return settings


def _refuse_others(name, given, known, option):
    """Refuse other data or features than those of the evaluation, in other places."""
    pairs = [each if isinstance(each, list) else [each] for each in (given, known)]
    is_other = len(pairs[0]) != len(pairs[1]) or any(
        one != other and not {None, *_WORDS}.isdisjoint((one, other))
        for one, other in zip(*pairs, strict=True)
    )
    had = "none" if known is None else " ".join(pairs[1])
    refuse(
        is_other,
        f"--{name}",
        f"says where a file is now, but the evaluation of {option} had {had}",
    )
