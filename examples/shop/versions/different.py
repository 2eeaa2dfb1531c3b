"""Orders that is quick and never fails, and charges no shipping: one field of one answer is another."""

from __future__ import annotations

import json

import base
from server import Request, Response, serve


def app(request: Request) -> Response:
    response = base.app(request)
    if request.path != base.QUOTE or response.status != 200 or not isinstance(response.body, bytes):
        return response
    return Response(200, json.dumps(json.loads(response.body) | {"shipping": 0}).encode())


if __name__ == "__main__":
    serve(app)
