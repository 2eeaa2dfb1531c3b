"""
The control plane from Python: `Client(socket)` and one method per thing that can be asked.

Public. Synchronous; every method raises a branch of `atoll.errors.AtollError`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec

from atoll import wire
from atoll.errors import AtollError, Conflict, Failed, Refused, Unavailable

T = TypeVar("T")

__all__ = ["Client", "NoAnswer"]

_KINDS: dict[str, type[AtollError]] = {"Refused": Refused, "Conflict": Conflict, "Unavailable": Unavailable}
_OVER = frozenset({"done", "failed"})
_PATIENCE = 30.0


class NoAnswer(Unavailable):
    """Nobody answers there, or not to the end: there is no control plane, or it has just ended."""


class Client:
    """A connection to one control plane. Use it as a context manager."""

    def __init__(self, socket: Path) -> None:
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
        """Which control plane answers. Raises `errors.Unavailable` where none does."""
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
        """Queue the end of every instance."""
        return self._post("/v1/down", wire.Receipt)

    def end(self) -> None:
        """End the proxies and the control plane; nothing must run any more."""
        self._post("/v1/end", wire.Identity)

    def change(self, number: int) -> wire.ChangeView:
        """Where a change stands."""
        return self._get(f"/v1/changes/{number}", wire.ChangeView)

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
        return self._answer(kind, "GET", path, params={k: v for k, v in query.items() if v is not None})

    def _post(self, path: str, kind: type[T], content: object = None, **query: str) -> T:
        body = wire.encode(content) if content is not None else None
        return self._answer(kind, "POST", path, content=body, params=query)

    def _answer(self, kind: type[T], method: str, path: str, **options: object) -> T:
        try:
            response = self._http.request(method, path, **options)  # type: ignore[arg-type]  # options are ours
        except httpx.HTTPError as error:
            raise _unanswered(error, asked=method == "POST") from error
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
        except httpx.RemoteProtocolError:
            return
        except httpx.HTTPError as error:
            raise _unanswered(error) from error


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
    if asked and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
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
