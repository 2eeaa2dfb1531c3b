"""
Deadlines across processes.

Over HTTP and gRPC what is left is sent, in milliseconds, so clocks need not agree. A message may wait in a broker,
so there the moment itself is sent, in milliseconds since 1970.

    x-envoy-expected-rq-timeout-ms   Envoy, HTTP connection manager headers
    grpc-timeout                     gRPC over HTTP/2, "Timeout"
    x-envoy-max-retries: 0           Envoy, router filter: who sends this retries itself

Who retries is one rule: the kit where the call is under a policy with a retry, and then it tells Envoy not to;
otherwise Envoy, by the system file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf, isfinite

from atoll.kit import clock
from atoll.kit.deadlines import remaining
from atoll.kit.pipeline import Pipeline
from atoll.kit.policy import Retry

EXPECTED = "x-envoy-expected-rq-timeout-ms"
GRPC = "grpc-timeout"
MAX_RETRIES = "x-envoy-max-retries"
MESSAGE = "atoll-deadline-ms"

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_MILLISECONDS = re.compile(r"[0-9]{1,15}")


def deadline_headers(*, hop: float = 0.0) -> dict[str, str]:
    """
    The header that tells an HTTP server how long it may take; empty without a deadline.

    Args:
        hop: seconds that the way there and back takes, which the server does not have.

    """
    left = remaining() - hop
    return {EXPECTED: str(max(0, int(left * 1000)))} if isfinite(left) else {}


def retry_headers(policy: Pipeline | None) -> dict[str, str]:
    """The header that says who retries: set where `policy` does, so that Envoy does not as well."""
    retries = policy is not None and any(isinstance(each, Retry) and each.retries for each in policy.settings)
    return {MAX_RETRIES: "0"} if retries else {}


def deadline_from(headers: Mapping[str, str]) -> float:
    """
    Seconds that the caller gives, from headers with lower-case names; `inf` where it says nothing readable.

    The nearer one counts where there are both of Envoy's and gRPC's.
    """
    found = _GRPC_TIMEOUT.fullmatch(headers.get(GRPC, ""))
    by_grpc = int(found[1]) * _UNITS[found[2]] if found else inf
    text = headers.get(EXPECTED, "")
    by_envoy = int(text) / 1000 if _MILLISECONDS.fullmatch(text) else inf
    return min(by_grpc, by_envoy)


def message_headers() -> dict[str, str]:
    """The header of a message that is worthless after the ambient deadline; empty without one."""
    left = remaining()
    return {MESSAGE: str(int((clock.wall() + left) * 1000))} if isfinite(left) else {}


def deadline_from_message(headers: Mapping[str, str]) -> float:
    """Seconds that are left for a message: 0.0 when it came too late, `inf` where it may wait for ever."""
    text = headers.get(MESSAGE, "")
    return max(0.0, int(text) / 1000 - clock.wall()) if _MILLISECONDS.fullmatch(text) else inf
