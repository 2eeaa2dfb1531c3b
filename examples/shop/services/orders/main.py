"""
Takes orders, once each: the same Idempotency-Key is the same order, however often it is sent.

Orders live in memory. Their id comes from the key, so that a repeated request finds the same order or makes the same
one again. The prices are the catalog's; what a caller says about prices does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from calls import Unreachable, call
from server import Request, Response, serve

STEP = float(os.environ.get("STEP_SECONDS", "6"))
STATES = ("placed", "packed", "shipped", "delivered")
QUOTE = "/api/quote"
SHIPPING = 490
FREE_ABOVE = 10_000
MOST_ORDERS = 10_000
MOST_LINES = 20
MOST_OF_ONE = 20
_KEY = re.compile(r"[A-Za-z0-9_-]{8,80}")


@dataclass(frozen=True)
class Order:
    id: str
    asked: bytes
    lines: list[dict[str, object]]
    total: int
    name: str
    charge: str
    placed: float

    def shown(self) -> dict[str, object]:
        step = min(int((time.time() - self.placed) / STEP), len(STATES) - 1)
        return {
            "id": self.id,
            "status": STATES[step],
            "states": STATES,
            "lines": self.lines,
            "total": self.total,
            "name": self.name,
            "charge": self.charge,
            "placed": self.placed,
        }


class Refused(Exception):
    """The answer is no; carries it."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.response = _json(status, {"error": error})


class Book:
    """The orders, and a lock per key so that two at once with the same key make one order."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, Order] = OrderedDict()
        self._placing: dict[str, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    def find(self, order: str) -> Order | None:
        with self._lock:
            return self._orders.get(order)

    def keep(self, order: Order) -> None:
        with self._lock:
            self._orders[order.id] = order
            if len(self._orders) > MOST_ORDERS:
                self._orders.popitem(last=False)

    def enter(self, key: str) -> threading.Lock:
        with self._lock:
            lock, users = self._placing.get(key, (threading.Lock(), 0))
            self._placing[key] = (lock, users + 1)
        return lock

    def leave(self, key: str) -> None:
        with self._lock:
            lock, users = self._placing.pop(key)
            if users > 1:
                self._placing[key] = (lock, users - 1)


BOOK = Book()


def app(request: Request) -> Response:
    if request.path == "/healthz":
        return _json(200, {"status": "ok"})
    if request.path == QUOTE and request.method == "GET":
        return quote(request)
    if request.path == "/orders" and request.method == "POST":
        return place(request)
    if request.path.startswith("/orders/") and request.method == "GET":
        order = BOOK.find(request.path.removeprefix("/orders/"))
        return _json(200, order.shown()) if order else _json(404, {"error": "no such order"})
    return _json(404, {"error": "nothing here"})


def quote(request: Request) -> Response:
    """What a basket would cost, `?mug=2&lamp=1`; nothing is ordered. Amounts are cents."""
    items = {sku: int(n) for sku, n in request.query.items() if n.isascii() and n.isdecimal() and len(n) < 3}
    right = 1 <= len(items) <= MOST_LINES and len(items) == len(request.query)
    if not right or not all(1 <= n <= MOST_OF_ONE for n in items.values()):
        return _json(422, {"error": f"write /api/quote?mug=2&lamp=1, 1 to {MOST_OF_ONE} of each"})
    try:
        lines = _priced(items, request.id)
    except Refused as no:
        return no.response
    except Unreachable as error:
        print(f"no quote: {error} id={request.id}", flush=True)
        return _json(503, {"error": "the catalog does not answer"})
    total = sum(int(line["price"]) * int(line["count"]) for line in lines)
    shipping = 0 if total >= FREE_ABOVE else SHIPPING
    return _json(200, {"lines": lines, "total": total, "shipping": shipping, "currency": "EUR"})


def place(request: Request) -> Response:
    key = request.headers.get("Idempotency-Key") or ""
    if not _KEY.fullmatch(key):
        return _json(400, {"error": "an Idempotency-Key of 8 to 80 letters, digits, - or _ is needed"})
    try:
        with BOOK.enter(key):
            order_id = hashlib.sha256(key.encode()).hexdigest()[:12]
            known = BOOK.find(order_id)
            if known is None:
                order = _new(order_id, key, request)
                BOOK.keep(order)
                return _json(201, order.shown())
            if known.asked != _asked(request.body):
                raise Refused(422, "this Idempotency-Key was used for another order")
            return _json(200, known.shown())
    except Refused as no:
        return no.response
    except Unreachable as error:
        print(f"order not placed: {error} id={request.id}", flush=True)
        return _json(503, {"error": "the order was not placed; sending it again is safe"})
    finally:
        BOOK.leave(key)


def _new(order_id: str, key: str, request: Request) -> Order:
    wanted = _wanted(request.body)
    lines = _priced(wanted["items"], request.id)
    total = sum(int(line["price"]) * int(line["count"]) for line in lines)
    paid = call(
        "payments",
        "POST",
        "/charges",
        request_id=request.id,
        value={"order": order_id, "amount": total, "currency": "EUR", "card": wanted["card"]},
        headers={"Idempotency-Key": key},
    )
    if paid.status == 402:
        raise Refused(402, "the card was declined")
    if paid.status not in {200, 201}:
        raise Unreachable(f"payments answered {paid.status}")
    return Order(order_id, _asked(request.body), lines, total, wanted["name"], paid.value["id"], time.time())


def _priced(items: dict[str, int], request_id: str) -> list[dict[str, object]]:
    answer = call("catalog", "GET", "/api/products", request_id=request_id)
    products = {p["sku"]: p for p in answer.value["products"]}
    missing = [sku for sku in items if sku not in products]
    if missing:
        raise Refused(422, f"not in the catalog: {', '.join(missing)}")
    return [
        {"sku": sku, "name": products[sku]["name"], "price": products[sku]["price"], "count": count}
        for sku, count in items.items()
    ]


def _wanted(body: bytes) -> dict:
    """The order asked for: `items` (sku to count), `name`, `card`. Raises `Refused`."""
    try:
        value = json.loads(body)
        items, name, card = value["items"], value["name"].strip(), value["card"]
        right = (
            isinstance(card, str)
            and 1 <= len(name) <= 80
            and 1 <= len(items) <= MOST_LINES
            and all(isinstance(sku, str) and type(n) is int and 1 <= n <= MOST_OF_ONE for sku, n in items.items())
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        right = False
    if not right:
        raise Refused(422, 'write {"items": {"mug": 1}, "name": "…", "card": "…"}')
    return {"items": items, "name": name, "card": card}


def _asked(body: bytes) -> bytes:
    """What makes two requests the same: the value, not how it is written."""
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except ValueError:
        return body


def _json(status: int, value: object) -> Response:
    return Response(status, json.dumps(value).encode())


if __name__ == "__main__":
    serve(app)
