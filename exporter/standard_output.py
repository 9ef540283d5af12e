"""What a command prints for people and programs."""

import os
import sys


def print_text(text: str) -> None:
    """Write to standard output whatever letters it knows, and until somebody stops reading."""
    encoding = sys.stdout.encoding
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
