"""
HTTP/1.1 with keep-alive and a graceful end, from the standard library only.

Each Python service of the shop has its own copy: services share words on the wire, not code.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import socketserver
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

BIGGEST_BODY = 64 * 1024
stopping = threading.Event()


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    id: str


@dataclass(frozen=True)
class Response:
    """`body` is bytes, or an iterator of bytes for a stream, which has to end when `stopping` is set."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


App = Callable[[Request], Response]


def serve(app: App) -> None:
    """Serve on $HOST:$PORT until SIGTERM: then accept nothing new, finish what is open, close what is idle."""
    server = _Server((os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8000"))), app)
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the loop that this handler interrupts, so it needs a thread of its own
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print("listening on {}:{}".format(*server.server_address[:2]), flush=True)
    server.serve_forever(poll_interval=0.05)
    server.finish()
    print("ended", flush=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], app: App) -> None:
        self.app = app
        self.lock = threading.Lock()
        self.idle: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the resolver for this host's name: slow

    def finish(self) -> None:
        with self.lock:
            stopping.set()
            for connection in self.idle:
                _no_more(connection)
        while select.select([self], [], [], 0)[0]:
            self.handle_request()  # who had connected before is served
        self.server_close()  # closes the listener and waits for the threads


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    wbufsize = -1  # one packet for head and body
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._rest()

    def handle(self) -> None:
        with suppress(ConnectionError):  # the other side has gone: nobody to tell
            super().handle()

    def finish(self) -> None:
        with self.server.lock:
            self.server.idle.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def _rest(self) -> None:
        """Between two requests: from now on the connection may be ended at any moment."""
        with self.server.lock:
            self.server.idle.add(self.connection)
            if stopping.is_set():
                _no_more(self.connection)  # what has arrived already can still be read

    def _answer(self) -> None:
        with self.server.lock:
            self.server.idle.discard(self.connection)
        began = time.monotonic()
        request = self._request()
        response = Response(400) if request is None else self._run(request)
        if request is None:
            self.close_connection = True
        try:
            self._send(response, request.id if request else "")
        finally:
            if request is not None and request.path != "/healthz":
                took = (time.monotonic() - began) * 1000
                print(f"{request.method} {self.path} {response.status} {took:.1f}ms id={request.id}", flush=True)
        self._rest()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def _request(self) -> Request | None:
        """The request, None where its body is too long, of unknown length, or cut off."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > BIGGEST_BODY:
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return None
        parts = urlsplit(self.path)
        return Request(
            method="GET" if self.command == "HEAD" else self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query)),
            headers=self.headers,
            body=body,
            id=self.headers.get("X-Request-Id") or str(uuid.uuid4()),
        )

    def _run(self, request: Request) -> Response:
        try:
            return self.server.app(request)
        except Exception:
            traceback.print_exc()
            return Response(500, b'{"error": "this is our mistake"}')

    def _send(self, response: Response, request_id: str) -> None:
        whole = isinstance(response.body, bytes)
        if stopping.is_set():
            self.close_connection = True
        self.send_response(response.status)
        self.send_header("Content-Type", response.type)
        if whole:
            self.send_header("Content-Length", str(len(response.body)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        for name, value in {"X-Request-Id": request_id, **response.headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(response.body)
        self.wfile.flush()

    def _send_body(self, body: bytes | Iterator[bytes]) -> None:
        if isinstance(body, bytes):
            self.wfile.write(body)
            return
        self.wfile.flush()
        for chunk in body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """The line in `_answer` says more."""


def _no_more(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
