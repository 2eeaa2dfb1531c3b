"""What a status of gRPC says about a dependency."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

import grpc

from atoll.kit.verdict import FAIL, IGNORE, OK, RETRY, Verdict, throttled
from atoll.kit.verdict import classify as default_classify

_CALLER_IS_WRONG = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
    }
)


def classify(error: Exception) -> Verdict:
    """What a status of gRPC says (its guide "Status codes and their use"): UNAVAILABLE is worth another try."""
    code = error.code() if isinstance(error, grpc.RpcError) and hasattr(error, "code") else None
    match code.name if code is not None else None:
        case None:
            return default_classify(error)
        case "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "ABORTED":
            return RETRY
        case "RESOURCE_EXHAUSTED":
            return throttled(0.0)
        case "CANCELLED":
            return IGNORE
        case name:
            return OK if name in _CALLER_IS_WRONG else FAIL
