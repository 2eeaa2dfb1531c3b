"""The routes of the API, version 1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atoll import wire
from atoll.errors import AtollError, Conflict, Failed, Refused, Unavailable
from atoll.operations.views.graph import graph
from atoll.operations.views.status import status
from atoll.server.api.surface import Surface

STATUS = {Refused: 422, Conflict: 409, Unavailable: 503, Failed: 500}
BIGGEST_REQUEST = 8 * 1024 * 1024
NDJSON = "application/x-ndjson"


def app(surface: Surface) -> Starlette:
    """The API as an ASGI application. Who may connect is decided by the socket's directory (0700)."""

    async def identity(_: Request) -> Response:
        return answer(surface.identity)

    async def status_(_: Request) -> Response:
        return answer(status(await surface.snapshot()))

    async def graph_(_: Request) -> Response:
        return answer(graph(surface.store.system()[1]))

    async def plan(request: Request) -> Response:
        asked = await body(request)
        return answer(await asyncio.to_thread(surface.desk.plan, asked))

    async def apply(request: Request) -> Response:
        return answer(surface.desk.apply(await body(request)))

    async def deploy(request: Request) -> Response:
        return answer(surface.desk.deploy(await body(request)))

    async def rollback(request: Request) -> Response:
        return answer(surface.desk.rollback(request.path_params["service"]))

    async def down(_: Request) -> Response:
        return answer(surface.desk.down())

    async def end(_: Request) -> Response:
        surface.end()
        return answer(surface.identity)

    async def change(request: Request) -> Response:
        found = surface.store.change(request.path_params["number"])
        if found is None:
            raise Refused(f"there is no change {request.path_params['number']}")
        return answer(found.view())

    async def releases(request: Request) -> Response:
        return answer(surface.store.releases(request.query_params.get("service")))

    async def events(request: Request) -> Response:
        after = number(request, "after")
        service = request.query_params.get("service")
        if "follow" in request.query_params:
            return StreamingResponse(_lines(surface.follow(after)), media_type=NDJSON)
        return answer(surface.store.events(after, number(request, "limit") or 100, service))

    async def logs(request: Request) -> Response:
        service = request.query_params.get("service")
        follow = "follow" in request.query_params
        stream = surface.lines(service, number(request, "tail") or 100, follow)
        return StreamingResponse(_lines(stream), media_type=NDJSON)

    return Starlette(
        routes=[
            Route("/v1/identity", guarded(identity)),
            Route("/v1/status", guarded(status_)),
            Route("/v1/graph", guarded(graph_)),
            Route("/v1/plan", guarded(plan), methods=["POST"]),
            Route("/v1/apply", guarded(apply), methods=["POST"]),
            Route("/v1/deploy", guarded(deploy), methods=["POST"]),
            Route("/v1/rollback/{service}", guarded(rollback), methods=["POST"]),
            Route("/v1/down", guarded(down), methods=["POST"]),
            Route("/v1/end", guarded(end), methods=["POST"]),
            Route("/v1/changes/{number:int}", guarded(change)),
            Route("/v1/releases", guarded(releases)),
            Route("/v1/events", guarded(events)),
            Route("/v1/logs", guarded(logs)),
        ]
    )


def answer(value: object, code: int = 200) -> Response:
    """A JSON response."""
    return Response(wire.encode(value), status_code=code, media_type="application/json")


def guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Turn our errors into refusals with a fitting status."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except AtollError as error:
            code = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
            kind = next((k.__name__ for k in STATUS if isinstance(error, k)), "Failed")
            return answer(wire.Refusal(kind, error.message, error.hint), code)

    return handle


async def body(request: Request) -> wire.ApplyRequest:
    """The request's body. Raises `errors.Refused` where it is too big or not of that shape."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > BIGGEST_REQUEST:
            raise Refused("the request is larger than 8 MiB")
    try:
        return wire.decode(data, wire.ApplyRequest)
    except msgspec.DecodeError as error:
        raise Refused(f"the request is not understood: {error}") from error


def number(request: Request, name: str) -> int:
    """A whole number from the query, 0 where there is none."""
    text = request.query_params.get(name, "0")
    if not text.isdecimal():
        raise Refused(f"{name} has to be a whole number, not {text!r}")
    return int(text)


async def _lines(values: AsyncIterator[object]) -> AsyncIterator[bytes]:
    async for value in values:
        yield wire.encode(value) + b"\n"
