"""Deadlines for WSGI applications (Flask, Django, Bottle)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from atoll.kit import clock
from atoll.kit.admission import Admission
from atoll.kit.carriers import EXPECTED, GRPC, deadline_from
from atoll.kit.deadlines import deadline
from atoll.kit.faults import DeadlineExceeded

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

_NAMES = {each: "HTTP_" + each.upper().replace("-", "_") for each in (EXPECTED, GRPC)}


class DeadlineMiddleware:
    """
    Gives every request the deadline its caller sent, and answers 504 when none is left.

    A thread cannot be interrupted: what the application calls is refused or shortened by its own policies. The
    deadline holds until the application returns its body; a body made step by step is not under it.

    Args:
        app: the application.
        default: seconds for requests that bring no deadline.
        share: see `Admission`.

    """

    def __init__(self, app: App, default: float = inf, share: float = 0.5) -> None:
        self._app = app
        self._default = default
        self.admission = Admission(share)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request, as WSGI says."""
        headers = {name: environ[key] for name, key in _NAMES.items() if key in environ}
        left = min(self._default, deadline_from(headers))
        if left == inf:
            return self._app(environ, start_response)
        began = clock.now()
        try:
            self.admission.check(left)
            with deadline(left, f"{environ.get('REQUEST_METHOD', '')} {environ.get('PATH_INFO', '')}"):
                body = self._app(environ, start_response)
        except DeadlineExceeded as error:
            start_response("504 Gateway Timeout", [("Content-Type", "text/plain; charset=utf-8")])
            return [str(error).encode()]
        self.admission.record(clock.now() - began)
        return body
