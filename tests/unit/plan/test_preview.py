from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.load import loads
from atoll.model.system import (
    Call,
    CallPolicy,
    Check,
    Gateway,
    Health,
    Resources,
    Rollout,
    Route,
    RuntimeKind,
    Service,
    Step,
    System,
)
from atoll.plan.decisions import Pin
from atoll.plan.preview import FieldChange, Kind, preview
from atoll.plan.recipes import recipe
from atoll.values.protocols import Protocol

ORDERS = Service("orders", source="orders", instances=2, calls=(Call("catalog"),), routes=(Route("/"),))
CATALOG = Service("catalog", source="catalog")


def system(*services, gateway=None):
    return System("shop", gateway or Gateway(), {s.name: s for s in services}, "")


NOW = system(ORDERS, CATALOG)
PINS = {
    name: Pin(replace(recipe(NOW, s, artifact="a" * 64, argv=("run",)), release=1)) for name, s in NOW.services.items()
}
SAME = {"orders": "a" * 64, "catalog": "a" * 64}


def difference(wanted, digests=None):
    found = preview(NOW, wanted, PINS, digests or SAME)
    assert len(found) == 1, found
    return found[0]


def test_nothing_changes():
    assert preview(NOW, NOW, PINS, SAME) == ()


def test_everything_is_new():
    found = preview(None, NOW, {}, SAME)
    assert [(d.kind, d.subject, d.effect) for d in found] == [
        (Kind.ADD, "orders", "builds it and starts 2 instances"),
        (Kind.ADD, "catalog", "builds it and starts 1 instance"),
    ]


def test_what_is_held_gets_no_release_and_everything_else_of_it_changes():
    wanted = system(replace(ORDERS, instances=3), CATALOG)
    digests = {"orders": "b" * 64, "catalog": "b" * 64}
    found = preview(NOW, wanted, PINS, digests, {"orders"})
    assert [(d.kind, d.subject) for d in found] == [(Kind.SCALE, "orders"), (Kind.RELEASE, "catalog")]


def test_what_is_held_and_runs_no_more_starts_as_what_served_last():
    found = preview(None, NOW, {}, SAME, {"orders"})
    assert [(d.kind, d.subject, d.effect, d.why) for d in found] == [
        (Kind.ADD, "orders", "starts 2 instances of what served last", "what is here now was taken back"),
        (Kind.ADD, "catalog", "builds it and starts 1 instance", "it is new"),
    ]


def test_a_service_goes():
    before = system(CATALOG, replace(ORDERS, calls=()))
    (found,) = preview(before, system(CATALOG), {"catalog": PINS["catalog"]}, SAME)
    assert (found.kind, found.subject, found.effect) == (Kind.REMOVE, "orders", "drains and stops 2 instances")


def test_a_service_goes_after_who_was_made_to_call_it():
    release, gone = preview(NOW, system(replace(ORDERS, calls=())), PINS, SAME)
    assert (release.kind, release.subject) == (Kind.RELEASE, "orders")
    assert (gone.kind, gone.subject) == (Kind.REMOVE, "catalog")
    assert gone.effect == "drains and stops 1 instance, once nothing needs it (orders release 1 may call it)"


def test_what_is_to_go_already_is_not_told_again_but_that_it_stays_is():
    without = system(replace(ORDERS, calls=()))
    leaving = replace(NOW, services={"orders": without.services["orders"], "catalog": CATALOG}, retained=("catalog",))
    now = {"orders": Pin(recipe(NOW, without.services["orders"], artifact="a" * 64, argv=("run",)))}
    assert preview(leaving, without, now | {"catalog": PINS["catalog"]}, SAME) == ()
    found = preview(leaving, NOW, PINS, SAME)
    assert ("catalog", "stays, as part of the system") in [(d.subject, d.effect) for d in found]


def test_another_callee_makes_a_release_also_where_no_variable_tells_of_it():
    plain = replace(ORDERS, runtime=RuntimeKind.PROCESS, env={"CATALOG_URL": "http://catalog"})
    before, after = system(plain, CATALOG), system(replace(plain, calls=()), CATALOG)
    pins = PINS | {"orders": Pin(recipe(before, plain, artifact="a" * 64, argv=("run",)))}
    (found,) = preview(before, after, pins, SAME)
    assert (found.kind, found.why) == (Kind.RELEASE, "calls changed")


@pytest.mark.parametrize(
    ("service", "why"),
    [
        (replace(ORDERS, runtime=RuntimeKind.PROCESS), "runtime changed (sandbox to process)"),
        (replace(ORDERS, resources=Resources(memory=1)), "resources changed"),
        (replace(ORDERS, env={"A": "b"}), "environment changed (A)"),
        (replace(ORDERS, calls=()), "environment changed (CATALOG_URL)"),
    ],
)
def test_what_restarts(service, why):
    found = difference(system(service, CATALOG))
    assert found.kind is Kind.RELEASE
    assert why in found.why
    assert found.effect == "new release: replaces 2 instances without a gap, 1 at a time"


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("canary", "gets 5 %, 25 % of the traffic and then all, judged at each step"),
        (
            "shadow-then-canary",
            "gets copies of the requests, then 5 %, 25 % of the traffic and then all, judged at each step",
        ),
        ("blue-green", "starts 2 instances beside the old ones, which then get all of the traffic at once"),
    ],
)
def test_how_another_release_comes_that_is_not_rolling(strategy, words):
    service = replace(ORDERS, env={"A": "b"}, rollout=Rollout(strategy, steps=(Step(5), Step(25))))
    assert difference(system(service, CATALOG)).effect == f"new release: {words}"


def test_another_source_restarts():
    found = difference(NOW, SAME | {"orders": "b" * 64})
    assert (found.kind, found.why) == (Kind.RELEASE, "source changed (aaaaaaaa to bbbbbbbb)")


@pytest.mark.parametrize(
    "service",
    [
        replace(ORDERS, calls=(Call("catalog", CallPolicy(timeout=1.0)),)),
        replace(ORDERS, routes=(Route("/"), Route("/api"))),
        replace(ORDERS, rollout=Rollout(drain=1.0)),
        replace(ORDERS, protocol=Protocol.HTTP2),
    ],
)
def test_what_acts_at_once(service):
    found = difference(system(service, CATALOG))
    assert (found.kind, found.effect) == (Kind.CHANGE, "takes effect at once, nothing restarts")
    assert found.changes


@pytest.mark.parametrize("health", [Health(startup=9.0), Health(ready=Check("/healthz")), Health(live=Check())])
def test_another_health_check_is_another_release(health):
    found = difference(system(replace(ORDERS, health=health), CATALOG))
    assert (found.kind, found.why) == (Kind.RELEASE, "health changed")
    assert found.changes


def test_a_check_that_is_written_down_as_it_was_anyway_changes_nothing():
    assert preview(NOW, system(replace(ORDERS, health=Health(declared=True)), CATALOG), PINS, SAME) == ()


def test_a_change_is_told_as_the_file_writes_it():
    found = difference(system(replace(ORDERS, calls=(Call("catalog", CallPolicy(timeout=0.5)),)), CATALOG))
    assert FieldChange("services.orders.calls.catalog.timeout", "10s", "500ms") in found.changes


CALLING = """
system: shop
services:
  orders: {{source: orders, routes: [/], calls: {calls}}}
  catalog: {{source: catalog}}
  payments: {{source: payments}}
"""


@pytest.fixture
def told():
    """What changes about the calls of orders, where they are written so and then so."""

    def look(before, after):
        old, new = (loads(CALLING.format(calls=calls), file="f", directory="/") for calls in (before, after))
        pins = {
            n: Pin(replace(recipe(old, s, artifact="a", argv=("run",)), release=1)) for n, s in old.services.items()
        }
        (found,) = preview(old, new, pins, dict.fromkeys(pins, "a"))
        return [(c.path.removeprefix("services.orders.calls."), c.before, c.after) for c in found.changes]

    return look


def test_a_new_call_is_one_line_and_what_is_special_about_it(told):
    usual = "usual policy (atoll explain orders.calls.payments)"
    assert told("[catalog]", "[catalog, payments]") == [("payments", None, usual)]
    assert told("[catalog]", "{catalog: , payments: {timeout: 3s, breaker: {errors: 50%}}}") == [
        ("payments", None, f"{usual}, but for:"),
        ("payments.breaker.errors", None, "50%"),
        ("payments.timeout", None, "3s"),
    ]


def test_a_new_call_to_the_outside_is_told_like_any(told):
    assert told("[catalog]", "{catalog: {timeout: 3s}, 'https://api.example': }") == [
        ("catalog.timeout", "10s", "3s"),
        ("https://api.example", None, "usual policy (atoll explain orders.calls.https://api.example)"),
    ]


def test_a_call_that_goes_is_one_line(told):
    assert told("{catalog: , payments: {timeout: 3s}}", "[catalog]") == [("payments", "declared", None)]


def test_scale_says_how_many():
    up, down = (difference(system(replace(ORDERS, instances=n), CATALOG)) for n in (5, 1))
    assert (up.kind, up.effect) == (Kind.SCALE, "starts 3 instances")
    assert down.effect == "drains and stops 1 instance"
    assert up.changes == (FieldChange("services.orders.instances", "2", "5"),)


def test_a_release_and_a_scale_are_told_apart():
    found = preview(NOW, system(replace(ORDERS, instances=3, env={"A": "b"}), CATALOG), PINS, SAME)
    assert [d.kind for d in found] == [Kind.RELEASE, Kind.SCALE]


def test_values_of_the_environment_are_not_shown():
    found = difference(system(replace(ORDERS, env={"TOKEN": "hush"}), CATALOG))
    assert found.changes == (FieldChange("services.orders.env.TOKEN", None, "(not shown)"),)


def test_a_variable_called_instances_is_not_a_scale():
    found = difference(system(replace(ORDERS, env={"instances": "9"}), CATALOG))
    assert found.kind is Kind.RELEASE


def test_routes_on_one_path_and_different_hosts_are_different_routes():
    before = system(replace(ORDERS, routes=(Route("/", ("a.example",)), Route("/", ("b.example",)))), CATALOG)
    after = system(replace(ORDERS, routes=(Route("/", ("c.example",)), Route("/", ("b.example",)))), CATALOG)
    assert [d.kind for d in preview(before, after, PINS, SAME)] == [Kind.CHANGE]


def test_the_gateway_moves():
    found = difference(system(ORDERS, CATALOG, gateway=Gateway(listen=9000)))
    assert (found.kind, found.subject) == (Kind.CHANGE, "gateway")
    assert found.changes == (FieldChange("gateway.listen", "127.0.0.1:8080", "127.0.0.1:9000"),)


def test_another_command_restarts_and_is_not_called_another_source():
    found = difference(system(replace(ORDERS, run="other"), CATALOG), SAME | {"orders": "b" * 64})
    assert (found.kind, found.why) == (Kind.RELEASE, "run changed (aaaaaaaa to bbbbbbbb)")


def test_a_gateway_that_is_closed_has_no_connections_to_drain():
    down = replace(NOW, services={})
    found = preview(down, replace(down, gateway=Gateway(listen=9000)), {}, {})
    assert [d.effect for d in found] == ["the gateway opens elsewhere"]
