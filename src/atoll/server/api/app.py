"""The routes of the API, version 1."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atoll import wire
from atoll.errors import Refused
from atoll.operations.views.graph import graph
from atoll.operations.views.progress import progress, staged
from atoll.operations.views.status import status
from atoll.server.api.answers import answer, body, guarded, number
from atoll.server.api.flags import flag_routes
from atoll.server.surface import Surface
from atoll.store.store import Store

NDJSON = "application/x-ndjson"


def app(surface: Surface) -> Starlette:
    """The API as an ASGI application. Who may connect is decided by the socket's directory (0700)."""
    do = _Handlers(surface)
    return Starlette(
        routes=[
            Route("/v1/identity", guarded(do.identity)),
            Route("/v1/status", guarded(do.status_)),
            Route("/v1/graph", guarded(do.graph_)),
            Route("/v1/plan", guarded(do.plan), methods=["POST"]),
            Route("/v1/apply", guarded(do.apply), methods=["POST"]),
            Route("/v1/deploy", guarded(do.deploy), methods=["POST"]),
            Route("/v1/rollback", guarded(do.rollback), methods=["POST"]),
            Route("/v1/steer", guarded(do.steer), methods=["POST"]),
            Route("/v1/progress", guarded(do.progress)),
            Route("/v1/comparison", guarded(do.comparison)),
            Route("/v1/down", guarded(do.down), methods=["POST"]),
            Route("/v1/changes/{number:int}", guarded(do.change)),
            Route("/v1/releases", guarded(do.releases)),
            Route("/v1/transitions", guarded(do.transitions)),
            Route("/v1/events", guarded(do.events)),
            Route("/v1/logs", guarded(do.logs)),
            *flag_routes(surface.flags),
        ]
    )


class _Handlers:
    """One method per route."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface

    async def identity(self, _: Request) -> Response:
        return answer(self._surface.identity)

    async def status_(self, _: Request) -> Response:
        return answer(status(await self._surface.snapshot()))

    async def graph_(self, _: Request) -> Response:
        return answer(graph(self._surface.store.system()[1]))

    async def plan(self, request: Request) -> Response:
        return answer(await self._surface.desk.plan(await body(request, wire.ApplyRequest)))

    async def apply(self, request: Request) -> Response:
        return answer(await self._surface.desk.apply(await body(request, wire.ApplyRequest)))

    async def deploy(self, request: Request) -> Response:
        return answer(self._surface.desk.deploy(await body(request, wire.ApplyRequest)))

    async def rollback(self, request: Request) -> Response:
        return answer(self._surface.desk.rollback(request.query_params.get("service", "")))

    async def steer(self, request: Request) -> Response:
        return answer(self._surface.desk.steer(await body(request, wire.SteerRequest)))

    async def progress(self, _: Request) -> Response:
        return answer(_on_their_way(self._surface.store))

    async def comparison(self, request: Request) -> Response:
        service = self._service(request) or ""
        found = self._surface.comparison(service)
        if found is None:
            hint = f"write `compare: {{}}` under services.{service}, then deploy and release it"
            raise Refused(f"no release of {service} was compared in the last seven days", hint=hint)
        return answer(found)

    async def down(self, _: Request) -> Response:
        receipt = self._surface.desk.down()
        self._surface.end()
        return answer(receipt)

    async def change(self, request: Request) -> Response:
        return answer(self._surface.desk.change(request.path_params["number"]))

    async def releases(self, request: Request) -> Response:
        store, name = self._surface.store, self._service(request)
        found = staged((*store.releases(name), *store.flags.releases.views(name)), _on_their_way(store))
        return answer(sorted(found, key=lambda view: view.at, reverse=True))

    async def transitions(self, request: Request) -> Response:
        limit = number(request, "limit", 100)
        return answer(self._surface.store.transitions(self._service(request), limit))

    async def events(self, request: Request) -> Response:
        after = number(request, "after", 0)
        if "follow" in request.query_params:
            return StreamingResponse(_lines(self._surface.follow(after)), media_type=NDJSON)
        return answer(self._surface.store.events(after, number(request, "limit", 100), self._service(request)))

    async def logs(self, request: Request) -> Response:
        follow = "follow" in request.query_params
        stream = self._surface.lines(self._service(request), number(request, "tail", 100), follow)
        return StreamingResponse(_lines(stream), media_type=NDJSON)

    def _service(self, request: Request) -> str | None:
        """The service that is asked about, None for all."""
        service = request.query_params.get("service")
        if service is not None:
            self._surface.desk.recognise(service)
        return service


def _on_their_way(store: Store) -> tuple[wire.ProgressView, ...]:
    return progress(store.system()[1], store.pins(), store.flags.releases.on_their_way())


async def _lines(values: AsyncIterator[object]) -> AsyncIterator[bytes]:
    async for value in values:
        yield wire.encode(value) + b"\n"
