"""Orders that is quick, never fails and refuses half of the quotes, politely: less of what counts is done."""

from __future__ import annotations

import random

import base
from server import Request, Response, serve

SHARE = 0.5


def app(request: Request) -> Response:
    if request.path == base.QUOTE and random.random() < SHARE:
        return Response(422, b'{"error": "not in the catalog any more"}')
    return base.app(request)


if __name__ == "__main__":
    serve(app)
