"""A server of one document of flags, over TCP or a unix socket, that can be changed, broken, stopped and started."""

import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE = 10.0


def until(condition, seconds=PATIENCE):
    """Waits for a condition, at most so long, and says how long it took."""
    began = time.monotonic()
    waiter = threading.Event()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds} s")
        waiter.wait(0.002)
    return time.monotonic() - began


def flag(variant="off", **more):
    return {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": variant, **more}


def document(variant="off", **flags):
    return {"flags": {"f": flag(variant), **flags}}


class FlagServer:
    """What the control plane will serve, as the client's module says it."""

    def __init__(self, path=None, prefix="", tls=None):
        self.path, self.prefix, self.tls = path, prefix, tls
        self.body, self.etag = json.dumps(document()).encode(), '"1"'
        self.status, self.headers, self.kind = 200, {}, "application/json"
        self.beat, self.chunked, self.stream = 0.05, True, True
        self.flood = ""  # sent without end in the place of what has changed
        self.asked, self.streams = [], 0
        self.news = threading.Condition()
        self.port, self.backlog = 0, 128
        self.server = None

    def publish(self, body, tell=True):
        with self.news:
            self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.etag = f'"{int(self.etag.strip(chr(34))) + 1}"'
            if tell:
                self.news.notify_all()

    @property
    def url(self):
        where = f"unix://{self.path}:" if self.path else f"http{'s' * bool(self.tls)}://127.0.0.1:{self.port}"
        return (where + self.prefix).rstrip(":")

    def start(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = not self.path

            def do_GET(self):
                with suppress(OSError):
                    outer.answer(self)

            def log_message(self, *_):
                pass

            def address_string(self):
                return "somebody"

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = self.backlog
            address_family = socket.AF_UNIX if self.path else socket.AF_INET
            open_requests: list[socket.socket] = []  # noqa: RUF012 - one server each

            def server_bind(self):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if outer.path:
                    Path(outer.path).unlink(missing_ok=True)
                self.socket.bind(self.server_address)
                self.server_name, self.server_port = "localhost", 0

            def process_request(self, request, address):
                self.open_requests.append(request)
                super().process_request(request, address)

        self.server = Server(str(self.path) if self.path else ("127.0.0.1", self.port), Handler)
        if not self.path:
            self.port = self.server.socket.getsockname()[1]
        if self.tls is not None:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self):
        """As if its process had been killed."""
        server, self.server = self.server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for each in server.open_requests:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        server.open_requests.clear()
        with self.news:
            self.news.notify_all()

    def answer(self, request):
        self.asked.append((request.path, dict(request.headers)))
        if request.path == f"{self.prefix}/flags":
            self.answer_document(request)
        elif request.path == f"{self.prefix}/flags/changes" and self.stream:
            self.answer_stream(request)
        else:
            request.send_error(404)

    def answer_document(self, request):
        same = request.headers.get("If-None-Match") == self.etag
        status, body = (304, b"") if same and self.status == 200 else (self.status, self.body)
        request.send_response(status)
        headers = {"ETag": self.etag, "Content-Type": self.kind, "Content-Length": str(len(body)), **self.headers}
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def answer_stream(self, request):
        request.close_connection = True
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream; charset=utf-8")
        if self.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()

        def send(text):
            data = text.encode()
            request.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)
            request.wfile.flush()

        server, told = self.server, None
        self.streams += 1
        try:
            while self.server is server and server is not None:
                if self.flood:
                    send(self.flood)
                    continue
                with self.news:
                    if told == self.etag:
                        self.news.wait(self.beat)
                    text = ": still here\n\n" if told == self.etag else self.change()
                    told = self.etag
                send(text)
        finally:
            self.streams -= 1

    def change(self):
        return f"event: change\r\ndata: {json.dumps({'etag': self.etag})}\r\n\r\n"
