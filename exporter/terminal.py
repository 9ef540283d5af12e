"""What commands say to people and programs, and how they read what people say in the same way."""

import argparse
import os
import sys
from datetime import UTC, datetime

from exporter import logs


def print_text(text: str) -> None:
    """Write to standard output whatever letters it knows, and until somebody stops reading."""
    encoding = sys.stdout.encoding
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(reason: str) -> None:
    """Write to standard error why a command ends without having done what it should."""
    sys.stderr.write(f"openai-usage-exporter: {logs.redact(reason)}\n")


def tell_progress(progress: str) -> None:
    """Tell a person who watches what is under way, a line; a log has no use for it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{logs.redact(progress)}\n")


def utc_day(text: str) -> int:
    """Read a day given as a flag, such as 2026-11-01: its midnight in Unix seconds."""
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-11-01") from None
