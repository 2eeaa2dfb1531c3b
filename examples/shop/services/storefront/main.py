"""The shop's pages. Keeps nothing itself; without recommendations it sells on, without the catalog it says so."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, quote

import basket
import flags
import pages
from calls import Unreachable, call
from server import Request, Response, serve, stopping

HTML = "text/html; charset=utf-8"
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
STATIC = {
    f"/static/{path.name}": Response(
        200, path.read_bytes(), TYPES[path.suffix], {"Cache-Control": "max-age=60", **SECURITY}
    )
    for path in (Path(__file__).parent / "static").iterdir()
    if path.suffix in TYPES
}
LOOK_AGAIN = 1.0
SIGN_OF_LIFE = 5.0


def app(request: Request) -> Response:
    if request.path == "/healthz":
        return Response(200, b'{"status": "ok"}')
    if request.path in STATIC and request.method == "GET":
        return STATIC[request.path]
    held = basket.read(request.headers.get("Cookie"))
    try:
        return _page(request, held)
    except Unreachable as error:
        print(f"{error} id={request.id}", flush=True)
        text = "Something behind this page does not answer. Your basket is safe; please try again in a moment."
        return _html(pages.sorry("We will be right back", text, basket=held), 503, {"Retry-After": "2"})


def _page(request: Request, held: dict[str, int]) -> Response:
    known = {
        ("GET", "/"): front,
        ("GET", "/basket"): show_basket,
        ("POST", "/basket"): add,
        ("POST", "/basket/change"): change,
        ("GET", "/checkout"): show_checkout,
        ("POST", "/checkout"): pay,
    }
    page = known.get((request.method, request.path))
    if page is not None:
        return page(request, held)
    where = request.path.split("/")
    if request.method == "GET" and len(where) in {3, 4} and where[1] == "orders" and where[2].isalnum():
        if len(where) == 3:
            return show_order(request, held, where[2])
        if where[3] == "events":
            return follow_order(request, where[2])
    return _not_found(held)


# --- looking and choosing -----------------------------------------------------------------------------------------


def front(request: Request, held: dict[str, int]) -> Response:
    products = _products(request)
    return _html(
        pages.shelf(products.values(), _suggested(request, held, products), held, request.query.get("added", ""))
    )


def show_basket(request: Request, held: dict[str, int]) -> Response:
    products = _products(request)
    lines, suggested = _lines(held, products), _suggested(request, held, products)
    quick = _quick(request)
    key = str(uuid.uuid4()) if quick.value else ""
    return _html(pages.basket_page(lines, suggested, held, key), headers=quick.headers)


def add(request: Request, held: dict[str, int]) -> Response:
    sku = _form(request).get("sku", "")
    if sku not in _products(request):
        return _not_found(held)
    after = basket.changed(held, sku, held.get(sku, 0) + 1)
    return _go(f"/?added={quote(sku)}", {"Set-Cookie": basket.cookie(after)})


def change(request: Request, held: dict[str, int]) -> Response:
    form = _form(request)
    wanted = "0" if "remove" in form else form.get("count", "")
    sku = form.get("sku", "")
    if sku not in held or not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= 3):
        return _go("/basket")
    return _go("/basket", {"Set-Cookie": basket.cookie(basket.changed(held, sku, int(wanted)))})


# --- buying -------------------------------------------------------------------------------------------------------


def _quick(request: Request) -> flags.Flag:
    """Whether this visitor pays on the basket page."""
    return flags.ask("quick-checkout", request.headers.get("Cookie"), request_id=request.id)


def show_checkout(request: Request, held: dict[str, int]) -> Response:
    lines = _lines(held, _products(request))
    return _html(pages.checkout(lines, str(uuid.uuid4()), held)) if lines else _go("/basket")


def pay(request: Request, held: dict[str, int]) -> Response:
    # What comes of it is counted for the page that led here, whichever that was.
    counted = {name: value for name, value in _quick(request).headers.items() if name == "X-Atoll-Flag"}
    response = _paid(request, held)
    return replace(response, headers={**response.headers, **counted})


def _paid(request: Request, held: dict[str, int]) -> Response:
    form = _form(request)
    key, name, card = form.get("key", ""), form.get("name", "").strip(), form.get("card", "")
    try:
        answer = call(
            "orders",
            "POST",
            "/orders",
            request_id=request.id,
            value={"items": held, "name": name, "card": card},
            headers={"Idempotency-Key": key},
        )
    except Unreachable as error:
        print(f"{error} id={request.id}", flush=True)
        text = "We could not reach the till, so nothing was ordered. Trying again is safe: you pay only once."
        return _checkout_again(request, held, key, name, text, 503)
    if answer.status in {200, 201}:
        return _go(f"/orders/{quote(answer.value['id'])}", {"Set-Cookie": basket.cookie({})})
    if answer.status == 402:
        text = "The bank said no to this card. Nothing was paid; perhaps another card?"
        return _checkout_again(request, held, str(uuid.uuid4()), name, text, 402)
    if not held:
        return _go("/basket")
    text = "That did not go through. Please look at your name and your basket, then try again."
    return _checkout_again(request, held, str(uuid.uuid4()), name, text, 422)


def _checkout_again(request: Request, held: dict[str, int], key: str, name: str, error: str, status: int) -> Response:
    lines = _lines(held, _products(request))
    return _html(pages.checkout(lines, key, held, error=error, name=name), status)


# --- waiting for it -----------------------------------------------------------------------------------------------


def show_order(request: Request, held: dict[str, int], order: str) -> Response:
    answer = call("orders", "GET", f"/orders/{order}", request_id=request.id)
    if answer.status == 404:
        text = "Orders live in the memory of one process here: when it was replaced, they went with it."
        return _html(pages.sorry("We do not know this order", text, basket=held), 404)
    return _html(pages.order_page(answer.value, held))


def follow_order(request: Request, order: str) -> Response:
    """Server-sent events (HTML standard, 9.2): `status` whenever it changes, a comment now and then."""
    answer = call("orders", "GET", f"/orders/{order}", request_id=request.id)
    if answer.status == 404:
        return Response(404, b'{"error": "no such order"}')
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(200, _events(request, order, answer.value), "text/event-stream", headers)


def _events(request: Request, order: str, value: Mapping[str, object]) -> Iterator[bytes]:
    yield b"retry: 500\n\n"
    told, told_at = "", time.monotonic()
    while not stopping.is_set():  # a browser then comes back by itself, and finds another instance
        status = str(value["status"])
        if status != told:
            told, told_at = status, time.monotonic()
            data = json.dumps({"status": status, "label": pages.LABELS.get(status, status)})
            yield f"event: status\ndata: {data}\n\n".encode()
        elif time.monotonic() - told_at > SIGN_OF_LIFE:
            told_at = time.monotonic()
            yield b": still here\n\n"
        stopping.wait(LOOK_AGAIN)
        try:
            answer = call("orders", "GET", f"/orders/{order}", request_id=request.id)
        except Unreachable as error:
            print(f"{error} id={request.id}", flush=True)
            continue  # the order has not changed as far as anybody knows
        if answer.status != 200:
            yield b"event: gone\ndata: {}\n\n"
            return
        value = answer.value


# --- from the other services --------------------------------------------------------------------------------------


def _products(request: Request) -> dict[str, pages.Product]:
    answer = call("catalog", "GET", "/api/products", request_id=request.id)
    if answer.status != 200:
        raise Unreachable(f"catalog answered {answer.status}")
    return {p["sku"]: p for p in answer.value["products"]}


def _suggested(
    request: Request, held: dict[str, int], products: Mapping[str, pages.Product]
) -> list[pages.Product] | None:
    """What goes well with the basket, None where nobody can say: the page is shown all the same."""
    try:
        answer = call("recommendations", "GET", f"/recommendations?for={','.join(held)}", request_id=request.id)
        return [products[sku] for sku in answer.value["skus"] if sku in products]
    except (Unreachable, KeyError, TypeError) as error:
        print(f"no suggestions: {error} id={request.id}", flush=True)
        return None


def _lines(held: Mapping[str, int], products: Mapping[str, pages.Product]) -> list[tuple[pages.Product, int]]:
    return [(products[sku], count) for sku, count in held.items() if sku in products]


# --- HTTP ---------------------------------------------------------------------------------------------------------


def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode("utf-8", "replace")))


def _html(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, body, HTML, {"Cache-Control": "no-store", **SECURITY, **(headers or {})})


def _go(where: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(303, b"", HTML, {"Location": where, "Cache-Control": "no-store", **(headers or {})})


def _not_found(held: dict[str, int]) -> Response:
    return _html(pages.sorry("There is nothing here", "Perhaps it drifted off.", basket=held), 404)


if __name__ == "__main__":
    serve(app)
