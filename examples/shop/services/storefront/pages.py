"""The pages, as functions from values to HTML. Everything that came from elsewhere goes through `escape`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from pictures import picture

LABELS = {
    "placed": "Placed",
    "packed": "Packed",
    "shipped": "On its way",
    "delivered": "Delivered",
}
CARDS = {
    "card-ok": "Card ending in 4242",
    "card-declined": "Card ending in 0002 (the bank will say no)",
}
Product = Mapping[str, object]


def money(cents: object) -> str:
    return f"€{int(str(cents)) / 100:,.2f}"


def layout(title: str, main: str, *, basket: Mapping[str, int], head: str = "", message: str = "") -> bytes:
    """A whole page; *message* is read out by screen readers as it opens."""
    count = sum(basket.values())
    things = "1 thing" if count == 1 else f"{count} things"
    said = f'<p class="message" role="status">{escape(message)}</p>' if message else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · Atoll Outfitters</title>
<link rel="stylesheet" href="/static/style.css">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
{head}</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="/"><span class="ring" aria-hidden="true"></span>Atoll Outfitters</a>
<nav aria-label="Shop"><a class="basket" href="/basket">Basket <span class="count">{count}</span>\
<span class="hidden">({things})</span></a></nav>
</header>
<main id="main">
{said}{main}
</main>
<footer><p>A make-believe shop: no money moves, nothing is shipped, and every page was put together by five services \
that found each other.</p></footer>
</body>
</html>
""".encode()


def shelf(products: Iterable[Product], suggested: list[Product] | None, basket: Mapping[str, int], added: str) -> bytes:
    """The front page."""
    products = list(products)
    cards = "".join(card(p) for p in products)
    named = next((str(p["name"]) for p in products if p["sku"] == added), "")
    main = f"""<section class="hero"><h1>Small things for a long stay</h1>
<p>Eight objects that we would take to an island, and nothing else.</p></section>
<section aria-labelledby="all"><h2 id="all" class="hidden">All products</h2><ul class="grid">{cards}</ul></section>
{suggestions(suggested, basket)}"""
    return layout("Shop", main, basket=basket, message=f"{named} is in your basket." if named else "")


def card(product: Product) -> str:
    sku, name = escape(str(product["sku"])), escape(str(product["name"]))
    return f"""<li class="card">{picture(sku)}
<div class="words"><h3>{name}</h3><p>{escape(str(product["about"]))}</p></div>
<form method="post" action="/basket" class="buy"><strong>{money(product["price"])}</strong>
<input type="hidden" name="sku" value="{sku}">
<button>Add to basket<span class="hidden">: {name}</span></button></form></li>"""


def suggestions(products: list[Product] | None, basket: Mapping[str, int]) -> str:
    """What goes well with the basket; None where nobody can say at the moment."""
    if products is None:
        return '<p class="quiet" id="no-suggestions">Our suggestions are having a rest. Everything else is open.</p>'
    if not products:
        return ""
    items = "".join(
        f"""<li>{picture(escape(str(p["sku"])), "suggested")}<span>{escape(str(p["name"]))}<br>{money(p["price"])}</span>
<form method="post" action="/basket"><input type="hidden" name="sku" value="{escape(str(p["sku"]))}">
<button class="small">Add<span class="hidden"> {escape(str(p["name"]))}</span></button></form></li>"""
        for p in products
    )
    title = "Goes well with your basket" if basket else "Often taken along"
    return f"""<section class="suggested" aria-labelledby="suggested"><h2 id="suggested">{title}</h2>
<ul>{items}</ul></section>"""


def basket_page(
    lines: list[tuple[Product, int]], suggested: list[Product] | None, basket: Mapping[str, int], key: str = ""
) -> bytes:
    """The basket; with a *key* it is paid for here and now."""
    if not lines:
        main = '<h1>Your basket is empty</h1><p><a class="button" href="/">Back to the shop</a></p>'
        return layout("Basket", main, basket=basket)
    rows = "".join(_row(product, count) for product, count in lines)
    main = f"""<h1>Your basket</h1>
<table><thead><tr><th scope="col">Product</th><th scope="col">How many</th>
<th scope="col" class="number">Price</th></tr></thead>
<tbody>{rows}</tbody>
<tfoot><tr><th scope="row" colspan="2">Total</th><td class="number">{money(_total(lines))}</td></tr></tfoot></table>
{_payment(lines, key) if key else _GO_ON}
{suggestions(suggested, basket)}"""
    return layout("Basket", main, basket=basket)


_GO_ON = """<p class="actions"><a href="/">Look around</a>
<a class="button" href="/checkout">Go to checkout</a></p>"""


def _row(product: Product, count: int) -> str:
    sku, name = escape(str(product["sku"])), escape(str(product["name"]))
    return f"""<tr><th scope="row">{name}</th><td>
<form method="post" action="/basket/change" class="change"><input type="hidden" name="sku" value="{sku}">
<label class="hidden" for="n-{sku}">How many of {name}</label>
<input id="n-{sku}" name="count" type="number" min="0" max="20" value="{count}" inputmode="numeric">
<button class="small">Update<span class="hidden"> {name}</span></button>
<button class="small plain" name="remove" value="1">Remove<span class="hidden"> {name}</span></button></form></td>
<td class="number">{money(int(str(product["price"])) * count)}</td></tr>"""


def checkout(
    lines: list[tuple[Product, int]], key: str, basket: Mapping[str, int], *, error: str = "", name: str = ""
) -> bytes:
    """The form; *key* makes sure that sending it twice is one order."""
    wrong = f'<div class="error" role="alert"><p>{escape(error)}</p></div>' if error else ""
    items = "".join(f"<li>{n} × {escape(str(p['name']))}</li>" for p, n in lines)
    main = f"""<h1>Checkout</h1>{wrong}
<div class="columns">{_payment(lines, key, name)}
<aside aria-label="What you buy"><h2>What you buy</h2><ul>{items}</ul>
<p><strong>{money(_total(lines))}</strong> in total</p><p><a href="/basket">Change it</a></p></aside></div>"""
    return layout("Checkout", main, basket=basket)


def _payment(lines: list[tuple[Product, int]], key: str, name: str = "") -> str:
    cards = "".join(f'<option value="{value}">{escape(label)}</option>' for value, label in CARDS.items())
    return f"""<form method="post" action="/checkout" class="checkout">
<input type="hidden" name="key" value="{escape(key)}">
<label for="name">Your name</label>
<input id="name" name="name" required maxlength="80" autocomplete="name" value="{escape(name)}">
<label for="card">Pay with</label><select id="card" name="card">{cards}</select>
<button>Pay {money(_total(lines))}</button>
<p class="quiet">Pressing it twice is one order.</p></form>"""


def order_page(order: Mapping[str, object], basket: Mapping[str, int]) -> bytes:
    """The status of an order, which moves by itself."""
    number, status = escape(str(order["id"])), str(order["status"])
    states = [str(s) for s in order["states"]]  # type: ignore[attr-defined]
    reached = states.index(status)
    steps = "".join(_step(state, place, reached) for place, state in enumerate(states))
    items = "".join(
        f"<li>{line['count']} × {escape(str(line['name']))}</li>"
        for line in order["lines"]  # type: ignore[attr-defined]
    )
    main = f"""<h1>Thank you, {escape(str(order["name"]))}</h1>
<p>Your order <code>{number}</code> over <strong>{money(order["total"])}</strong> is with us.</p>
<ol class="steps" data-order="{number}">{steps}</ol>
<p role="status" id="now">{LABELS.get(status, escape(status))}.</p>
<p class="quiet" id="line"></p>
<h2>What you bought</h2><ul>{items}</ul><p><a class="button" href="/">Back to the shop</a></p>"""
    head = """<script src="/static/order.js" defer></script>
<noscript><meta http-equiv="refresh" content="5"></noscript>
"""
    return layout(f"Order {order['id']}", main, basket=basket, head=head)


def _step(state: str, place: int, reached: int) -> str:
    done = "done" if place <= reached else ""
    current = ' aria-current="step"' if place == reached else ""
    return f'<li data-state="{escape(state)}" class="{done}"{current}>{escape(LABELS.get(state, state))}</li>'


def sorry(title: str, text: str, *, basket: Mapping[str, int]) -> bytes:
    """Something does not work, or is not there; said in the shop's own words."""
    main = f'<h1>{escape(title)}</h1><p>{escape(text)}</p><p><a class="button" href="/">To the shop</a></p>'
    return layout(title, main, basket=basket)


def _total(lines: list[tuple[Product, int]]) -> int:
    return sum(int(str(p["price"])) * n for p, n in lines)
