"""
Calls to other services: a kept connection per thread and callee, and the request's id passed on.

Time limits, retries, bulkheads and breakers are not here: the platform keeps them, as atoll.yaml says.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LONGEST = 60.0  # the platform answers long before
FORBIDDEN = 403  # the platform's answer to a call that atoll.yaml does not allow; it says which line to add
_kept = threading.local()


class Unreachable(Exception):
    """The callee may not be called, does not answer, or answers that it cannot (5xx). It may have done something."""


@dataclass(frozen=True)
class Answer:
    status: int
    value: Any


def call(
    service: str,
    method: str,
    path: str,
    *,
    request_id: str,
    value: object = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask *service* and return what it answers (up to 4xx, but 403). Raises `Unreachable`."""
    body = None if value is None else json.dumps(value).encode()
    sent = {"X-Request-Id": request_id, "Content-Type": "application/json", **(headers or {})}
    try:
        response, data = _ask(service, method, path, body, sent)
        if response.status >= 500 or response.status == FORBIDDEN:
            raise Unreachable(f"{service} answered {response.status}: {data[:200].decode(errors='replace').strip()}")
        return Answer(response.status, json.loads(data) if data else None)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"{service} did not answer: {error!r}") from error


def _ask(
    service: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    kept: dict[str, http.client.HTTPConnection] = _kept.__dict__.setdefault("connections", {})
    reused = kept.pop(service, None)
    for connection in (reused, _connection(service)) if reused else (_connection(service),):
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            if connection is not reused:
                raise
            continue  # it was closed meanwhile (RFC 9112, 9.3.1), and every call here may be repeated
        data = response.read()
        if not response.will_close:
            kept[service] = connection
        return response, data
    raise AssertionError


def _connection(service: str) -> http.client.HTTPConnection:
    url = urlsplit(os.environ.get(f"{service.upper().replace('-', '_')}_URL", f"http://{service}"))
    return http.client.HTTPConnection(url.hostname or service, url.port or 80, timeout=LONGEST)
