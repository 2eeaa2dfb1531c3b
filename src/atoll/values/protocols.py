"""The versions of HTTP that a service speaks."""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """What the proxies speak to a service. AUTO is whatever the caller speaks: right where the service knows both."""

    AUTO = "auto"
    HTTP1 = "http1"
    HTTP2 = "http2"
