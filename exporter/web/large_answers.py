"""Large answers are sent by threads of their own, which wait for clients in the kernel, not for the interpreter."""

import asyncio
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager, suppress
from typing import Final

from exporter.web.plain_channel import Writer, reset_on_close, taken_bytes

LARGE_ANSWER_BYTES: Final = 1024 * 1024

_Work = tuple[futures.Future[None], Writer, Sequence[memoryview]]


class LargeAnswers:
    """The threads: as many as there ever were large answers at once.

    The event loop sends as much as the kernel holds, waits for the client, then for the interpreter, and so on. While a
    poll of 100,000 rows was applied, that waiting took longer than all else in a scrape of as many series.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()

    async def send(self, writer: Writer, pieces: Sequence[memoryview], *, patience: float) -> bool:
        """Send the pieces, none of them empty, while the transport's buffer is empty.

        Args:
            writer: of the client's connection.
            pieces: everything that is to be sent.
            patience: seconds in which the client must take something. Where the system does not tell what it takes,
                the caller's own bound for the whole answer is the only one.

        Returns:
            False if no thread can be had; then nothing was sent.

        Raises:
            OSError: the client is gone, or (TimeoutError) the patience is.
        """
        if self._under_way >= self._most:
            return False
        self._under_way += 1
        try:
            with _unread(writer.transport):
                if not self._has_idle_thread():
                    return False
                sending: futures.Future[None] = futures.Future()
                self._work.put((sending, writer, pieces))
                try:
                    await _end(sending, writer, patience)
                finally:
                    _cut_unless_done(sending, writer)
        finally:
            self._under_way -= 1
        sending.result()
        return True

    def close(self) -> None:
        """Let the threads end, which send nothing any longer."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _has_idle_thread(self) -> bool:
        if len(self._threads) >= self._under_way:
            return True
        thread = threading.Thread(target=_send_each, args=(self._work,), name="large-answer", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system gives this process no more of them.
            return False
        self._threads.append(thread)
        return True


@contextmanager
def _unread(transport: asyncio.Transport) -> Iterator[None]:
    """Let the event loop read nothing: on a socket that blocks, everybody would wait for a client's next byte."""
    was_read = transport.is_reading()
    transport.pause_reading()
    try:
        yield
    finally:
        if was_read:
            transport.resume_reading()


def _send_each(work: "queue.SimpleQueue[_Work | None]") -> None:
    while (next_one := work.get()) is not None:
        _send(*next_one)
        # It must not keep the page until there is another.
        del next_one


def _send(sending: futures.Future[None], writer: Writer, pieces: Sequence[memoryview]) -> None:
    try:
        writer.send(pieces)
    except BaseException as error:  # noqa: BLE001 - whatever it is goes to who waits for the end
        sending.set_exception(error)
    else:
        sending.set_result(None)
    finally:
        # The error's traceback holds this frame: together they would keep the page.
        del sending, writer, pieces


async def _end(sending: futures.Future[None], writer: Writer, patience: float) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    sending.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    connection = writer.transport.get_extra_info("socket")
    taken = taken_bytes(connection)
    while True:
        try:
            async with asyncio.timeout(patience):
                await ended.wait()
                return
        except TimeoutError:
            before, taken = taken, taken_bytes(connection)
            if before is not None and taken is not None and taken <= before:
                raise


def _cut_unless_done(sending: futures.Future[None], writer: Writer) -> None:
    """End a thread's waiting together with the connection it waits for."""
    if sending.done():
        return
    connection = writer.transport.get_extra_info("socket")
    reset_on_close(connection)
    # Where the client has gone the thread knows it already.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    futures.wait([sending])
