"""What goes well with what. Nice to have: the shop sells without it."""

from __future__ import annotations

import json
import os

from server import Request, Response, serve

GOES_WITH = {
    "mug": ("notebook", "lamp", "clock"),
    "lamp": ("notebook", "hammock", "mug"),
    "clock": ("compass", "notebook", "shell"),
    "hammock": ("lamp", "mug", "kite"),
    "compass": ("notebook", "clock", "kite"),
    "notebook": ("mug", "compass", "lamp"),
    "kite": ("hammock", "compass", "shell"),
    "shell": ("kite", "clock", "compass"),
}
POPULAR = ("mug", "notebook", "hammock")
MOST = int(os.environ.get("MOST", "3"))


def app(request: Request) -> Response:
    if request.path == "/healthz":
        return _json(200, {"status": "ok"})
    if request.path != "/recommendations" or request.method != "GET":
        return _json(404, {"error": "nothing here"})
    return _json(200, {"skus": recommend(request.query.get("for", "").split(","))})


def recommend(basket: list[str]) -> list[str]:
    """What goes best with the basket and is not in it, the best first; what is popular where nothing does."""
    scores: dict[str, int] = {}
    for sku in basket:
        for place, other in enumerate(GOES_WITH.get(sku, ())):
            scores[other] = scores.get(other, 0) + 3 - place
    ranked = sorted((sku for sku in scores if sku not in basket), key=lambda sku: -scores[sku])
    return (ranked or [sku for sku in POPULAR if sku not in basket])[:MOST]


def _json(status: int, value: object) -> Response:
    return Response(status, json.dumps(value).encode())


if __name__ == "__main__":
    serve(app)
