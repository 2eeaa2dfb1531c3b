"""The kit in aiohttp (3.12 or later): a client middleware."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

from atoll.kit.carriers import deadline_headers, retry_headers
from atoll.kit.deadlines import check
from atoll.kit.http import classify_http
from atoll.kit.pipeline import Pipeline
from atoll.kit.verdict import RETRY, Verdict


def classify(error: Exception) -> Verdict:
    """What an error of aiohttp says: the way there failed, so another try may help; the rest as HTTP says."""
    return RETRY if isinstance(error, aiohttp.ClientConnectionError) else classify_http(error)


def middleware(policy: Pipeline | None = None) -> ClientMiddlewareType:
    """
    For `aiohttp.ClientSession(middlewares=[middleware(policy)])`: sends the deadline, with `policy` around requests.

    Args:
        policy: None only sends the deadline. Use `classify` and `judge_response` with it.

    """

    async def send(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        check()
        request.headers.update(deadline_headers() | retry_headers(policy))
        return await handler(request)

    async def guarded(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        return await send(request, handler) if policy is None else await policy.call(send, request, handler)

    return guarded
