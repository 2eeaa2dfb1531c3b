"""Orders that got slower: a quote takes half as long again."""

from __future__ import annotations

import time

import base
from server import Request, Response, serve

SLOWER = 0.5


def app(request: Request) -> Response:
    began = time.perf_counter()
    response = base.app(request)
    if request.path == base.QUOTE:
        time.sleep(SLOWER * (time.perf_counter() - began))
    return response


if __name__ == "__main__":
    serve(app)
