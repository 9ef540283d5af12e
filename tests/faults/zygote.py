"""A process that has loaded the exporter and forks a child for each of its lives: a life then costs no start of Python.

Run as `python -m tests.faults.zygote <file of the shared time>`. It reads requests as JSON, a line each, and answers in
the same way. Each child runs the real command, by a clock that the test sets. Its log goes where the zygote's goes.
With further arguments it forks nobody, and runs the command with them itself.
"""

import gc
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

from tests.faults.shared_time import SharedTime

READY = "ready"
HOLD = "hold"
"""In the place of a command: the child takes the lock of the state in the folder that follows, and keeps it."""
HELD = "held: the lock"
SHRINK = "shrink"
"""The same, but the child empties the log of the state, so that the next commit needs room."""

_NAP_SECONDS = 0.02


def live_by(shared: SharedTime) -> None:
    """Load the exporter, let it live by the shared time, and let it wait as little as a test wants to."""
    # Before anything of the exporter is loaded: it takes its clock from here.
    time.time = shared.now
    import tenacity  # noqa: PLC0415 - as said above

    from exporter.openai_api import connection  # noqa: PLC0415 - the same
    from exporter.polling import poller  # noqa: PLC0415 - the same
    from exporter.service import Service  # noqa: PLC0415 - the same

    defaults = Service.__init__.__kwdefaults__
    if defaults is None:
        raise RuntimeError("the service takes its clocks in another way now")
    defaults.update(clock=shared.now, steady=shared.steady)
    # Constants that bound waits; what happens between them is what happens always.
    vars(poller)["_LONGEST_NAP_SECONDS"] = _NAP_SECONDS
    vars(connection)["_BACKOFF"] = tenacity.wait_random(0, _NAP_SECONDS)


def load_everything() -> None:
    """Load what a life would load by itself, the audit's parts and the price list too."""
    from exporter import command_line  # noqa: PLC0415 - after the clock
    from exporter.audit import auditing, report  # noqa: PLC0415 - the same
    from exporter.pricing.list_prices import load_list_prices  # noqa: PLC0415 - the same

    assert callable(command_line.main)
    assert callable(auditing.audit)
    assert callable(report.render_text)
    load_list_prices()
    # What is there stays: no child copies it only to look whether it is garbage.
    gc.collect()
    gc.freeze()


def main() -> None:
    live_by(SharedTime(Path(sys.argv[1])))
    if sys.argv[2:]:
        from exporter import command_line  # noqa: PLC0415 - after the clock

        sys.exit(command_line.main(sys.argv[2:]))
    load_everything()
    answer(READY)
    children: set[int] = set()
    try:
        serve(children)
    finally:
        # The test may have been killed: nobody is left who would end them.
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def serve(children: set[int]) -> None:
    """Do what is asked until the test's end closes the pipe."""
    for line in sys.stdin:
        match json.loads(line):
            case {"start": list(arguments), "output": output}:
                pid = fork(arguments, output)
                children.add(pid)
                answer(pid)
            case {"end_of": int(pid)}:
                status = os.waitpid(pid, 0)[1]
                children.discard(pid)
                answer(os.waitstatus_to_exitcode(status))
            case {"has_ended": int(pid)}:
                ended, status = os.waitpid(pid, os.WNOHANG)
                children.discard(ended)
                answer(os.waitstatus_to_exitcode(status) if ended else None)


def answer(content: object) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201 - how the test hears of it


def fork(arguments: list[str], output: str) -> int:
    """Return the pid of a child that runs the command; what it prints goes to the file `output`."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        from exporter.command_line import main as run  # noqa: PLC0415 - loaded long ago

        instead = {HOLD: hold, SHRINK: shrink}.get(arguments[0])
        status = run(arguments) if instead is None else instead(arguments[1])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 71
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Nothing of the zygote's is the child's to clean up.
        os._exit(status)


def hold(state: str) -> int:
    """Take the database's lock, say so, and keep it until killed."""
    connection = opened(state)
    connection.execute("BEGIN IMMEDIATE")
    print(HELD, file=sys.stderr, flush=True)  # noqa: T201 - how the test hears of it
    signal.pause()
    return 0


def shrink(state: str) -> int:
    """Return 0 once the log is empty."""
    connection = opened(state)
    [(is_busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return int(is_busy)


def opened(state: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{state}/ledger.sqlite3", timeout=60, isolation_level=None)


if __name__ == "__main__":
    main()
