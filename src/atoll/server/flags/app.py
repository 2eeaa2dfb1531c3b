"""The routes that services have: the document and its changes for `atoll.kit`, OFREP for everybody else."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from atoll.kit.flags import InvalidFlags
from atoll.server.flags import ofrep
from atoll.server.flags.serving import Cut, Forbidden, Serving
from atoll.values.hashing import digest
from atoll.values.names import CALLER_HEADER, FLAGS

THREADS = 2
"""In which questions are answered, of each service one at a time: more would have the loop wait for the interpreter."""
STILL_HERE = b": still here\n\n"
EVENTS = "/ofrep/v1/events"

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
Until = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


def flags_app(serving: Serving, until: Until) -> Starlette:
    """
    The flags as an ASGI application. *until* ends streams when the control plane ends.

    Who may ask is decided by the caller header: only the mesh's proxy may reach this.
    """
    do = _Handlers(serving, until)
    return Starlette(
        routes=[
            Route("/flags", _guarded(do.document)),
            Route("/flags/changes", _guarded(do.changes)),
            Route("/ofrep/v1/evaluate/flags", _guarded(do.evaluate_all), methods=["POST"]),
            Route("/ofrep/v1/evaluate/flags/{key:path}", _guarded(do.evaluate), methods=["POST"]),
            Route(EVENTS, _guarded(do.events)),
        ]
    )


class _Handlers:
    """One method per route."""

    def __init__(self, serving: Serving, until: Until) -> None:
        self._serving = serving
        self._until = until
        self._threads = ThreadPoolExecutor(THREADS, "flags")
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def document(self, request: Request) -> Response:
        found = self._serving.cut(_caller(request))
        if _is_known(request, found.etag):
            return Response(status_code=304, headers={"etag": found.etag})
        return Response(found.text, media_type="application/json", headers={"etag": found.etag})

    async def changes(self, request: Request) -> Response:
        return self._stream(request, _change)

    async def events(self, request: Request) -> Response:
        return self._stream(request, lambda cut: ofrep.changed(cut.etag))

    async def evaluate(self, request: Request) -> Response:
        key, caller = request.path_params["key"], _caller(request)
        self._serving.check(caller, key)
        try:
            asking = ofrep.context(await _body(request))
        except ofrep.BadQuestion as error:
            return JSONResponse(ofrep.failure(key, error.code, str(error)), 400)
        flags = await self._serving.flags(caller)
        said = await self._apart(caller, lambda: ofrep.answer(key, flags.evaluate(key, asking)))
        return JSONResponse(said, ofrep.status(said))

    async def evaluate_all(self, request: Request) -> Response:
        caller = _caller(request)
        self._serving.cut(caller)
        try:
            asking = ofrep.context(await _body(request))
        except ofrep.BadQuestion as error:
            return JSONResponse({"errorCode": error.code, "errorDetails": str(error)}, 400)
        flags = await self._serving.flags(caller)
        stream = _origin(request) + EVENTS
        response = await self._apart(caller, lambda: JSONResponse(ofrep.all_answers(flags, asking, stream)))
        etag = _etag(bytes(response.body))
        if _is_known(request, etag):
            return Response(status_code=304, headers={"etag": etag})
        response.headers["etag"] = etag
        return response

    async def _apart(self, caller: str, answering: Callable[[], T]) -> T:
        """Not in the loop that moves releases and tells the proxies: thousands of flags, and long texts, take long."""
        async with self._turns[caller]:
            return await asyncio.get_running_loop().run_in_executor(self._threads, answering)

    def _stream(self, request: Request, event: Callable[[Cut], bytes]) -> Response:
        caller = _caller(request)
        self._serving.cut(caller)  # or it is refused before the stream begins
        values = self._until(_told(self._serving.changes(caller), event))
        return StreamingResponse(values, media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _told(changes: AsyncIterator[Cut | None], event: Callable[[Cut], bytes]) -> AsyncIterator[bytes]:
    try:
        async for cut in changes:
            yield STILL_HERE if cut is None else event(cut)
    except Forbidden:
        return  # the stream ends; who asks again is told why


def _change(cut: Cut) -> bytes:
    return f"event: change\ndata: {json.dumps({'etag': cut.etag})}\n\n".encode()


def _guarded(handler: Handler) -> Handler:
    """Turn what may not be asked, or cannot be answered, into the protocol's words for it."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except Forbidden as error:
            return JSONResponse({"errorCode": "GENERAL", "errorDetails": str(error)}, 403)
        except InvalidFlags as error:
            words = f"the document of flags has errors, write it again (atoll flags lint): {error}"
            return JSONResponse({"errorCode": "GENERAL", "errorDetails": words}, 500)

    return handle


def _caller(request: Request) -> str:
    return request.headers.get(CALLER_HEADER, "")


def _origin(request: Request) -> str:
    """Where who asks has found us: the name in a sandbox, a port of its own for a plain process."""
    return f"http://{request.headers.get('host', FLAGS)}"


async def _body(request: Request) -> bytes:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > ofrep.BIGGEST:
            raise ofrep.BadQuestion("INVALID_CONTEXT", f"the question is larger than {ofrep.BIGGEST // 1024} KiB")
    return data


def _etag(body: bytes) -> str:
    return f'"{digest(body)[:16]}"'


def _is_known(request: Request, etag: str) -> bool:
    """Whether If-None-Match names it (RFC 9110, 13.1.2: a weak comparison)."""
    said = (tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(","))
    return etag in said
