"""The routes about feature flags."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll import wire
from atoll.operations.flags import FlagDesk
from atoll.server.api.answers import answer, body, guarded, number


def flag_routes(desk: FlagDesk) -> list[Route]:
    """One route for each thing that may be asked."""

    async def view(_: Request) -> Response:
        return answer(desk.view())

    async def document(request: Request) -> Response:
        return answer(desk.document(number(request, "number", 0) or None))

    async def history(request: Request) -> Response:
        return answer(desk.history(number(request, "limit", 50)))

    async def write(request: Request) -> Response:
        return answer(await desk.write(await body(request, wire.FlagWrite)))

    async def change(request: Request) -> Response:
        return answer(await desk.change(await body(request, wire.FlagChange)))

    async def rollback(request: Request) -> Response:
        return answer(await desk.rollback(await body(request, wire.FlagRollback)))

    async def release(request: Request) -> Response:
        return answer(await desk.release(await body(request, wire.FlagReleaseRequest)))

    return [
        Route("/v1/flags", guarded(view)),
        Route("/v1/flags/document", guarded(document)),
        Route("/v1/flags/history", guarded(history)),
        Route("/v1/flags/write", guarded(write), methods=["POST"]),
        Route("/v1/flags/change", guarded(change), methods=["POST"]),
        Route("/v1/flags/release", guarded(release), methods=["POST"]),
        Route("/v1/flags/rollback", guarded(rollback), methods=["POST"]),
    ]
