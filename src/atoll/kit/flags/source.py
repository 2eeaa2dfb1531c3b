"""
Where a document comes from: a file, or a server over HTTP.

    GET {url}/flags           the document with an ETag; 304 to If-None-Match of the same
    GET {url}/flags/changes   text/event-stream: `event: change` with `data: {"etag": "..."}`, once at the start and
                              with every change, and a comment line now and then while nothing happens
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from struct import pack
from threading import Event, Lock
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

LARGEST = 64 * 2**20  # bytes of a document
LONGEST = 64 * 2**10  # bytes of a line in the stream, and of what one event says; a tag needs a few dozen
_OK = 200
_NOT_MODIFIED = 304


class Fetched(NamedTuple):
    """A document's text and its tag."""

    text: str
    etag: str


class Source(Protocol):
    """Something that a document can be read from, again and again, by one thread."""

    def fetch(self, etag: str) -> Fetched | None:
        """The document; None if it is still the one with that tag."""
        ...

    def changes(self) -> Iterator[str | None]:
        """The current tag at the start and whenever it changes; None when nothing did. Ends with the source."""
        ...

    def stop(self) -> None:
        """Has the thread that reads come back soon, now and for ever."""
        ...

    def renew(self) -> None:
        """In a forked child: lets go of what the parent goes on using."""
        ...


class SourceFailed(ConnectionError):
    """The server answered, but not with what was asked for. Has what `judge_response` looks at."""

    def __init__(self, message: str, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class FileSource:
    """A file, looked at every `interval` seconds."""

    def __init__(self, path: Path, interval: float) -> None:
        self._path = path
        self._interval = interval
        self._stopped = Event()

    def fetch(self, etag: str) -> Fetched | None:
        """See `Source`."""
        now = self._tag()
        return None if now == etag else Fetched(self._path.read_text(encoding="utf-8"), now)

    def changes(self) -> Iterator[str | None]:
        """See `Source`."""
        while not self._stopped.wait(self._interval):
            yield self._tag()

    def stop(self) -> None:
        """See `Source`."""
        self._stopped.set()

    def renew(self) -> None:
        """See `Source`."""
        self._stopped = Event()

    def _tag(self) -> str:
        status = self._path.stat()
        return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


class HttpSource:
    """
    A server at `http://`, `https://` or `unix:///path/of.sock`, there with `:/prefix` behind it if its paths have one.

    Args:
        url: what `/flags` is put behind.
        headers: sent with every request.
        timeout: seconds for connecting and for every read of a document.
        quiet: after so many seconds without a line in the stream it counts as lost.

    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float, quiet: float) -> None:
        self._where = urlsplit(url)
        if self._where.scheme not in ("http", "https", "unix"):
            raise ValueError(f"{url} is neither http://, https:// nor unix:///: give one of them, or a path")
        self._socket_path, _, prefix = self._where.path.partition(":")
        self._prefix = (prefix if self._where.scheme == "unix" else self._where.path).rstrip("/")
        self._headers = dict(headers)
        self._timeout = timeout
        self._quiet = quiet
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self._stopped = False

    def fetch(self, etag: str) -> Fetched | None:
        """See `Source`."""
        wanted = {"If-None-Match": etag} if etag else {}
        with self._get("/flags", self._timeout, {"Accept": "application/json", **wanted}) as response:
            if response.status == _NOT_MODIFIED:
                return None
            _expect(response, "application/json")
            body = response.read(LARGEST + 1)
            if len(body) > LARGEST:
                raise _unexpected(f"the document is larger than {LARGEST} bytes", response)
            return Fetched(body.decode(), response.headers.get("ETag", ""))

    def changes(self) -> Iterator[str | None]:
        """See `Source`."""
        with self._get("/flags/changes", self._quiet, {"Accept": "text/event-stream"}) as response:
            _expect(response, "text/event-stream")
            yield from signals(iter(lambda: response.readline(LONGEST + 1), b""))

    def stop(self) -> None:
        """See `Source`."""
        with self._lock:
            self._stopped = True
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it; closing would not

    def renew(self) -> None:
        """See `Source`."""
        self._lock = Lock()
        for each in self._open:
            os.close(each.detach())  # not shut down, which would end the parent's; close() would wait for its reader
        self._open = set()
        self._stopped = False

    @contextmanager
    def _get(self, path: str, timeout: float, headers: Mapping[str, str]) -> Iterator[HTTPResponse]:
        connection = self._connection(timeout)
        connection.connect()
        opened = connection.sock
        try:
            with self._lock:
                self._open.add(opened)
                if self._stopped:
                    raise ConnectionError("the client is closed")
            connection.request("GET", self._prefix + path, headers={**self._headers, **headers})
            with connection.getresponse() as response:
                yield response
        finally:
            with self._lock:
                self._open.discard(opened)
            connection.close()
            opened.close()

    def _connection(self, timeout: float) -> HTTPConnection:
        if self._where.scheme == "unix":
            return _UnixConnection(self._socket_path, timeout)
        host, port = self._where.hostname or "", self._where.port
        if self._where.scheme == "https":
            return HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
        return HTTPConnection(host, port, timeout=timeout)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._patience = timeout

    def connect(self) -> None:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Not settimeout(): with it, a queue that is full for a moment is an error instead of a wait.
            seconds, rest = divmod(self._patience, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, pack("ll", int(seconds), int(rest * 1e6)))
            opened.connect(self._path)
            opened.settimeout(self._patience)
        except BaseException:
            opened.close()
            raise
        self.sock = opened


def signals(lines: Iterable[bytes]) -> Iterator[str | None]:
    """
    What a stream of server-sent events says: a tag per change, None per comment.

    A change whose tag cannot be read has the tag "?", which no document has. Raises `ConnectionError` for a line, or an
    event, that is too long: who sends such may never end it.
    """
    event, data = "", ""
    for line in lines:
        if max(len(line), len(data)) > LONGEST:
            raise ConnectionError(f"the stream of changes has an event of more than {LONGEST} bytes")
        text = line.decode(errors="replace").rstrip("\r\n")
        name, _, value = text.partition(":")
        if not text:
            if event == "change":
                yield _tag(data)
            event, data = "", ""
        elif not name:
            yield None
        elif name == "event":
            event = value.strip()
        elif name == "data":
            data += value.strip()


def _tag(data: str) -> str:
    try:
        return str(json.loads(data)["etag"])
    except (ValueError, TypeError, KeyError):
        return "?"


def _unexpected(message: str, response: HTTPResponse) -> SourceFailed:
    return SourceFailed(message, response.status, dict(response.headers))


def _expect(response: HTTPResponse, kind: str) -> None:
    found = response.headers.get_content_type()
    if response.status != _OK:
        raise _unexpected(f"the server answered {response.status} {response.reason}", response)
    if found != kind:
        raise _unexpected(f"the server sent {found}, not {kind}", response)
