"""Every value with where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from atoll.errors import Refused
from atoll.model.explain import explain
from atoll.model.fields import known
from atoll.model.load import loads
from atoll.model.system import System

GOLDEN = Path(__file__).parents[2] / "golden" / "model"
TEXT = """\
system: shop
services:
  orders:
    source: orders
    health: {ready: /ready}
    routes: [/orders]
    calls:
      payments: {timeout: 800ms, retries: 1}
      https://api.example.org:443: {breaker: {errors: 50%}}
  payments: {source: payments}
"""
SYSTEM = loads(TEXT, file="atoll.yaml", directory="/d")


def one(subject: str) -> tuple[str, str]:
    (found,) = explain(SYSTEM, subject)
    assert found.meaning
    return found.value, found.origin


@pytest.mark.parametrize(
    ("subject", "value", "origin"),
    [
        ("orders.calls.payments.timeout", "800ms", "atoll.yaml:8:18"),
        ("orders.calls.payments.retries.count", "1", "atoll.yaml:8:34"),
        ("orders.calls.payments.queue", "1024", "default: then refuse at once"),
        ("orders.calls.https://api.example.org.breaker.errors", "50%", "atoll.yaml:9:47"),
        (
            "orders.calls.https://api.example.org.breaker.consecutive",
            "none",
            "default: `errors` decides in its place",
        ),
        ("orders.health.ready.path", "/ready", "atoll.yaml:5:21"),
        ("orders.routes.0.path", "/orders", "atoll.yaml:6:14"),
        ("orders.instances", "1", "default: start small"),
        ("payments.calls", "none", "default: may call nobody"),
        ("payments.health.path", "none", "default: without a path it is a TCP connect"),
        ("gateway.listen", "127.0.0.1:8080", "default: reachable from this machine only, until you say otherwise"),
    ],
)
def test_one_value(subject: str, value: str, origin: str) -> None:
    assert one(subject) == (value, origin)


def test_a_part_is_everything_inside_it() -> None:
    found = explain(SYSTEM, "orders.calls.payments.breaker")
    assert [e.path.rpartition(".")[2] for e in found] == ["errors", "consecutive", "min-calls", "window", "open"]
    assert len(explain(SYSTEM, "orders")) > len(found)


def test_the_name_of_the_file_is_the_one_given() -> None:
    assert explain(SYSTEM, "orders.source", file="other.yaml")[0].origin == "other.yaml:4:5"


@pytest.mark.parametrize(
    ("subject", "hint"),
    [
        ("ordrs", "did you mean orders?"),
        ("gatway", "did you mean gateway?"),
        ("warehouse", "write one of: gateway, orders, payments"),
        ("orders.instnces", "did you mean orders.instances?"),
        ("orders.calls.paymnts", "did you mean orders.calls.payments?"),
        ("orders.zzzzzz", "see them all with `atoll explain orders`"),
        ("", "write one of: gateway, orders, payments"),
    ],
)
def test_what_is_not_there(subject: str, hint: str) -> None:
    with pytest.raises(Refused) as caught:
        explain(SYSTEM, subject)
    assert caught.value.hint == hint


def good() -> list[System]:
    cases = [path for path in sorted(GOLDEN.glob("*.in.yaml")) if not path.name.startswith("bad-")]
    return [loads(path.read_text(encoding="utf-8"), file="f", directory="/d") for path in cases]


@pytest.mark.parametrize("system", good(), ids=lambda system: system.name)
def test_every_value_has_an_origin(system: System) -> None:
    for name in ("gateway", *system.services):
        for found in explain(system, name):
            origin = system.origins[found.path]
            assert (origin.line > 0) != bool(origin.reason)


def test_everything_that_a_service_may_say_is_told() -> None:
    """So it is in a plan, too: what a plan does not see is never applied."""
    system = loads(TEXT, file="atoll.yaml", directory="")
    told = {one.path.split(".")[2] for one in explain(system, "orders")}
    assert told == {key for key, field in known("service").items() if not field.later}
