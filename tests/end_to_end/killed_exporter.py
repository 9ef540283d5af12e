"""An exporter that is killed, by SIGKILL, in the middle of a commit: everything is written, COMMIT has not run."""

import os
import signal
import sys
from pathlib import Path

from exporter.simulator.clock import SettableClock
from tests.end_to_end.simulated_days import CONFIGURATION, start_exporter

COMMITS_THAT_SUCCEED = 3


def main() -> None:
    base_url, key, state, now = sys.argv[1:]
    begun = 0

    def kill_in_the_fourth_commit(statement: str) -> None:
        nonlocal begun
        begun += statement == "COMMIT"
        if begun > COMMITS_THAT_SUCCEED:
            os.write(1, b"half written\n")
            os.kill(os.getpid(), signal.SIGKILL)

    exporter = start_exporter(base_url, key, Path(state), SettableClock(float(now)), CONFIGURATION)
    exporter.store._connection.set_trace_callback(kill_in_the_fourth_commit)
    exporter.poller.poll_due()


if __name__ == "__main__":
    main()
