"""Who may call whom, and what they are told when they may not: real namespaces, real Envoy."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace

import pytest

from atoll.kit.policy import Breaker, Retry, RetryBudget
from atoll.model.system import ROUTE_POLICY, Call, CallPolicy, Egress, Route
from atoll.plan.blueprint import Stage
from contracts.mesh.conftest import run


async def test_a_declared_call_passes_and_carries_the_true_caller(world):
    world.service("payments")
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    (orders,) = world.instances("orders")

    answer = await world.call(orders, "payments", "/x", method="GET")
    assert (answer.status, answer.body.split("\n")[0]) == (200, world.instances("payments")[0].name)
    assert "x-atoll-caller: orders" in answer.body

    claims = ("x-atoll-caller: admin", "X-Atoll-Caller: admin", "x_atoll_caller: admin", "x-Atoll_Caller: admin")
    forged = await world.ask("http://127.0.0.1/", caller=orders, headers=("Host: payments:80", *claims))
    assert forged.body.count("atoll") == 1
    assert "x-atoll-caller: orders" in forged.body
    assert "admin" not in forged.body


async def test_an_undeclared_call_says_which_line_to_add(world):
    world.service("payments")
    world.service("orders")
    await world.publish()
    (orders,) = world.instances("orders")

    known = await world.call(orders, "payments")
    assert known.status == 403
    assert known.body == "orders may not call payments: add `payments` under services.orders.calls in atoll.yaml\n"
    unknown = await world.call(orders, "example.com")
    assert unknown.status == 403
    assert "add `http://example.com` under services.orders.calls in atoll.yaml" in unknown.body


async def test_services_are_called_by_their_names_alone(world):
    """Through the proxy, as programs do that read HTTP_PROXY: with a port (a habit from Compose), or by a tunnel."""
    for name in ("payments", "catalog"):
        world.service(name)
    world.service("orders", calls=(Call("catalog"),))
    await world.publish()
    (orders,) = world.instances("orders")
    add = "call `http://payments/`, and add that name under services.orders.calls in atoll.yaml"
    text = f"orders may not call payments:8080: {add}\n"
    asked = await world.ask("http://payments:8080/", caller=orders, proxy="http://127.0.0.1:80")
    assert (asked.status, asked.body) == (403, text)
    assert await tunnel(orders, "payments:8080") == (403, text)
    for odd, said in (("Payments", "call `http://in-small-letters/`"), ("payments.", "without a dot at its end")):
        assert said in (await world.call(orders, odd)).body
    declared = await world.ask("http://catalog:8080/", caller=orders, proxy="http://127.0.0.1:80")
    text = "catalog:8080 is not how a service is called: call `http://catalog/`, without a port or a tunnel\n"
    assert (declared.status, declared.body) == (403, text)
    assert await tunnel(orders, "catalog:8080") == (403, text)
    direct = "catalog needs no tunnel: call `http://catalog/` directly, without the proxy\n"
    assert await tunnel(orders, "catalog:80") == (403, direct)
    assert (await world.ask("http://catalog/", caller=orders, proxy="http://127.0.0.1:80")).status == 200
    itself = await world.ask("http://localhost:8080/", caller=orders, proxy="http://127.0.0.1:80")
    assert itself.body == "localhost:8080 is this instance of orders itself: no proxy leads there\n"
    assert "may not ask for flags" in (await tunnel(orders, "flags:80"))[1]


async def test_tunnels_are_asked_for_in_http_1_0_too(world):
    """As Python does before 3.12, and with it requests and urllib3."""
    server = await asyncio.start_server(lambda _, writer: writer.write(b"there"), "127.0.0.2", 0)
    port = server.sockets[0].getsockname()[1]
    world.service("catalog")
    world.service("orders", calls=(Call("catalog"),), egress=(Egress("https", "127.0.0.2", port),))
    await world.publish()
    (orders,) = world.instances("orders")
    code = (
        "import socket,sys\ns=socket.create_connection(('127.0.0.1',80),5)\ns.settimeout(5)\n"
        "s.sendall(f'CONNECT {sys.argv[1]} HTTP/1.0\\r\\n\\r\\n'.encode())\ngot=b''\n"
        "while not got.endswith((b'there',b'proxy\\n')) and (more:=s.recv(999)): got+=more\nprint(got.decode())"
    )
    enter = ("nsenter", f"--net={orders.outlets[0].netns}", "--", sys.executable, "-c", code)
    opened = await asyncio.to_thread(run, *enter, f"127.0.0.2:{port}")
    refused = await asyncio.to_thread(run, *enter, "catalog:80")
    server.close()
    assert opened.split(" ")[1] == "200"
    assert opened.endswith("there\n")
    assert "catalog needs no tunnel" in refused


async def tunnel(caller, authority):
    """What a CONNECT is answered. curl shows no body of it."""
    code = "import http.client,sys\nc=http.client.HTTPConnection('127.0.0.1',80)\nc.request('CONNECT',sys.argv[1])\n"
    code += "a=c.getresponse()\nprint(a.status,a.read().decode(),end='')"
    enter = ("nsenter", f"--net={caller.outlets[0].netns}", "--")
    status, _, body = (await asyncio.to_thread(run, *enter, sys.executable, "-c", code, authority)).partition(" ")
    return int(status), body


async def test_a_callee_without_instances_is_named(world):
    world.service("payments", instances=0)
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    answer = await world.call(world.instances("orders")[0], "payments")
    assert (answer.status, answer.body) == (
        503,
        "payments has no instance that can answer now: none is ready, or all are failing\n",
    )


async def test_the_gateway_routes_by_host_and_longest_path(world):
    world.service("shop", routes=(Route("/"),))
    world.service("orders", routes=(Route("/api/orders"), Route("/", hosts=("orders.test",))))
    await world.publish()
    shop, orders = world.instances("shop")[0].name, world.instances("orders")[0].name

    async def who(path: str, host: str) -> str:
        return (await world.outside(path, headers=(f"Host: {host}",))).body.split("\n")[0]

    assert await who("/", "any.test") == shop
    assert await who("/api/orders/7?x=1", "any.test:99") == orders
    assert await who("/api/ordersandmore", "any.test") == shop
    assert await who("/else", "orders.test") == orders


async def test_the_gateway_believes_nothing_from_outside(world):
    world.service("shop", routes=(Route("/api"),))
    await world.publish()
    forged = ("x-atoll-caller: orders", "x-envoy-internal: true", "x-envoy-upstream-rq-timeout-ms: 1", "x_y: z")
    answer = await world.outside("/api//a/../b", headers=(*forged, "x-request-id: mine"))
    assert answer.body.split("\n")[1].strip() == "GET /api/b HTTP/1.1"
    assert "x-request-id: mine" in answer.body
    assert "x-forwarded-for: " in answer.body
    for gone in ("x-atoll-caller", "x-envoy", "x_y"):
        assert gone not in answer.body
    assert not [name for name in answer.headers if name.startswith("x-envoy")]
    assert (await world.outside("/api%2fx")).status == 400


ODD_PATHS = ("/pub/%2e%2e;x/headers", "/pub/.%2e;x/headers", "/pub/%2e%2e;/headers", "/pub/%2e;x", "/pub/a/%2E%2E;y")


async def test_a_path_that_goes_up_behind_a_parameter_is_not_passed_on(world):
    world.service("shop", routes=(Route("/pub"), Route("/own", hosts=("own.test",))))
    await world.publish()
    for path in ODD_PATHS:
        answer = await world.outside(path)
        assert (answer.status, answer.body[:28]) == (400, "this path is not passed on: "), path
    own = await world.outside("/own/%2e%2e;x/", headers=("Host: own.test",))
    assert own.status == 400
    for path in ("/pub/a.;x", "/pub/..a;x", "/pub/x?back=/..;y/", "/pub/;x"):
        assert (await world.outside(path)).status == 200, path


async def test_a_request_for_two_hosts_is_not_passed_on(world):
    world.service("shop", routes=(Route("/"),))
    await world.publish()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.listen)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 400")
    assert "more than one host" in answer


async def test_nobody_outside_is_told_whose_software_answers(world):
    world.service("shop", calls=(Call("orders"),), routes=(Route("/api"),))
    world.service("orders")
    await world.publish()
    (shop,) = world.instances("shop")
    assert (await world.call(shop, "orders")).headers["server"] == "old/1.0"
    for path in ("/api", "/", "/api%2fx"):
        assert "server" not in (await world.outside(path)).headers


async def test_who_breaks_off_before_it_answers_is_told_of_in_our_words(world):
    world.service("shop", calls=(Call("orders"),), routes=(Route("/"),))
    world.service("orders")
    await world.publish()
    (shop,) = world.instances("shop")
    outside = await world.outside("/break", method="POST")
    inside = await world.call(shop, "orders", "/break", method="POST")
    assert (outside.status, inside.status) == (503, 503)
    assert outside.body.startswith("what serves this broke the connection before it answered")
    assert inside.body.startswith("orders broke the connection before it answered")


async def test_no_route_and_no_instance_from_outside(world):
    world.service("shop", instances=0, routes=(Route("/shop"),))
    await world.publish()
    missing = await world.outside("/other")
    assert missing.status == 404
    assert "services.NAME.routes in atoll.yaml" in missing.body
    empty = await world.outside("/shop")
    assert empty.status == 503
    assert "no instance can answer now" in empty.body


async def test_plain_processes_call_through_a_port_of_their_own(plain_world):
    world = plain_world
    world.service("payments", routes=(Route("/"),))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    (orders,) = world.instances("orders")
    answer = await world.ask(f"http://127.0.0.1:{orders.outlets[0].address.port}/")
    assert answer.status == 200
    assert "x-atoll-caller: orders" in answer.body
    assert (await world.outside("/")).status == 200


async def test_an_outlet_waits_for_its_namespace(world):
    world.service("payments")
    world.service("orders", calls=(Call("payments"),))
    (orders,) = world.instances("orders")
    nowhere = replace(orders, outlets=(replace(orders.outlets[0], netns=str(world.root / "not-yet")),))
    (world.root / "not-yet").touch()
    world.workloads["orders"] = replace(world.workloads["orders"], instances=(nowhere,))
    blueprint = world.blueprint()
    await world.mesh.publish(blueprint)
    seen = await world.wait_seen(lambda s: s.generation == 1, "generation 1")
    assert orders.name not in seen.outlets
    assert seen.rejected == ""
    world.namespace(world.root / "not-yet")
    await world.mesh.publish(blueprint)
    await world.wait_seen(lambda s: orders.name in s.outlets, "the outlet opens")


async def test_timeouts_bulkheads_and_breakers_act_per_edge(world):
    strict = CallPolicy(timeout=0.2, retry=Retry(retries=0), breaker=Breaker(consecutive=3, open=30.0))
    world.service("payments")
    world.service("orders", calls=(Call("payments", strict),))
    world.service("carts", calls=(Call("payments"),))
    await world.publish()
    (orders,), (carts,) = world.instances("orders"), world.instances("carts")
    late = await world.call(orders, "payments", "/sleep/2")
    assert (late.status, late.body) == (504, "payments did not answer orders in time\n")
    for _ in range(2):
        assert (await world.call(orders, "payments", "/sleep/2")).status == 504
    opened = await world.call(orders, "payments", "/")
    assert (opened.status, "or all are failing" in opened.body) == (503, True)
    assert (await world.call(carts, "payments", "/")).status == 200
    assert world.instances("payments")[0].stage is Stage.SERVE


@pytest.mark.parametrize(("budget", "most"), [(0.0, 60), (0.2, 60 + 3 * 20 + 15), (1.0, 60 * 4)])
async def test_an_outage_meets_the_budget_of_retries(world, budget, most):
    """Sixty at once, three more tries each: a fifth of at least a hundred calls are twenty tries at a time."""
    retry = Retry(retries=3, base=0.001, cap=0.002, budget=RetryBudget(budget))
    world.service("payments")
    world.service("orders", calls=(Call("payments", CallPolicy(retry=retry, breaker=Breaker(consecutive=1000))),))
    await world.publish()
    (orders,) = world.instances("orders")
    failing = "/sleep/0.5/status/503"
    answers = await asyncio.gather(*(world.call(orders, "payments", failing) for _ in range(60)))
    assert {answer.status for answer in answers} == {503}
    tried = json.loads((await world.call(orders, "payments", "/")).body.split("\r\n\r\n")[1])[failing]
    assert tried <= most
    assert tried > 60 or not budget


async def test_strangers_cannot_shut_a_service_by_asking_for_what_fails(world):
    world.service("shop", instances=2, routes=(Route("/"),))
    await world.publish()
    failed = await asyncio.gather(*(world.outside("/status/503") for _ in range(20)))
    assert {answer.status for answer in failed} == {503}
    assert {(await world.outside("/")).status for _ in range(20)} == {200}


async def test_strangers_cannot_shut_the_only_instance_by_asking_for_what_is_slow(world):
    """What times out may be the way to an instance, so it counts; but half of them stay, whatever happens."""
    world.service("shop", routes=(Route("/", policy=replace(ROUTE_POLICY, timeout=0.2)),))
    await world.publish()
    late = await asyncio.gather(*(world.outside("/sleep/1") for _ in range(20)))
    assert {answer.status for answer in late} == {504}
    assert {(await world.outside("/")).status for _ in range(20)} == {200}
