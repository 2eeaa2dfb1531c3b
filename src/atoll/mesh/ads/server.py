"""The delta ADS server: one unix socket, one stream per running proxy. Holds its tongue until there is a snapshot."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from atoll.errors import Unavailable
from atoll.mesh.ads.stream import RETRY, Ledger, Stream
from atoll.mesh.snapshot import Key, Snapshot

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"
LARGEST = 64 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", LARGEST),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
)


@dataclass(slots=True)
class _Line:
    """An open stream and what waits to be sent on it. None ends it."""

    stream: Stream
    outbox: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    def send(self, responses: list[bytes]) -> None:
        for response in responses:
            self.outbox.put_nowait(response)


@dataclass(slots=True)
class _Proxy:
    """One proxy; while it restarts without a gap it is two processes and has two streams, the newest last."""

    ledger: Ledger = field(default_factory=Ledger)
    snapshot: Snapshot | None = None
    lines: list[_Line] = field(default_factory=list)


class AdsServer:
    """
    Serves snapshots at the unix socket *path*, and knows what became of them.

    `changed` is called whenever a proxy connects, goes, accepts or rejects.
    """

    def __init__(self, path: Path, proxies: tuple[str, ...], changed: Callable[[], None]) -> None:
        self._path = path
        self._proxies = {name: _Proxy() for name in proxies}
        self._changed = changed
        self._server: grpc.aio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen. Raises `errors.Unavailable` when the socket cannot be made."""
        self._path.unlink(missing_ok=True)
        server = grpc.aio.server(options=_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(
            self._talk, request_deserializer=DeltaDiscoveryRequest.FromString, response_serializer=bytes
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        try:
            server.add_insecure_port(f"unix:{self._path}")
        except RuntimeError as error:
            raise Unavailable(f"the socket for the proxies' configuration cannot be made at {self._path}") from error
        self._path.chmod(0o600)
        await server.start()
        self._server = server

    async def close(self) -> None:
        """End all streams; the proxies keep what they have."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        for proxy in self._proxies.values():
            for line in proxy.lines:
                line.outbox.put_nowait(None)
        if self._server is not None:
            await self._server.stop(grace=0.5)
            self._server = None

    def offer(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Send what is new in these snapshots, by proxy."""
        now = time.monotonic()
        for name, snapshot in snapshots.items():
            proxy = self._proxies[name]
            proxy.snapshot = snapshot
            again = proxy.ledger.reopen(now)
            for line in proxy.lines:
                line.send(line.stream.offer(snapshot, now, again))
        self._watch()

    def streams(self, proxy: str) -> tuple[Stream, ...]:
        """The streams of one proxy, the newest last; none while it is away."""
        return tuple(line.stream for line in self._proxies[proxy].lines)

    def forget(self, proxy: str) -> None:
        """End the streams of a proxy that has died: the kernel takes a moment to tell us by itself."""
        for line in self._proxies[proxy].lines:
            line.outbox.put_nowait(None)
        self._proxies[proxy].lines.clear()

    def refusals(self) -> tuple[str, ...]:
        """What the proxies say about the parts of the present snapshots that they have refused."""
        return tuple(
            f"{name}: {_about(key, refusal.words)}"
            for name, proxy in self._proxies.items()
            for key, refusal in proxy.ledger.refused.items()
            if refusal.words
            and proxy.snapshot is not None
            and key in proxy.snapshot.resources
            and proxy.snapshot.resources[key].version == refusal.version
        )

    async def _talk(
        self, requests: AsyncIterator[DeltaDiscoveryRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        first = await anext(requests, None)
        if first is None:
            return
        proxy = self._proxies.get(first.node.id)
        if proxy is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"there is no proxy {first.node.id!r} here")
            return
        line = _Line(Stream(proxy.ledger, proxy.snapshot))
        proxy.lines.append(line)
        reader = asyncio.get_running_loop().create_task(self._listen(line, first, requests))
        try:
            while (response := await line.outbox.get()) is not None:
                yield response
        finally:
            reader.cancel()
            with contextlib.suppress(ValueError):
                proxy.lines.remove(line)
            self._changed()

    async def _listen(
        self, line: _Line, first: DeltaDiscoveryRequest, requests: AsyncIterator[DeltaDiscoveryRequest]
    ) -> None:
        try:
            self._hear(line, first)
            async for request in requests:
                self._hear(line, request)
        finally:
            line.outbox.put_nowait(None)

    def _hear(self, line: _Line, request: DeltaDiscoveryRequest) -> None:
        line.send(line.stream.hear(request, time.monotonic()))
        self._watch()
        self._changed()

    def _watch(self) -> None:
        """Wake up when an answer is overdue, and when it is time to try again what was refused."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines = [line for proxy in self._proxies.values() for line in proxy.lines]
        dues = [due for line in lines if (due := line.stream.due()) is not None]
        if dues:
            wait = max(0.0, min(dues) - time.monotonic()) + 0.01
            self._timer = asyncio.get_running_loop().call_later(wait, self._overdue)
        if self._retry is None and any(proxy.ledger.refused for proxy in self._proxies.values()):
            self._retry = asyncio.get_running_loop().call_later(RETRY, self._again)

    def _again(self) -> None:
        """Send what was refused once more, without a reason: what was wrong may have been a port that was taken."""
        self._retry = None
        self.offer({name: proxy.snapshot for name, proxy in self._proxies.items() if proxy.snapshot is not None})

    def _overdue(self) -> None:
        now = time.monotonic()
        for proxy in self._proxies.values():
            for line in proxy.lines:
                line.send(line.stream.tick(now))
        self._watch()
        self._changed()


def _about(key: Key, words: str) -> str:
    """A proxy's words in one line; it does not always say what they are about."""
    kind, name = key
    said = " ".join(words.split())
    return said if name in said else f"{kind.name.lower()} {name}: {said}"
