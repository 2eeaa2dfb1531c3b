"""The basket, as text in a cookie: any instance can serve any visitor. `mug.2~lamp.1` is two mugs and a lamp."""

from __future__ import annotations

import re
from http.cookies import CookieError, SimpleCookie

COOKIE = "basket"
MOST_LINES = 20
MOST_OF_ONE = 20
_LINE = re.compile(r"([a-z]{1,20})\.([1-9]\d?)")


def read(cookies: str | None) -> dict[str, int]:
    """The basket of a Cookie header; what makes no sense is left out."""
    try:
        morsel = SimpleCookie(cookies or "").get(COOKIE)
    except CookieError:
        return {}
    lines = (_LINE.fullmatch(line) for line in (morsel.value if morsel else "").split("~"))
    found = {match[1]: min(int(match[2]), MOST_OF_ONE) for match in lines if match}
    return dict(list(found.items())[:MOST_LINES])


def cookie(basket: dict[str, int]) -> str:
    """The Set-Cookie header that keeps the basket."""
    text = "~".join(f"{sku}.{count}" for sku, count in basket.items())
    age = 30 * 86400 if text else 0
    return f"{COOKIE}={text}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax"


def changed(basket: dict[str, int], sku: str, count: int) -> dict[str, int]:
    """The basket with so many of one product; none of it takes it out."""
    rest = {**basket, sku: min(count, MOST_OF_ONE)}
    return {s: n for s, n in rest.items() if n > 0}
