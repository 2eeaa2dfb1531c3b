"""The kit in httpx: a transport that sends the deadline, keeps it, and puts a policy around every request."""

from __future__ import annotations

from math import isfinite

import httpx

from atoll.kit.carriers import deadline_headers, retry_headers
from atoll.kit.deadlines import check, remaining
from atoll.kit.http import classify_http
from atoll.kit.pipeline import Pipeline
from atoll.kit.verdict import RETRY, Verdict


def classify(error: Exception) -> Verdict:
    """What an error of httpx says: the way there failed, so another try may help; the rest as HTTP says."""
    return RETRY if isinstance(error, httpx.TransportError) else classify_http(error)


class AsyncTransport(httpx.AsyncBaseTransport):
    """
    `httpx.AsyncClient(transport=AsyncTransport(policy))`.

    Args:
        policy: around every request; None only sends the deadline. Use `classify` and `judge_response` with it.
        inner: the transport that does the work.

    """

    def __init__(self, policy: Pipeline | None = None, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self._policy = policy
        self._inner = inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, with all its tries."""
        if self._policy is None:
            return await self._send(request)
        return await self._policy.call(self._send, request)

    async def aclose(self) -> None:
        """Closes the inner transport."""
        await self._inner.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        _prepare(request, self._policy)
        return await self._inner.handle_async_request(request)


class Transport(httpx.BaseTransport):
    """`httpx.Client(transport=Transport(policy))`; see `AsyncTransport`. Socket time-outs keep the deadline."""

    def __init__(self, policy: Pipeline | None = None, inner: httpx.BaseTransport | None = None) -> None:
        self._policy = policy
        self._inner = inner or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request, with all its tries."""
        if self._policy is None:
            return self._send(request)
        return self._policy.run(self._send, request)

    def close(self) -> None:
        """Closes the inner transport."""
        self._inner.close()

    def _send(self, request: httpx.Request) -> httpx.Response:
        _prepare(request, self._policy)
        return self._inner.handle_request(request)


def _prepare(request: httpx.Request, policy: Pipeline | None) -> None:
    check()
    request.headers.update(deadline_headers() | retry_headers(policy))
    left = remaining()
    if isfinite(left):
        given = request.extensions.get("timeout", {})
        names = ("connect", "read", "write", "pool")
        timeouts = {name: left if given.get(name) is None else min(given[name], left) for name in names}
        request.extensions = {**request.extensions, "timeout": timeouts}
