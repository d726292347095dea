"""Output to a reader that may stop early."""

import os
import sys


def say(line, more_is_wanted):
    """Print a line. The reader may stop while a file is still written."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        if not more_is_wanted:
            raise
        discard_output()


def discard_output():
    """Discard all further output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
