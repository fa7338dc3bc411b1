"""A language model's server on loopback: real HTTP, scripted answers, both APIs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the server does with one request. ``text`` is wrapped in the API's own envelope unless ``body`` is given."""

    text: str = ""
    status: int = 200
    stop: str = ""
    body: bytes | None = None
    hangs: bool = False
    refusal: str | None = None


def broken(status: int, message: str = "no") -> Answer:
    error = {"type": "error", "error": {"type": "scripted", "message": message}}
    return Answer(status=status, body=json.dumps(error).encode())


@dataclass
class Recorded:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Loopback:
    """Serves ``script`` in order, then its last answer again and again. Use as a context manager."""

    script: list[Answer]
    requests: list[Recorded] = field(default_factory=list)

    def __init__(self, script: Iterable[Answer]) -> None:
        self.script = list(script)
        self.requests = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def release(self) -> None:
        """Let every hanging request go on to its answer."""
        self._released.set()

    def _next(self, request: Recorded) -> Answer:
        with self._lock:
            self.requests.append(request)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = loopback._next(Recorded(self.path, headers, json.loads(content)))
                if answer.hangs:
                    loopback._released.wait(30)
                body = answer.body if answer.body is not None else self._wrapped(answer)
                try:
                    self._send(answer.status, body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def _wrapped(self, answer: Answer) -> bytes:
                wrap = _anthropic if self.path.endswith("/messages") else _openai
                return json.dumps(wrap(answer)).encode()

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                # The SDKs' own waits between attempts are seconds; this header is how a server shortens them.
                self.send_header("Retry-After-Ms", "5")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _anthropic(answer: Answer) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [{"type": "text", "text": answer.text}] if answer.text else [],
        "stop_reason": answer.stop or ("refusal" if answer.refusal else "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 200},
    }


def _openai(answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": answer.stop or "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
    }
