"""
Who may look: a browser on this machine that was given the token.

The token comes once, in the address that `atoll dashboard` prints, and is exchanged for a cookie, so that it stays
neither in the address bar nor in the history. Cookies do not know ports: a service behind the gateway has the same
host, and would be sent this one too, were it not for its path. For the same reason requests that another origin
started are refused, although they carry the cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = re.compile(r"(localhost|127\.0\.0\.1)(:\d{1,5})?", re.IGNORECASE)
COOKIE = "atoll-dashboard"
UNKNOWN = "run `atoll dashboard`: it prints the address that lets this browser in\n"
OWN_SITES = frozenset({"", "same-origin", "none"})

HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Pass:
    """What one token opens: the pages under `root`, for who shows `cookie`."""

    root: str
    cookie: str


def make_pass(token: str) -> Pass:
    """Derive both from *token*, so that they are the same after a restart and say nothing about it."""
    return Pass(f"/{_derive(token, 'root')[:12]}", _derive(token, "cookie"))


def _derive(token: str, purpose: str) -> str:
    return hmac.digest(token.encode(), purpose.encode(), hashlib.sha256).hex()


class Door:
    """Lets through only GET requests for this machine's names that carry the cookie; puts HEADERS on every answer."""

    def __init__(self, inside: ASGIApp, token: str) -> None:
        self._inside = inside
        self._token = token
        self._pass = make_pass(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            raise TypeError(f"the dashboard speaks HTTP only, not {scope['type']}")
        answer = self._answer(HTTPConnection(scope), scope["method"]) or self._inside
        await answer(scope, receive, _with_headers(send))

    def _answer(self, request: HTTPConnection, method: str) -> Response | None:
        """The refusal or the redirect; None to go on."""
        if not HOST.fullmatch(request.headers.get("host", "")):
            # A name that somebody else's DNS points at this machine (DNS rebinding).
            return PlainTextResponse("this is the dashboard of http://localhost only\n", status_code=421)
        if method != "GET":
            return PlainTextResponse("only looking is possible here\n", status_code=405, headers={"allow": "GET"})
        if _same(request.query_params.get("token", ""), self._token):
            return self._exchange()
        if request.headers.get("sec-fetch-site", "") not in OWN_SITES:
            return PlainTextResponse("another site may not ask this one\n", status_code=403)
        if not _same(request.cookies.get(COOKIE, ""), self._pass.cookie):
            return PlainTextResponse(UNKNOWN, status_code=403)
        return None

    def _exchange(self) -> Response:
        response = RedirectResponse(f"{self._pass.root}/", status_code=303)
        response.set_cookie(COOKIE, self._pass.cookie, path=self._pass.root, httponly=True, samesite="strict")
        return response


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(errors="replace"), wanted.encode())


def _with_headers(send: Send) -> Send:
    async def send_(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return send_
