"""
The control plane from Python: `Client(socket)` and one method per thing that can be asked.

Public. Synchronous; every method raises a branch of `atoll.errors.AtollError`.
"""

from __future__ import annotations

import socket as sockets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec

from atoll import wire
from atoll.errors import AtollError, Conflict, Failed, Refused, Unavailable

T = TypeVar("T")

__all__ = ["Client", "NoAnswer", "Unresponsive"]

_KINDS: dict[str, type[AtollError]] = {"Refused": Refused, "Conflict": Conflict, "Unavailable": Unavailable}
_OVER = frozenset({"done", "failed"})
_PATIENCE = 30.0
_AT_ONCE = 10.0
"""Seconds for a question that is answered from memory: whoever does not answer by then hangs."""
_SILENCE = 3.0
"""Seconds without an answer after which whoever asked is told."""
_CREDENTIALS = struct.Struct("3i")


class Unresponsive(Unavailable):
    """A control plane is there and does not answer in time: it hangs, was stopped, or has too much to do."""


class NoAnswer(Unavailable):
    """Nobody answers there, or not to the end: there is no control plane, or it has just ended."""


class Client:
    """
    A connection to one control plane. Use it as a context manager.

    *unanswered* is called, in a thread of its own, with the number of the control plane's process (as far as it is
    known) when a question has waited for some seconds.
    """

    def __init__(self, socket: Path, *, unanswered: Callable[[int | None], None] | None = None) -> None:
        self._socket = socket
        self._unanswered = unanswered
        # Nothing is encrypted on a unix socket: to read certificates for it would take a tenth of a second.
        transport = httpx.HTTPTransport(uds=str(socket), verify=False)
        self._http = httpx.Client(transport=transport, base_url="http://atoll", timeout=_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def identity(self) -> wire.Identity:
        """Which control plane answers. Raises `errors.Unavailable` where none does, `Unresponsive` if it hangs."""
        return self._get("/v1/identity", wire.Identity)

    def status(self) -> wire.StatusView:
        """What is wanted, what is, and why they differ."""
        return self._get("/v1/status", wire.StatusView)

    def graph(self) -> wire.GraphView:
        """Who may call whom."""
        return self._get("/v1/graph", wire.GraphView)

    def plan(self, request: wire.ApplyRequest) -> wire.PlanView:
        """What applying this file would do now."""
        return self._post("/v1/plan", wire.PlanView, request)

    def apply(self, request: wire.ApplyRequest) -> wire.Receipt:
        """Queue what the file asks for."""
        return self._post("/v1/apply", wire.Receipt, request)

    def deploy(self, request: wire.ApplyRequest) -> wire.Receipt:
        """Queue a new release of `request.services`."""
        return self._post("/v1/deploy", wire.Receipt, request)

    def rollback(self, service: str) -> wire.Receipt:
        """Queue the release that served before."""
        return self._post("/v1/rollback", wire.Receipt, service=service)

    def steer(self, request: wire.SteerRequest) -> wire.ProgressView:
        """Ask something of a release on its way to users."""
        return self._post("/v1/steer", wire.ProgressView, request)

    def progress(self) -> tuple[wire.ProgressView, ...]:
        """The releases on their way to users."""
        return self._get("/v1/progress", tuple[wire.ProgressView, ...])

    def flags(self) -> wire.FlagsView:
        """The feature flags of the system."""
        return self._get("/v1/flags", wire.FlagsView)

    def flag_document(self, number: int | None = None) -> wire.FlagDocument:
        """A version of their document, the current one by default."""
        return self._get("/v1/flags/document", wire.FlagDocument, number=number)

    def flag_history(self, *, limit: int = 50) -> tuple[wire.FlagVersion, ...]:
        """Who wrote which version and why, newest first."""
        return self._get("/v1/flags/history", tuple[wire.FlagVersion, ...], limit=limit)

    def write_flags(self, request: wire.FlagWrite) -> wire.FlagReceipt:
        """Make a whole document what is served."""
        return self._post("/v1/flags/write", wire.FlagReceipt, request)

    def change_flag(self, request: wire.FlagChange) -> wire.FlagReceipt:
        """Set, kill or revive one flag."""
        return self._post("/v1/flags/change", wire.FlagReceipt, request)

    def roll_back_flags(self, request: wire.FlagRollback) -> wire.FlagReceipt:
        """Make an earlier version of the document what is served."""
        return self._post("/v1/flags/rollback", wire.FlagReceipt, request)

    def release_flag(self, request: wire.FlagReleaseRequest) -> wire.FlagReceipt:
        """Begin to give a variant of a flag to more and more people."""
        return self._post("/v1/flags/release", wire.FlagReceipt, request)

    def comparison(self, service: str) -> wire.ComparisonView:
        """The newest parallel run of a service."""
        return self._get("/v1/comparison", wire.ComparisonView, service=service)

    def down(self) -> wire.Receipt:
        """Queue the end of every instance. Proxies and control plane end after it, unless something runs then."""
        return self._post("/v1/down", wire.Receipt)

    def change(self, number: int) -> wire.ChangeView:
        """Where a change stands."""
        # Whoever follows a change has time: to give up on it tells nothing of the change.
        return self._answer(wire.ChangeView, "GET", f"/v1/changes/{number}")

    def wait(self, number: int, *, pause: float = 0.05) -> Iterator[wire.ChangeView]:
        """The change, again and again until it is over."""
        while True:
            view = self.change(number)
            yield view
            if view.state in _OVER:
                return
            time.sleep(pause)

    def releases(self, service: str | None = None) -> tuple[wire.ReleaseView, ...]:
        """Releases, newest first."""
        return self._get("/v1/releases", tuple[wire.ReleaseView, ...], service=service)

    def transitions(self, service: str | None = None) -> tuple[wire.TransitionView, ...]:
        """What moved releases on, newest first."""
        return self._get("/v1/transitions", tuple[wire.TransitionView, ...], service=service)

    def events(self, *, after: int = 0, limit: int = 100, service: str | None = None) -> tuple[wire.Event, ...]:
        """Events, oldest first."""
        return self._get("/v1/events", tuple[wire.Event, ...], after=after, limit=limit, service=service)

    def follow(self, *, after: int = 0) -> Iterator[wire.Event]:
        """Events as they happen, after those with a higher number than *after*; ends with the control plane."""
        return self._stream("/v1/events", wire.Event, follow=1, after=after)

    def logs(self, service: str | None = None, *, tail: int = 100, follow: bool = False) -> Iterator[wire.LogLine]:
        """The last lines of every instance, then, where asked, new ones as they are written."""
        return self._stream("/v1/logs", wire.LogLine, service=service, tail=tail, follow=1 if follow else None)

    def _get(self, path: str, kind: type[T], **query: str | int | None) -> T:
        params = {k: v for k, v in query.items() if v is not None}
        return self._answer(kind, "GET", path, params=params, timeout=_AT_ONCE)

    def _post(self, path: str, kind: type[T], content: object = None, **query: str) -> T:
        body = wire.encode(content) if content is not None else None
        return self._answer(kind, "POST", path, content=body, params=query)

    def _answer(self, kind: type[T], method: str, path: str, **options: object) -> T:
        try:
            with self._watched():
                response = self._http.request(method, path, **options)  # type: ignore[arg-type]  # options are ours
        except httpx.HTTPError as error:
            raise self._unavailable(error, asked=method == "POST") from error
        if response.is_error:
            raise _refusal(response.content)
        return _decoded(response.content, kind)

    def _stream(self, path: str, kind: type[T], **query: str | int | None) -> Iterator[T]:
        params = {k: v for k, v in query.items() if v is not None}
        patience = httpx.Timeout(_PATIENCE, read=None)
        try:
            with self._http.stream("GET", path, params=params, timeout=patience) as response:
                if response.is_error:
                    raise _refusal(response.read())
                for line in _lines(response.iter_bytes()):
                    yield _decoded(line, kind)
        except httpx.HTTPError as error:
            # What follows ends with the control plane; anything else was cut off.
            if "follow" in params and isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
                return
            raise self._unavailable(error) from error

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Tell whoever asked when it takes long, and go on waiting: an order must not be given twice."""
        if self._unanswered is None:
            yield
            return
        tell = self._unanswered
        timer = threading.Timer(_SILENCE, lambda: tell(_listener(self._socket)))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _unavailable(self, error: httpx.HTTPError, *, asked: bool = False) -> Unavailable:
        if not isinstance(error, httpx.TimeoutException):
            return _unanswered(error, asked=asked)
        pid = _listener(self._socket)
        process = f" (process {pid})" if pid is not None else ""
        replace = f"`kill -9 {pid}` and `atoll up` replace it while the services go on; " if pid is not None else ""
        return Unresponsive(
            f"the control plane{process} does not answer: it hangs, was stopped, or has too much to do"
            + ("; whether it has taken the request is not known" if asked else ""),
            hint=f"{replace}`atoll down --force` ends everything",
        )


def _listener(socket: Path) -> int | None:
    """Whose socket that is: the kernel knows it, also of a process that was stopped. None where nobody listens."""
    with sockets.socket(sockets.AF_UNIX) as asking:
        asking.settimeout(_SILENCE)
        try:
            asking.connect(str(socket))
            found = asking.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return None
    pid: int = _CREDENTIALS.unpack(found)[0]
    return pid or None


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines. Not `Response.iter_lines`: that breaks at U+2028 too, which JSON may hold."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return wire.decode(data, kind)
    except msgspec.DecodeError as error:
        raise Unavailable(
            f"the control plane is of another version: its answer is not understood ({error})",
            hint="use the version of atoll that started it; `atoll down` with that one ends it",
        ) from error


def _unanswered(error: httpx.HTTPError, *, asked: bool = False) -> NoAnswer:
    """Of what was *asked* for and got as far as the control plane, nobody knows here whether it was written down."""
    if asked and not isinstance(error, httpx.ConnectError):
        return NoAnswer(
            f"the control plane did not answer to the end ({error}): whether it has taken the request is not known",
            hint="`atoll up` starts it where it has ended; `atoll events` shows what it has taken",
        )
    return NoAnswer(f"no control plane answers here ({error})", hint="start it with `atoll up`")


def _refusal(content: bytes) -> AtollError:
    try:
        refusal = wire.decode(content, wire.Refusal)
    except msgspec.DecodeError:
        return Failed(f"the control plane failed: {content[:300].decode(errors='replace')}")
    return _KINDS.get(refusal.kind, Failed)(refusal.message, hint=refusal.hint)
