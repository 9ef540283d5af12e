"""The command `backfill`: exit status 0 if all is there, 1 if not."""

import argparse
import os
import re
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.terminal import complain, print_text, tell_progress, utc_day

NAME: Final = "backfill"
SUMMARY: Final = "write every counter's past for Prometheus, and the state that the exporter goes on from"

DESCRIPTION: Final = """\
Asks OpenAI for the days from --since to --until and writes what Prometheus would hold of the counters, had the exporter
run all the time: OpenMetrics with timestamps, at each UTC midnight, and for usage at each hour with growth. It leaves a
state in --storage.path whose counters go on where the samples end. Run it before the first start of `serve`.
A backfill that was cut off goes on where it was when the same command is run again.
"""
EPILOG: Final = """\
Then load the file, let Prometheus keep it long enough (--storage.tsdb.retention.time), and start `serve` on the state:
  promtool tsdb create-blocks-from --max-block-duration=744h openmetrics history.om ./blocks
  mv ./blocks/* PROMETHEUS_DATA_FOLDER/
exit status: 0 history and state are there, 1 they are not, or not wholly, 2 the command line, the configuration or the
key is wrong.
"""

_DONE: Final = 0
_FAILED: Final = 1
_WRONG: Final = 2

_LABEL: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"\s*')
_ESCAPE: Final = re.compile(r'\\(["\\n])')


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the command its own flags; configuration and state come from elsewhere."""
    command.description = DESCRIPTION
    command.epilog = EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "--since",
        type=utc_day,
        metavar="DAY",
        required=True,
        help="first UTC day, such as 2026-01-01; OpenAI holds about a year",
    )
    command.add_argument(
        "--until",
        type=utc_day,
        metavar="DAY",
        help="last UTC day, included, which must be over (default: yesterday)",
    )
    command.add_argument("--output", type=_file, metavar="FILE", required=True, help="such as history.om")
    command.add_argument(
        "--prometheus.labels",
        dest="target",
        type=_labels,
        default=(),
        metavar="LABELS",
        help="the labels that Prometheus adds to what it scrapes from the exporter, without which the past is another "
        'series than the present, such as \'job="openai",instance="localhost:10185"\'',
    )


def run(options: argparse.Namespace) -> int:
    """Make the history, say what to do with it, and return the exit status."""
    # What other commands do not need.
    from exporter.backfill.backfilling import Outside, Wanted, backfill  # noqa: PLC0415
    from exporter.backfill.samples import SampleError  # noqa: PLC0415
    from exporter.backfill.workshop import BackfillError  # noqa: PLC0415
    from exporter.configuration.loading import load_configuration  # noqa: PLC0415

    today = day_of(time.time())
    end = today if options.until is None else options.until + SECONDS_PER_DAY
    if end > today:
        return _fail("--until: that day is not over yet (UTC); the exporter counts it live.", _WRONG)
    if options.since >= end:
        return _fail("--since is after --until.", _WRONG)
    wanted = Wanted(
        options.storage_path, options.output, options.since, end, options.target, ends_yesterday=options.until is None
    )
    configuration = load_configuration(options.config_file)
    # As Ctrl-C does: what is under way ends, and the next run goes on from there.
    for number in (signal.SIGTERM, signal.SIGHUP):
        # `nohup` has a reason to have it ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        made = backfill(configuration, wanted, Outside(os.environ, tell_progress))
    except (BackfillError, SampleError) as error:
        return _fail(str(error), _FAILED)
    except KeyboardInterrupt:
        # Whoever waits for the history must not take it for made.
        return _fail("interrupted: run the same command again, it goes on where it was.", _FAILED)
    print_text(
        f"{options.output}: {_day_text(made.first)} to {_day_text(made.end - 1)}, {made.series} counters.\n"
        f"{options.storage_path}: the state to start `serve` on.\n"
        "Load the samples before Prometheus scrapes the exporter for the first time, or soon after:\n"
        f"  promtool tsdb create-blocks-from --max-block-duration=744h openmetrics {options.output} ./blocks\n"
        "  mv ./blocks/* PROMETHEUS_DATA_FOLDER/\n"
    )
    if not options.target:
        sys.stderr.write(
            "note: without --prometheus.labels these are other series than those that Prometheus scrapes: sums over "
            "both are right, but nothing joins them at the seam.\n"
        )
    return _DONE


def _fail(reason: str, status: int) -> int:
    complain(reason)
    return status


def _file(text: str) -> Path:
    path = Path(text)
    if not path.name:
        raise argparse.ArgumentTypeError(f"{text!r} is no file such as history.om")
    return path


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    labels: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = _LABEL.match(text, position)
        if found is None or found[1] in labels:
            raise argparse.ArgumentTypeError(f'{text!r} are no labels such as job="openai",instance="localhost:10185"')
        labels[found[1]] = _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], found[2])
        position = found.end()
        if position < len(text):
            if text[position] != ",":
                raise argparse.ArgumentTypeError(f"{text!r}: a comma is missing after {found[0].strip()}")
            position += 1
    _refuse_own_labels(labels)
    return tuple(labels.items())


def _refuse_own_labels(labels: dict[str, str]) -> None:
    from exporter.metrics import catalogue  # noqa: PLC0415 - only where there are any

    gauges = (catalogue.COST_DAY, catalogue.COST_MONTH, catalogue.PROJECT_INFO, catalogue.WORKFLOW_INFO)
    families = (*catalogue.USAGE_COUNTERS, catalogue.COST, *gauges, catalogue.LINE_ITEM_INFO)
    own = {label for family in families for label in family.labels}
    own |= {name for _, names in catalogue.OPT_IN_LABELS.values() for name in names}
    taken = sorted(own & labels.keys())
    if taken:
        raise argparse.ArgumentTypeError(f"{', '.join(taken)}: the exporter's own labels")
    inner = [name for name in labels if name.startswith("__")]
    if inner:
        raise argparse.ArgumentTypeError(f"{', '.join(inner)}: Prometheus keeps no labels that begin with __")


def _day_text(day: int) -> str:
    return f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}"
