"""Processes that share a loopback of their own, as containers of one pod do, each in its image's read-only root."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.image_build import PRIVILEGED, Image
from tests.deploy.image_root import Mount, in_root, namespaces, with_environment

PATIENCE_SECONDS = 120

# A new network namespace has its loopback switched off: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING.
_HOLD = """
import fcntl, socket, struct, sys
with socket.socket() as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
print("up", flush=True)
sys.stdin.read()
"""

# It waits in there: another interpreter for each look would cost more than all that is looked at.
_FETCH = """
import sys, time, urllib.request
url, text, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
deadline = time.monotonic() + seconds
while text not in (page := urllib.request.urlopen(url, timeout=30).read().decode()) and time.monotonic() < deadline:
    time.sleep(0.2)
sys.stdout.write(page)
"""


class Container:
    """A process in an image's root."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        """The process itself; the one that was started only waits for it."""
        waiting = self._process.pid
        children = Path(f"/proc/{waiting}/task/{waiting}/children").read_text(encoding="ascii")
        return int(children)

    def wait_for_log(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.log():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            # Another process has no clock that a test could set.
            time.sleep(0.05)

    def stop(self, stop_signal: str) -> int:
        os.kill(self.pid, signal.Signals[stop_signal])
        return self.wait()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        return self._process.wait(timeout=seconds)

    def kill(self) -> None:
        # The process itself is the first of its namespace, so all that it started goes with it. To kill the one that
        # waits for it is not enough: who changes the user no longer hears of a parent's death.
        if self._process.poll() is None:
            waiting = self._process.pid
            for child in Path(f"/proc/{waiting}/task/{waiting}/children").read_text(encoding="ascii").split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
        self._process.kill()
        self.wait()


class Pod:
    def __init__(self, holder: int, folder: Path) -> None:
        self._folder = folder
        user = () if PRIVILEGED else ("--user", "--preserve-credentials")
        self._inside = [shutil.which("nsenter") or "nsenter", f"--target={holder}", "--net", *user]
        self._count = 0

    @contextmanager
    def running(  # noqa: PLR0913 - what differs from the image's own, by name
        self,
        image: Image,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        state: Path,
        user: str | None = None,
        mounts: Sequence[Mount] = (),
    ) -> Iterator[Container]:
        """Run a command in the image: its root read-only, the state folder in the place of its only volume.

        What else is mounted gets its place in the root first, as an engine makes it.
        """
        (volume,) = image.volumes
        settings = image.environment | dict(environment or {})
        whole = [*_unprivileged(user or image.user), *with_environment(settings, image.workdir, command)]
        for mount in mounts:
            place = image.root / mount.target.removeprefix("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if mount.source.is_dir():
                place.mkdir(exist_ok=True)
            else:
                place.touch()
        lines = in_root(image.root, whole, [Mount(state, volume, writable=True), *mounts], writable=False)
        begun = namespaces("mount", "pid", "fork", "kill-child")
        if not PRIVILEGED:
            # It has its user namespace already.
            begun = [word for word in begun if word not in {"--user", "--map-root-user"}]
        self._count += 1
        log = self._folder / f"container-{self._count}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self._inside, *begun, "/bin/sh", "-c", lines], cwd="/", stdout=output, stderr=subprocess.STDOUT
            )
        container = Container(process, log)
        try:
            yield container
        finally:
            container.kill()

    def run(self, image: Image, command: Sequence[str], *, state: Path, user: str | None = None) -> tuple[int, str]:
        """Run a command to its end; return its exit status and what it said."""
        with self.running(image, command, state=state, user=user) as container:
            return container.wait(), container.log()

    def fetch(self, url: str) -> str:
        return self._fetch(url, "")

    def wait_for_page(self, url: str, text: str) -> str:
        page = self._fetch(url, text)
        assert text in page, page[-2000:]
        return page

    def _fetch(self, url: str, awaited: str) -> str:
        done = subprocess.run(
            [*self._inside, sys.executable, "-c", _FETCH, url, awaited, str(PATIENCE_SECONDS)],
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def pod(folder: Path) -> Iterator[Pod]:
    with subprocess.Popen(
        [*namespaces("net"), sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        try:
            yield Pod(holder.pid, folder)
        finally:
            holder.kill()


def _unprivileged(user: str) -> list[str]:
    """Return what begins a command of a container without any rights: as Kubernetes' restricted policy has it."""
    user_id, _, group = user.partition(":")
    # In a namespace of somebody else's there is nobody but themselves to be.
    identity = (f"--reuid={user_id}", f"--regid={group}", "--clear-groups") if PRIVILEGED else ()
    return ["/usr/bin/setpriv", *identity, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
