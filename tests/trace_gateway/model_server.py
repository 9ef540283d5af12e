"""A stand-in for OpenAI's API: chat, also as a stream, and embeddings, always with the same usage."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

CHAT_USAGE: Final = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
EMBEDDING_USAGE: Final = {"prompt_tokens": 8, "total_tokens": 8}
BROKEN: Final = "broken"
"""A model whose calls are all answered with 500."""


@contextmanager
def model_server() -> Iterator[str]:
    """Serve on the loopback interface; yields the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked["model"] == BROKEN:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": {"message": "secret"}})
        elif self.path.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
            self._answer(HTTPStatus.OK, _document(asked, "list", data=[vector], usage=EMBEDDING_USAGE))
        elif asked.get("stream"):
            self._stream(asked)
        else:
            message = {"role": "assistant", "content": "secret"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            self._answer(HTTPStatus.OK, _document(asked, "chat.completion", choices=[choice], usage=CHAT_USAGE))

    def _stream(self, asked: dict[str, Any]) -> None:
        delta = {"index": 0, "delta": {"role": "assistant", "content": "secret"}, "finish_reason": None}
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        pieces: list[dict[str, Any]] = [{"choices": [delta]}, {"choices": [end]}]
        if asked.get("stream_options", {}).get("include_usage"):
            pieces.append({"choices": [], "usage": CHAT_USAGE})
        lines = [json.dumps(_document(asked, "chat.completion.chunk", **piece)) for piece in pieces]
        self._send(HTTPStatus.OK, "text/event-stream", "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]))

    def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(document))

    def _send(self, status: HTTPStatus, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _document(asked: dict[str, Any], kind: str, **rest: object) -> dict[str, Any]:
    # The model that answers has a date, as OpenAI's have.
    return {"id": "answer-1", "object": kind, "created": 1_800_000_000, "model": f"{asked['model']}-2026-06-01", **rest}
