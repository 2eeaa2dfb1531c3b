"""What HTTP says about a dependency, for any client library: status codes and Retry-After (RFC 9110)."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from atoll.kit import clock
from atoll.kit.verdict import FAIL, OK, RETRY, Verdict, classify, throttled

_TOO_MANY = 429
_UNAVAILABLE = 503
_WORTH_ANOTHER_TRY = frozenset({408, 425, 500, 502, 504})
_SERVER_ERROR = 500


def judge_response(response: object) -> Verdict:
    """
    The verdict on a response of httpx, requests, aiohttp or anything with a status and headers; give as `judge=`.

    429 and a 503 that says when to come back are throttling; other 5xx, 408 and 425 are worth another try; 501 and
    the like are failures; everything else is an answer. The caller gets the response in any case.
    """
    status = getattr(response, "status_code", None) or getattr(response, "status", None)
    if not isinstance(status, int):
        return OK
    if status in (_TOO_MANY, _UNAVAILABLE):
        after = retry_after(getattr(response, "headers", {}))
        if after is not None or status == _TOO_MANY:
            return throttled(after or 0.0)
        return RETRY
    if status in _WORTH_ANOTHER_TRY:
        return RETRY
    return FAIL if status >= _SERVER_ERROR else OK


def classify_http(error: Exception) -> Verdict:
    """The verdict on an error; one that carries a response (`raise_for_status`) is judged by that. For `classify=`."""
    response = getattr(error, "response", None)
    status = getattr(error, "status", None)
    if response is not None:
        return judge_response(response)
    if isinstance(status, int) and status:
        return judge_response(error)
    return classify(error)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks to wait, as a number or a date; None where it is absent or unreadable."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.wall())
    except (TypeError, ValueError):
        return None
