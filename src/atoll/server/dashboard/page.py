"""The dashboard as an ASGI application: one page with its style and scripts, and two streams."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from importlib.resources import files
from typing import cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Send

from atoll import wire
from atoll.server.dashboard.access import Door, make_pass
from atoll.server.dashboard.feed import PERIOD, Feed, live, message, take_frame
from atoll.server.surface import Surface

LOG_LINES = 300
ASSETS = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "drawing.js": "text/javascript",
    "graph.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def dashboard(surface: Surface, token: str, *, period: float = PERIOD) -> Starlette:
    """
    A read-only page over what *surface* shows, renewed every *period* seconds while it is open.

    The browser gets in with `/?token=...`; everything else is refused (see `access`).
    """
    root = make_pass(token).root
    feed = Feed(partial(take_frame, surface), period)

    async def stream(_: Request) -> Response:
        return EventStream(live(feed))

    async def logs(request: Request) -> Response:
        return EventStream(_log(surface.lines(request.query_params.get("service"), LOG_LINES, True)))

    return Starlette(
        routes=[
            Route(f"{root}/", _page),
            Route(f"{root}/live", stream),
            Route(f"{root}/logs", logs),
            *(Route(f"{root}/{name}", _asset(name, media_type)) for name, media_type in ASSETS.items()),
        ],
        middleware=[Middleware(Door, token=token)],
    )


class EventStream(StreamingResponse):
    """Server-sent events. What makes them ends with the connection, and not whenever it is collected."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send until either side ends."""
        async with aclosing(cast("AsyncGenerator[bytes, None]", self.body_iterator)):
            await super().stream_response(send)


async def _log(lines: AsyncIterator[wire.LogLine]) -> AsyncIterator[bytes]:
    yield message("start", b"{}")  # a browser that comes back asks for the last lines again
    async for line in lines:
        yield message("line", wire.encode(line))


async def _page(_: Request) -> Response:
    # A nonce and not 'self': whatever is put under this origin one day, only what the page names runs in it.
    nonce = secrets.token_urlsafe(16)
    policy = POLICY.replace("{nonce}", nonce)
    text = _text("page.html").replace("{nonce}", nonce)
    return Response(text, media_type="text/html", headers={"content-security-policy": policy})


def _asset(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    text = _text(name)

    async def send(_: Request) -> Response:
        return Response(text, media_type=media_type)

    return send


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
