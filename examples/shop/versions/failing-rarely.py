"""Orders with a bug that is easy to miss: one quote in fifty fails."""

from __future__ import annotations

import random

import base
from server import Request, Response, serve

SHARE = 0.02


def app(request: Request) -> Response:
    if request.path == base.QUOTE and random.random() < SHARE:
        return Response(500, b'{"error": "a bug of this version"}')
    return base.app(request)


if __name__ == "__main__":
    serve(app)
