"""`python -m tests.benchmarks` measures what running it costs and prints a table; `--write` puts it into the README."""

import argparse
import multiprocessing
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.benchmarks.benchmarks import BENCHMARKS, measured
from tests.benchmarks.measuring import ProcessorTime
from tests.benchmarks.table import Figure, figures_of, machine, row, table, write


def main() -> int:
    """Measure, and print the table; exit status 1 if a benchmark failed. What misses its limit is no failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put what was measured into the README's table, at once")
    parser.add_argument("--only", choices=BENCHMARKS, nargs="+", help="measure these; the README's other rows stay")
    options = parser.parse_args()
    names = [name for name in BENCHMARKS if options.only is None or name in options.only]
    found: dict[str, Sequence[Figure]] = {}
    failed = False
    for number, name in enumerate(names, 1):
        sys.stderr.write(f"[{number}/{len(names)}] {name} ...\n")
        began, spent = time.monotonic(), ProcessorTime.so_far()
        try:
            # In a process of its own: what one leaves in memory must not weigh on the next.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                found[name] = process.submit(measured, name).result()
        except Exception:  # noqa: BLE001 - the others can still be measured, and the exit status says it
            failed = True
            sys.stderr.write(f"{traceback.format_exc()}{name} failed; its rows stay as they were\n")
            continue
        rows = "".join(f"  {row(name, figure)}\n" for figure in found[name])
        stolen = ProcessorTime.so_far().stolen_since(spent)
        sys.stderr.write(f"{rows}  {time.monotonic() - began:.0f} s, {stolen:.1%} of processor time stolen\n")
        if options.write:
            shown = {**figures_of(), **found}
            write({each: shown[each] for each in BENCHMARKS if each in shown})
    sys.stdout.write(f"{machine()}\n\n{table(found)}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
