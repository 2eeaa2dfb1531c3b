"""What all handlers of the API share: answers, refusals, bodies, numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from atoll import wire
from atoll.errors import AtollError, Conflict, Failed, Refused, Unavailable

T = TypeVar("T")

STATUS = {Refused: 422, Conflict: 409, Unavailable: 503, Failed: 500}
BIGGEST_REQUEST = 8 * 1024 * 1024
LONGEST_NUMBER = 18


def answer(value: object, code: int = 200) -> Response:
    """A JSON response."""
    return Response(wire.encode(value), status_code=code, media_type="application/json")


def guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Turn our errors into refusals with a fitting status."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except AtollError as error:
            code = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
            kind = next((k.__name__ for k in STATUS if isinstance(error, k)), "Failed")
            return answer(wire.Refusal(kind, error.message, error.hint), code)

    return handle


async def body(request: Request, kind: type[T]) -> T:
    """The request's body, of one shape. Raises `errors.Refused` where it is too big or not of that shape."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > BIGGEST_REQUEST:
            raise Refused("the request is larger than 8 MiB")
    try:
        return wire.decode(data, kind)
    except msgspec.DecodeError as error:
        raise Refused(f"the request is not understood: {error}") from error


def number(request: Request, name: str, default: int) -> int:
    """A whole number from the query. Raises `errors.Refused` where it is none that the store could hold."""
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or len(text) > LONGEST_NUMBER:
        raise Refused(f"{name} has to be a whole number of at most {LONGEST_NUMBER} digits, not {text!r}")
    return int(text)
