"""What a caller is told where it may not call; above all that a line to add is one that the file takes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from atoll.mesh import ir
from atoll.mesh.translate.refusals import Refusals
from atoll.model.load import loads

SYSTEM = """
system: shop
services:
  orders: {{run: serve, calls: [catalog{more}]}}
  catalog: {{run: serve}}
  payments: {{run: serve}}
  audit-log: {{run: serve}}
"""
SERVICES = ("audit-log", "catalog", "orders", "payments")
HOSTS = tuple(Refusals("orders").hosts(("flags", "catalog"), SERVICES))
WHERE = "under services.orders.calls in atoll.yaml"
LINE = re.compile(r"add `([^`]+)` under")
NO_HOST = "it is no service, and no host that atoll.yaml could allow"


def told(host: str, *, tunnel: bool = False) -> str:
    """The text that Envoy would take, by its rules: exact domains, then those that end in *; the first route."""
    asked = ir.Asked.TUNNEL if tunnel else ir.Asked.ANYTHING
    rules = next(found.rules for found in by_precedence(host.lower()))
    rule = next(r for r in refusals(rules) if r.asked is asked and re.fullmatch(r.host or ".*", host))
    name = re.fullmatch(r"([a-z][a-z0-9-]*)(:.*)?", host)
    return rule.text.replace("{host}", host).replace("{name}", name[1] if name else "in-small-letters")


def by_precedence(host: str) -> Iterator[ir.VirtualHost]:
    yield from (h for h in HOSTS if host in h.domains)
    yield from (h for h in HOSTS if any(d.endswith(":*") and host.startswith(d[:-1]) for d in h.domains))
    yield from (h for h in HOSTS if "*" in h.domains)


def refusals(rules: tuple[ir.Rule, ...]) -> list[ir.Refuse]:
    assert all(isinstance(rule, ir.Refuse) for rule in rules)
    return [rule for rule in rules if isinstance(rule, ir.Refuse)]


def test_a_service_is_to_be_declared():
    assert told("payments") == f"orders may not call payments: add `payments` {WHERE}"


@pytest.mark.parametrize("tunnel", [False, True])
@pytest.mark.parametrize("host", ["payments:80", "payments:8080", "audit-log:443"])
def test_a_service_has_neither_a_port_nor_a_tunnel(host, tunnel):
    name = host.partition(":")[0]
    mend = f"call `http://{name}/`, and add that name {WHERE}"
    assert told(host, tunnel=tunnel) == f"orders may not call {host}: {mend}"


@pytest.mark.parametrize("host", ["catalog:8080", "flags:8016"])
@pytest.mark.parametrize("tunnel", [False, True])
def test_a_declared_one_is_called_by_its_name_alone(host, tunnel):
    name = host.partition(":")[0]
    text = f"{host} is not how a service is called: call `http://{name}/`, without a port or a tunnel"
    assert told(host, tunnel=tunnel) == text


@pytest.mark.parametrize("host", ["Payments", "PAYMENTS:80", "paYments:8080"])
def test_names_have_small_letters(host):
    assert told(host) == f"orders may not call {host}: call `http://in-small-letters/`, and add that name {WHERE}"


@pytest.mark.parametrize("host", ["orders", "orders:8080"])
def test_nobody_calls_itself(host):
    assert told(host) == "orders may not call itself"


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "db.localhost", "127.0.0.1:5432"])
def test_localhost_is_the_instance(host):
    assert told(host) == f"{host} is this instance of orders itself: no proxy leads there"


def test_what_is_not_there_is_not_advised_as_a_service():
    text = "orders may not reach x:9: no service is called so; for a host outside"
    assert told("x:9") == f"{text} add `http://x:9` {WHERE}"
    assert told("x:9", tunnel=True) == f"{text} add `https://x:9` {WHERE}"


def test_a_host_outside_is_to_be_declared():
    assert told("api.example.org") == f"orders may not reach api.example.org: add `http://api.example.org` {WHERE}"
    tunnel = told("api.example.org:8443", tunnel=True)
    assert tunnel == f"orders may not reach api.example.org:8443: add `https://api.example.org:8443` {WHERE}"


@pytest.mark.parametrize(
    "host",
    ["API.example.org", "a.example.org.", "a_b", "a:0", "a.b:65536", "a:99999", "[::1]:80", "payments.", "catalog.:80"],
)
def test_what_the_file_would_refuse_is_not_advised(host):
    assert NO_HOST in told(host)


def test_a_host_is_allowed_in_one_way_only():
    outside = loads(SYSTEM.format(more=", https://a.example.org"), file="f", directory="d").services["orders"].egress
    (refusal,) = Refusals("orders").other_way("a.example.org:443", outside)
    assert refusal.text.endswith(f"by http: add `http://a.example.org:443` {WHERE}")


WORDS = st.sampled_from(
    (*SERVICES, "localhost", "127.0.0.1", "x", "Y", "a-b", "-", "a_b", "example", "org", "flags", "80")
)
PORTS = st.one_of(st.just(""), st.integers(0, 70000).map(lambda port: f":{port}"), st.just(":"), st.just(":080"))


@given(words=st.lists(WORDS, min_size=1, max_size=3), port=PORTS, dot=st.sampled_from(("", ".")), tunnel=st.booleans())
def test_every_line_that_is_advised_is_one_that_the_file_takes(words, port, dot, tunnel):
    host = ".".join(words) + dot + port
    assume(host.lower().removesuffix(":80") not in {"catalog", "flags"})  # these lead somewhere
    for line in LINE.findall(told(host, tunnel=tunnel)):
        loads(SYSTEM.format(more=f", '{line}'"), file="atoll.yaml", directory="/srv")
