"""What the shop sells, and for how much (in cents)."""

from __future__ import annotations

import json

from server import Request, Response, serve

PRODUCTS = [
    {
        "sku": "mug",
        "name": "Lagoon mug",
        "price": 1890,
        "about": "Stoneware, glazed the blue of shallow water. Holds three deciliters and survives the dishwasher.",
    },
    {
        "sku": "lamp",
        "name": "Reef lamp",
        "price": 6400,
        "about": "A warm, dimmable light behind folded paper. Made to be read by, not to be looked at.",
    },
    {
        "sku": "clock",
        "name": "Tide clock",
        "price": 4950,
        "about": "One hand, twelve hours and twenty-five minutes. Tells you when the water comes back.",
    },
    {
        "sku": "hammock",
        "name": "Two-palm hammock",
        "price": 8900,
        "about": "Woven cotton for one person and a book. Two palms not included, two hooks are.",
    },
    {
        "sku": "compass",
        "name": "Pocket compass",
        "price": 3200,
        "about": "Brass, with a lid. Points north without a battery, an account or an update.",
    },
    {
        "sku": "notebook",
        "name": "Logbook",
        "price": 1450,
        "about": "A hundred and sixty dotted pages that lie flat. For what happened, in the order it happened.",
    },
    {
        "sku": "kite",
        "name": "Trade-wind kite",
        "price": 2700,
        "about": "Flies in the lightest breeze and folds down to the length of an umbrella.",
    },
    {
        "sku": "shell",
        "name": "Shell whistle",
        "price": 990,
        "about": "Loud. Please read the card that comes with it before trying it indoors.",
    },
]
BY_SKU = {product["sku"]: json.dumps(product).encode() for product in PRODUCTS}
ALL = json.dumps({"products": PRODUCTS}).encode()
HEADERS = {"Cache-Control": "max-age=30"}


def app(request: Request) -> Response:
    if request.method != "GET":
        return Response(405, b'{"error": "the catalog can only be read"}', headers={"Allow": "GET, HEAD"})
    if request.path == "/healthz":
        return Response(200, b'{"status": "ok"}')
    if request.path == "/api/products":
        return Response(200, ALL, headers=HEADERS)
    product = BY_SKU.get(request.path.removeprefix("/api/products/"))
    return Response(200, product, headers=HEADERS) if product else Response(404, b'{"error": "no such product"}')


if __name__ == "__main__":
    serve(app)
