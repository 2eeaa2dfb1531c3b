"""The kit in requests: an adapter that sends the deadline, keeps it by the socket's time-outs, and has a policy."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from atoll.kit.carriers import deadline_headers, retry_headers
from atoll.kit.deadlines import check, remaining
from atoll.kit.http import classify_http
from atoll.kit.pipeline import Pipeline
from atoll.kit.verdict import Verdict


def classify(error: Exception) -> Verdict:
    """What an error of requests says; its connection errors are OSErrors, which are worth another try."""
    return classify_http(error)


class Adapter(HTTPAdapter):
    """
    `session.mount("http://payments", Adapter(policy))`.

    Args:
        policy: around every request; None only sends the deadline. Use `classify` and `judge_response` with it.

    """

    def __init__(self, policy: Pipeline | None = None) -> None:
        super().__init__()
        self._policy = policy

    def send(  # the signature of requests
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """One request, with all its tries."""

        def once() -> requests.Response:
            check()
            request.headers.update(deadline_headers() | retry_headers(self._policy))
            return super(Adapter, self).send(request, stream, _shorter(timeout), verify, cert, proxies)

        return once() if self._policy is None else self._policy.run(once)


def _shorter(timeout: Any) -> Any:
    left = remaining()
    if not isfinite(left):
        return timeout
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return tuple(left if each is None else min(each, left) for each in (connect, read))
