import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.http_server import serving_in_thread
from exporter.web.messages import Request, Response
from exporter.web.plain_channel import SLICE_BYTES, PlainChannel, beginning, rest
from tests.web.loopback import connected, read_to_the_end

# More chunks than go into one call of the system, many of them smaller than a slice and some larger.
CHUNKS = [bytes([65 + number % 26]) * (number * 37 % 9_000) for number in range(150)] + [b"large" * 30_000] * 3


@given(st.lists(st.binary(max_size=9), max_size=6), st.integers(0, 60))
def test_pieces_are_told_apart_at_any_byte(pieces: list[bytes], count: int) -> None:
    views = [memoryview(piece) for piece in pieces]
    whole = b"".join(pieces)
    assert beginning(views, count) == whole[:count]
    assert b"".join(rest(views, count)) == whole[count:]
    assert all(rest(views, count))


@pytest.mark.parametrize("receive_buffer", [None, 16 * 1024])
def test_an_answer_of_many_chunks_arrives_in_order_however_little_the_client_takes_at_once(
    receive_buffer: int | None,
) -> None:
    async def answer(_: Request) -> Response:
        return Response(200, CHUNKS)

    with serving_in_thread(answer) as address, connected(address, receive_buffer=receive_buffer) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = read_to_the_end(client)
    assert received.partition(b"\r\n\r\n")[2] == b"".join(CHUNKS)


def test_who_takes_nothing_costs_one_slice_beyond_what_its_kernel_holds() -> None:
    async def hand_over() -> tuple[int, int]:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)  # noqa: FBT003 - the standard library's own spelling
            _, writer = await asyncio.open_connection(sock=ours)
            channel = PlainChannel(ours, writer)
            page = [memoryview(b"x" * 50_000_000)]
            handed_over = channel.hand_over(page)
            held = channel.transport.get_write_buffer_size()
            writer.transport.abort()
            return handed_over, held

    handed_over, held = asyncio.run(hand_over())
    assert held == SLICE_BYTES < handed_over < 50_000_000
