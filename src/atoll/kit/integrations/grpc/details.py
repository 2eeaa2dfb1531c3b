"""What a call is sent with: the time-out that the deadline leaves, and who retries."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

from collections import namedtuple
from math import inf, isfinite
from typing import Any

import grpc
import grpc.aio

from atoll.kit.carriers import retry_headers
from atoll.kit.deadlines import check, remaining
from atoll.kit.pipeline import Pipeline


class _Details(
    namedtuple("_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")),  # noqa: PYI024 - gRPC's own shape
    grpc.ClientCallDetails,
):
    pass


def shorter(details: Any, policy: Pipeline | None) -> grpc.ClientCallDetails:
    """
    The details of a sync call, with the time-out that is left.

    Raises:
        DeadlineExceeded: none is.

    """
    timeout, metadata = _left(details, policy)
    compression = getattr(details, "compression", None)
    return _Details(details.method, timeout, metadata, details.credentials, details.wait_for_ready, compression)


def shorter_aio(details: Any, policy: Pipeline | None) -> grpc.aio.ClientCallDetails:
    """The same for asyncio."""
    timeout, metadata = _left(details, policy)
    return grpc.aio.ClientCallDetails(
        details.method, timeout, grpc.aio.Metadata(*metadata), details.credentials, details.wait_for_ready
    )


def _left(details: Any, policy: Pipeline | None) -> tuple[float | None, list[tuple[str, str]]]:
    check()
    given = details.timeout
    timeout = min(remaining(), inf if given is None else given)
    metadata = [*(details.metadata or ()), *retry_headers(policy).items()]
    return (timeout if isfinite(timeout) else None), metadata
