"""Taking copies: each is answered at once, so that it holds nothing of the proxy's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from atoll.values.headers import COMPARED

LARGEST = 64 * 1024
"""Bytes of a request's body; one that has more is not compared."""
LONGEST_HEAD = 64 * 1024
"""Bytes of a header, or of the first line: what Envoy allows for all of them together."""
PIECE = 16 * 1024

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """A copied request; `target` is its path with its query as they came, `body` None where it was too large."""

    service: str
    method: str
    target: str
    headers: Headers
    body: bytes | None


@asynccontextmanager
async def taking(socket: str, offer: Callable[[Copy], None]) -> AsyncIterator[None]:
    """Take copies at this socket meanwhile; *offer* gets each and must not wait."""

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.raw_headers
        )
        body = await _body(request)
        offer(Copy(dict(headers).get(COMPARED, ""), request.method, request.raw_path, headers, body))
        return web.Response(status=202)

    server = web.Server(take, access_log=None, max_line_size=LONGEST_HEAD, max_field_size=LONGEST_HEAD)
    runner = web.ServerRunner(server, shutdown_timeout=0.0)
    await runner.setup()
    await web.UnixSite(runner, socket, backlog=64).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _body(request: web.BaseRequest) -> bytes | None:
    """Read all of it, also of one that is too large: the connection goes on."""
    found, large = b"", False
    async for piece in request.content.iter_chunked(PIECE):
        large = large or len(found) + len(piece) > LARGEST
        found = b"" if large else found + piece
    return None if large else found
