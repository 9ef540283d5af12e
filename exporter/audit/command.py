"""The command `audit`: exit status 0 if nothing differs, 1 if something does, 2 if that cannot be said."""

import argparse
import os
from typing import Final

from exporter.configuration.durations import parse_duration
from exporter.terminal import complain, print_text, tell_progress, utc_day

NAME: Final = "audit"
SUMMARY: Final = "ask OpenAI for its totals and set them against the ledger, and a Prometheus if one is named"

DESCRIPTION: Final = """\
Sets what OpenAI says now against what the ledger holds, exactly, per API, UTC day and measure, and names every group of
rows that differs. The state is read, never touched, also while an exporter works on it. Compared are the days that an
exporter still reads again (its revision window); --since and --until name others, as far as the state still knows them.
OpenAI goes on while it is asked: what differs is looked at again, and is right once the ledger holds what OpenAI says,
or said earlier in the same audit.
"""
EPILOG: Final = """\
exit status: 0 no differences, 1 differences, 2 it cannot be said: the command line, the configuration, the key, the
state, the API or Prometheus is in the way.
"""

_EQUAL: Final = 0
_DIFFERENT: Final = 1
_CANNOT_SAY: Final = 2


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the command its own flags; configuration and state come from elsewhere."""
    command.description = DESCRIPTION
    command.epilog = EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "--since",
        type=utc_day,
        metavar="DAY",
        help="first UTC day, such as 2026-11-01 (default: the revision window's)",
    )
    command.add_argument("--until", type=utc_day, metavar="DAY", help="last UTC day, included (default: today)")
    command.add_argument(
        "--patience",
        type=_seconds,
        default=90.0,
        metavar="DURATION",
        help="how long a running exporter, and Prometheus, may take to catch up before a difference is one; the bill "
        "is polled every 15m, so 16m waits for it, too; 0s looks again once, at once (default: 90s)",
    )
    command.add_argument(
        "--prometheus.url",
        dest="prometheus_url",
        type=_url,
        metavar="URL",
        help="compare the newest samples of a Prometheus, too, with what this state and configuration show; a user and "
        "a password may stand in the URL",
    )
    command.add_argument(
        "--prometheus.selector",
        dest="prometheus_selector",
        default="",
        metavar="MATCHERS",
        help="which exporter's series, where it scrapes several, such as 'instance=\"host:10185\"'",
    )
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    """Audit, print what was found, and return the exit status."""
    # What other commands do not need.
    from exporter.audit.asking import AuditError  # noqa: PLC0415
    from exporter.audit.auditing import Outside, Wanted, audit  # noqa: PLC0415
    from exporter.audit.days import Span  # noqa: PLC0415
    from exporter.audit.report import render_json, render_text  # noqa: PLC0415
    from exporter.configuration.loading import load_configuration  # noqa: PLC0415

    if options.since is not None and options.until is not None and options.since > options.until:
        return _cannot("--since is after --until.")
    wanted = Wanted(
        options.storage_path,
        Span(options.since, options.until),
        options.patience,
        options.prometheus_url,
        options.prometheus_selector,
    )
    configuration = load_configuration(options.config_file)
    try:
        findings = audit(configuration, wanted, Outside(os.environ, tell_progress))
    except AuditError as error:
        return _cannot(str(error))
    except KeyboardInterrupt:
        # Whoever waits for the verdict must not take it for a good one.
        return _cannot("interrupted: nothing is said.")
    print_text(render_json(findings) if options.format == "json" else render_text(findings))
    if findings.count:
        return _DIFFERENT
    return _CANNOT_SAY if findings.problems or not findings.compared else _EQUAL


def _cannot(reason: str) -> int:
    complain(reason)
    return _CANNOT_SAY


def _seconds(text: str) -> float:
    if text in {"0", "0s"}:
        return 0.0
    try:
        return parse_duration(text).total_seconds()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def _url(text: str) -> str:
    from exporter.audit.in_prometheus import checked_url  # noqa: PLC0415 - only where there is one

    try:
        return checked_url(text)
    except ValueError as error:
        # Not the text itself: it may hold a password.
        raise argparse.ArgumentTypeError(str(error)) from None
