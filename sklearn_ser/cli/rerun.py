"""The command behind a result: written down with it, and run again from it."""

import json
import os
import shlex

from .options import FEATURES, refuse, refuse_given

COMMAND = "command.json"
"""The file in which an evaluation's folder has its command, for ``--resume``."""

# What differs between machines: where files lie, and how many processes there may be.
_PLACES = ("manifest", "target", "features")
_OWN = ("command", "parser", "out", "resume", "rerun", "jobs", "data_home")


def settings_of(args, corpus, before):
    """Return the command and what tells its data from others, and what is to be said.

    `before` has the settings of the evaluation that is run again, or nothing.
    """
    from ..model_selection._resume import digest

    is_resumed = getattr(args, "resume", None) is not None
    settings = {"command": before["command"] if is_resumed else _command_of(args)}
    if not args.out and not before:
        return settings, []  # a digest reads all files
    columns = {"recordings": "data", "emotions": "target", "speakers": "speakers"}
    settings |= {name: digest(corpus[key]) for name, key in columns.items()}
    changed = [n for n in columns if before.get(n, settings[n]) != settings[n]]
    said = (
        f"{' and '.join(changed)} are not those of the evaluation that is run again, "
        "whose figures may differ for this reason alone."
    )
    return settings, [said] if changed else []


def _command_of(args):
    """Return the command that runs the evaluation again, without an absolute path."""
    words = [_name_of(args)]
    for action in args.parser._actions:
        value = getattr(args, action.dest, None)
        if action.dest in _OWN or value is None or value is False:
            continue
        values = [] if value is True else _listed(value)
        if action.dest in _PLACES and args.out is not None:
            values = [_portable(each, args.out) for each in values]
        option, values = action.option_strings[0], [*map(str, values)]
        is_like_option = len(values) == 1 and values[0].startswith("-")
        words += [f"{option}={values[0]}"] if is_like_option else [option, *values]
    return shlex.join(words)


def command_to_resume(args):
    """Return the command that goes on; it names what lies elsewhere than it says."""
    words = [_name_of(args), "--resume", args.out]
    for name in _PLACES:
        value = vars(args)[name]
        if value and os.path.exists(value):
            kept = os.path.join(args.out, _portable(value, args.out))
            words += [] if os.path.exists(kept) else [f"--{name}", value]
    return shlex.join(words)


def _name_of(args):
    return args.parser.prog.split()[-1]


def _listed(value):
    return value if isinstance(value, list) else [value]


def _portable(path, folder):
    """Return a path from a folder, or its name if either is not below this folder."""
    here = os.getcwd()
    paths = os.path.abspath(path), os.path.abspath(folder)
    if path in FEATURES or not os.path.exists(path):
        return path  # the name of features
    if os.path.dirname(here) != here and os.path.commonpath([here, *paths]) == here:
        return os.path.relpath(path, folder)
    return os.path.basename(paths[0])


def take_options(args):
    """Take the options of ``--resume`` or ``--from``, and return the settings there.

    Beside them only what differs between machines can be given, and with ``--from`` a
    folder. Without either, nothing changes, and there are no settings.
    """
    resume = getattr(args, "resume", None)
    if resume is None and args.rerun is None:
        return {}
    both = resume is not None and args.rerun is not None
    refuse(both, "--from", "goes on from another evaluation than --resume")
    option, shown = ("--from", args.rerun) if resume is None else ("--resume", resume)
    path = args.rerun if resume is None else os.path.join(resume, COMMAND)
    given = {
        name: value
        for name, value in vars(args).items()
        if value != args.parser.get_default(name) and name not in ("resume", "rerun")
    }
    open_to = {"jobs", "data_home", "audio", *_PLACES, *["out"] * (resume is None)}
    others = given.keys() - open_to
    refuse_given(
        args,
        others,
        f"{option} takes the options of the evaluation that it goes on with",
    )
    settings, known = _read(args, path, option, shown)
    for name in _PLACES:
        if name in given:
            _refuse_others(name, given[name], known[name], option)
        elif known.get(name) is not None:
            places = [_find(name, each, path, option) for each in _listed(known[name])]
            known[name] = places if isinstance(known[name], list) else places[0]
    if resume is None and args.out is None:
        known.pop("audio", None)  # nothing is written
    vars(args).update(known | given | {"resume": resume, "out": resume or args.out})
    return settings


def _read(args, path, option, shown):
    """Return the settings of an evaluation's file, and the options of its command."""
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
            f"argument {option}: no evaluation in '{shown}' ({why})"
        ) from error
    return settings, known


def _find(name, value, path, option):
    """Return where a table or features are: beside the file of a result, or known."""
    place = os.path.join(os.path.dirname(path), value)
    if value not in FEATURES and os.path.exists(place):
        return place
    refuse(
        name != "features",
        option,
        f"'{path}' names the table '{value}', which is not beside it: say where it is "
        f"by --{name}",
    )
    return value


def _refuse_others(name, given, known, option):
    """Refuse other data or features than those of the evaluation, in other places."""
    given, known = _listed(given), _listed(known)
    is_other = len(given) != len(known) or any(
        one != other and not {None, *FEATURES}.isdisjoint((one, other))
        for one, other in zip(given, known, strict=True)
    )
    had = "none" if known == [None] else " ".join(known)
    refuse(
        is_other,
        f"--{name}",
        f"says where a file is now, but the evaluation of {option} had {had}",
    )
