"""Deadlines for ASGI applications (Starlette, FastAPI, Litestar, Django, Quart)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from math import inf
from typing import Any

from atoll.kit import clock
from atoll.kit.admission import Admission
from atoll.kit.carriers import deadline_from
from atoll.kit.deadlines import deadline
from atoll.kit.faults import DeadlineExceeded

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class DeadlineMiddleware:
    """
    Gives every HTTP request the deadline its caller sent, and answers 504 when it cannot be kept.

    Args:
        app: the application.
        default: seconds for requests that bring no deadline.
        share: see `Admission`.

    """

    def __init__(self, app: App, default: float = inf, share: float = 0.5) -> None:
        self._app = app
        self._default = default
        self.admission = Admission(share)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, as ASGI says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        left = min(self._default, deadline_from(headers))
        if left == inf:
            await self._app(scope, receive, send)
            return
        answered = False

        async def sending(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        began = clock.now()
        try:
            self.admission.check(left)
            async with deadline(left, f"{scope['method']} {scope['path']}"):
                await self._app(scope, receive, sending)
        except DeadlineExceeded as error:
            if answered:
                raise  # too late for a status: the server breaks the connection off
            await _refuse(send, str(error))
        else:
            self.admission.record(clock.now() - began)


async def _refuse(send: Send, why: str) -> None:
    body = why.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 504, "headers": headers})
    await send({"type": "http.response.body", "body": body})
