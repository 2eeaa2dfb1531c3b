"""Releases of flags in ASGI applications: every answer says what its request got."""

from __future__ import annotations

from atoll.kit.flags.seen import HEADER, header, watching
from atoll.kit.integrations.asgi import App, Message, Receive, Send


class FlagMiddleware:
    """
    Adds `x-atoll-flag: NAME=VARIANT` to the answers of requests that were given a flag which is being released.

    The platform counts answers by it, to judge the release. Put it around all else: a failure that nobody has answered
    is answered here with 500, so that it counts, and raised on.

    Args:
        app: the application; its flags come from a `FlagClient`.

    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, as ASGI says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen: dict[str, str] = {}
        answered = False

        async def sending(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                if seen:
                    added = (HEADER.encode(), header(seen).encode())
                    message = {**message, "headers": [*message.get("headers", ()), added]}
            await send(message)

        try:
            with watching(seen):
                await self._app(scope, receive, sending)
        except Exception:
            if seen and not answered:
                body = b"Internal Server Error"
                headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
                await sending({"type": "http.response.start", "status": 500, "headers": headers})
                await send({"type": "http.response.body", "body": body})
            raise
