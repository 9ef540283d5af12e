"""A handler with a page for every way in which an answer can go."""

import asyncio
from collections.abc import AsyncIterator

from exporter.web.messages import Request, Response

BIG = b"x" * 20_000_000


class Pages:
    """`/held` answers when somebody has asked for `/release`."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        match request.path:
            case "/held":
                await self.release.wait()
            case "/release":
                self.release.set()
            case "/broken":
                raise ValueError("the secret reason")
        fixed = {
            "/big": Response(200, (BIG,)),
            "/bad-header": Response(200, headers={"X-Name": "one\r\nX-Forged: two"}),
            "/nothing": Response(204, content_type=None),
            "/streamed": Response(200, _streamed()),
            "/cut": Response(200, _cut()),
            "/failing-stream": Response(200, _failing()),
        }
        told = (request.method, request.path, request.query, request.body.decode(), request.headers.get("x-a", ""))
        return fixed.get(request.path, Response(200, ("|".join(told).encode(), b"\n")))


async def _streamed() -> AsyncIterator[bytes]:
    yield b"one,"
    yield b""
    yield b"two"


async def _cut() -> AsyncIterator[bytes]:
    yield b"half"
    raise ConnectionAbortedError


async def _failing() -> AsyncIterator[bytes]:
    yield b"half"
    raise ValueError("the secret reason")
