"""Output to whoever reads it, until they have enough."""

import os
import sys


def say(line, more_is_wanted):
    """Print a line. A reader may have enough while a file is still wanted."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        if not more_is_wanted:
            raise
        discard_output()


def discard_output():
    """Let whatever is printed from here on go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
