"""Releases of flags in WSGI applications: every answer says what its request got."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from atoll.kit.flags.seen import HEADER, header, watching
from atoll.kit.integrations.wsgi import App, Environ, StartResponse

T = TypeVar("T")


class FlagMiddleware:
    """
    Adds `x-atoll-flag: NAME=VARIANT` to the answers of requests that were given a flag which is being released.

    The platform counts answers by it, to judge the release. Put it around all else: a failure before the answer has
    begun is answered here with 500, so that it counts, and written to `wsgi.errors`. What is asked for after
    `start_response` comes too late for the header.

    Args:
        app: the application; its flags come from a `FlagClient`.

    """

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request, as WSGI says."""
        request = _Request(environ, start_response)
        try:
            body = request.run(lambda: self._app(environ, request.start))
        except Exception as error:  # noqa: BLE001 - it is raised on, or written down
            return request.failed(error)
        return _Body(body, request)


class _Request:
    """One request and what it has got."""

    def __init__(self, environ: Environ, start_response: StartResponse) -> None:
        self._environ = environ
        self._start_response = start_response
        self._seen: dict[str, str] = {}
        self._answered = False

    def run(self, step: Callable[[], T]) -> T:
        """A step of it: what is evaluated in here is seen."""
        with watching(self._seen):
            return step()

    def start(self, status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        """The application's `start_response`."""
        self._answered = True
        added = [(HEADER, header(self._seen))] if self._seen else []
        return self._start_response(status, [*headers, *added], *error)

    def failed(self, error: Exception) -> Iterable[bytes]:
        """The answer to a failure; raises it on where it is not ours to give."""
        if self._answered or not self._seen:
            raise error
        traceback.print_exception(error, file=self._environ.get("wsgi.errors", sys.stderr))
        body = b"Internal Server Error"
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        self.start("500 Internal Server Error", headers, (type(error), error, error.__traceback__))
        return [body]


class _Body:
    """A body whose steps belong to the request."""

    def __init__(self, body: Iterable[bytes], request: _Request) -> None:
        self._body = body
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        try:
            steps = self._request.run(lambda: iter(self._body))
            while (piece := self._request.run(lambda: next(steps, None))) is not None:
                yield piece
        except Exception as error:  # noqa: BLE001 - it is raised on, or written down
            yield from self._request.failed(error)

    def close(self) -> None:
        """Lets go of the application's body."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._request.run(close)
