"""The command line: ``python -m sklearn_ser`` or ``sklearn-ser``."""

import argparse

from .. import __version__
from . import compare, evaluate, predict, train
from .terminal import (
    discard_output,
    in_one_line,
    in_rows,
    print_note,
    warnings_in_lines,
)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)  # --enrol is not --enrollable

    def error(self, message):
        """End in one line, without the usage."""
        if message.startswith("unrecognized") and message.lower().endswith(".csv"):
            message += ": a table is given by --manifest"
        self.exit(2, f"sklearn-ser: error: {in_one_line(message)}\n")


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        The arguments, without the program's name. By default, those of the process.

    Returns
    -------
    status : int
        0; 1 if a recording could not be predicted; 130 after an interrupt; 141
        if nobody reads the output any more.

    Raises
    ------
    SystemExit
        With code 2 and one line on stderr after an error of the user.

    Examples
    --------
    >>> from sklearn_ser.cli import main
    >>> main(["evaluate", "--folds", "2", "--epochs", "2"])  # doctest: +SKIP
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        with warnings_in_lines():
            return args.command(args) or 0
    except KeyboardInterrupt:
        print_note("interrupted")
        return 130
    except BrokenPipeError:
        discard_output()  # whoever read has enough, as head
        return 141  # as of a program that SIGPIPE ends
    except (ImportError, OSError, TypeError, ValueError) as error:
        notes = getattr(error, "__notes__", [])  # such as which fold it was
        texts = [in_rows(str(error)), *notes]
        return parser.error(". ".join(text.rstrip(".") for text in texts) + ".")


def make_parser():
    """Return the parser of the four commands, which the documentation reads too."""
    parser = _Parser(prog="sklearn-ser", description="Speech emotion recognition.")
    version = {"action": "version", "version": f"%(prog)s {__version__}"}
    parser.add_argument("--version", **version, help="print the version")
    commands = parser.add_subparsers(required=True, title="commands")
    for command in (evaluate, compare, train, predict):
        name = command.__name__.rpartition(".")[2]
        texts = {"help": command.HELP, "description": command.DESCRIPTION}
        command.add_arguments(commands.add_parser(name, **texts))
    return parser
