"""Instances come, drain and go under load, and nobody notices."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace

from atoll.kit.policy import Bulkhead
from atoll.mesh import admin, ir
from atoll.model.system import Call, CallPolicy, Check, Health, Route
from atoll.plan.blueprint import Stage
from atoll.values.histograms import quantile
from contracts.mesh.conftest import ROOTLESS


async def replace_all(world, service: str) -> None:
    """What the engine does: the new one in, taken, then the old one drained, idle, out."""
    for old in world.instances(service):
        new = world.add(service)
        await world.publish()
        world.stage(old, Stage.DRAIN)
        await world.publish()
        await world.wait_seen(lambda s, old=old: s.active.get(old.name) == 0, "the old one is idle")
        world.stage(old, Stage.STOP)
        await world.publish()
        world.apps[old.name].kill()
        world.stage(old, None)
        await world.publish()
        assert new.name in (await world.seen()).accepted


async def test_who_offers_the_same_again_is_not_told_that_there_is_something_new(world, monkeypatch):
    """It would look, find it not accepted yet, and offer it again, as often as it can until the proxies answer."""
    world.service("payments", routes=(Route("/"),))
    await world.publish()
    told = []
    monkeypatch.setattr(world.mesh, "_changed", lambda: told.append(1))
    await world.mesh.publish(world.published[-1])
    assert told == []
    await world.mesh.publish(world.blueprint())
    assert told == [1]


async def test_instances_are_replaced_under_load_without_a_failed_request(world):
    world.service("payments", instances=2, routes=(Route("/"),))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    old = {i.name for i in world.instances("payments")}
    async with (
        world.load(world.instances("orders")[0], "payments") as inner,
        world.load(None, "any", method="POST", connections=4) as outer,
    ):
        await replace_all(world, "payments")
        await replace_all(world, "payments")
    new = {i.name for i in world.instances("payments")}
    for result in (inner, outer):
        assert result["bad"] == []
        assert sum(result["answers"].values()) > 100
        assert set(result["answers"]) >= old
        assert set(result["answers"]) & new


async def test_a_killed_instance_costs_no_idempotent_request(world):
    world.service("payments", instances=2, routes=(Route("/"),))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    first, second = world.instances("payments")
    async with (
        world.load(world.instances("orders")[0], "payments", connections=16) as inner,
        world.load(None, "any", connections=16) as outer,
    ):
        await asyncio.sleep(0.5)
        world.apps[first.name].kill()
        await asyncio.sleep(1.0)
    for result in (inner, outer):
        assert result["bad"] == []
        assert set(result["answers"]) == {first.name, second.name}


async def test_a_hung_instance_is_ejected_while_the_control_plane_is_away(world):
    world.service("payments", instances=2, health=Health(ready=Check(path="/", interval=0.2, timeout=0.2)))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    first, second = world.instances("payments")
    await world.mesh.close()
    world.apps[first.name].send_signal(signal.SIGSTOP)
    try:
        socket = world.root / "mesh.admin.sock"

        async def only_the_other() -> bool:
            return {h.ip for h in await admin.hosts(socket, "->payments$") if h.usable} == {second.address.ip}

        await world.until(only_the_other, "the hung one is ejected")
        for _ in range(5):
            answer = await world.call(world.instances("orders")[0], "payments")
            assert (answer.status, answer.body.split("\n")[0]) == (200, second.name)
    finally:
        world.apps[first.name].send_signal(signal.SIGCONT)


async def test_a_draining_instance_counts_its_open_requests_and_gets_nothing_new(world):
    world.service("payments", instances=2)
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    old, kept = world.instances("payments")
    orders = world.instances("orders")[0]
    streams = [
        world.start("curl", "-sN", "-H", "Host: payments", "http://127.0.0.1/events", netns=orders.outlets[0].netns)
        for _ in range(6)
    ]
    for stream in streams:
        assert await asyncio.to_thread(stream.stdout.readline)
    world.stage(old, Stage.DRAIN)
    await world.publish()
    seen = await world.wait_seen(lambda s: s.active.get(old.name), "open requests are counted")
    assert 1 <= seen.active[old.name] <= 5
    assert kept.name not in seen.active
    for _ in range(5):
        assert (await world.call(orders, "payments")).headers["x-from"] == kept.name
    for stream in streams:
        assert await asyncio.to_thread(stream.stdout.readline) == "\n"
        stream.kill()
    await world.wait_seen(lambda s: s.active.get(old.name) == 0, "it is idle")


async def test_what_is_open_while_the_way_there_is_changed_is_counted_all_the_same(world):
    world.service("payments")
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    (old,), (orders,) = world.instances("payments"), world.instances("orders")
    stream = world.start(
        "curl", "-sN", "-H", "Host: payments", "http://127.0.0.1/events", netns=orders.outlets[0].netns
    )
    assert await asyncio.to_thread(stream.stdout.readline)
    narrow = Call("payments", CallPolicy(bulkhead=Bulkhead(7)))
    world.workloads["orders"] = replace(world.workloads["orders"], calls=(narrow,))
    world.add("payments")
    await world.publish()
    assert (await world.call(orders, "payments")).status == 200
    world.stage(old, Stage.DRAIN)
    await world.publish()
    seen = await world.wait_seen(lambda s: old.name in s.active, "open requests are counted")
    assert seen.active[old.name] >= 1
    assert await asyncio.to_thread(stream.stdout.readline) == "\n"
    stream.kill()
    await world.wait_seen(lambda s: s.active.get(old.name) == 0, "it is idle")


async def test_an_instance_that_is_not_healthy_in_the_proxies_is_not_taken_in(world):
    world.service("payments")
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    late = world.add("payments", kind=None)
    good = world.add("payments")
    await world.mesh.publish(world.blueprint())
    seen = await world.wait_seen(lambda s: good.name in s.accepted, "the healthy one is taken in")
    assert late.name not in seen.accepted
    for _ in range(5):
        assert (await world.call(world.instances("orders")[0], "payments")).status == 200


async def test_a_removed_instance_frees_its_namespace(world):
    world.service("payments")
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    orders = world.instances("orders")[0]
    assert (await world.call(orders, "payments")).status == 200
    path = world.root / orders.name
    world.apps[orders.name].kill()
    world.apps[orders.name].wait()
    world.stage(orders, None)
    seen = await world.publish()
    assert orders.name not in seen.outlets
    link = f"v{orders.serial}"
    inside = ("nsenter", f"--net={world.fabric}", "ip", "-o", "link")
    world.delete(path)

    async def gone() -> bool:
        return link not in await output(*inside)

    await world.until(gone, "the namespace and its link are gone", 5)


async def test_a_removed_service_leaves_nothing_behind(world):
    world.service("payments")
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    del world.workloads["payments"]
    world.workloads["orders"] = replace(world.workloads["orders"], calls=())
    await world.publish()
    assert await admin.hosts(world.root / "mesh.admin.sock", ".*payments") == ()


async def output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


async def test_traffic_is_counted_per_callee_from_outside_and_inside(world):
    world.service("payments", routes=(Route("/"),))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    orders = world.instances("orders")[0]
    for _ in range(3):
        await world.call(orders, "payments", "/sleep/0.05")
        await world.outside("/sleep/0.05")
    await world.call(orders, "payments", "/status/500")

    async def counted() -> bool:
        found = await world.mesh.traffic()
        return found["payments"].requests == 7 and sum(bar.count for bar in waited(found["payments"])) == 7

    await world.until(counted, "Envoy has merged its histograms, which it does every five seconds", 15)
    traffic = await world.mesh.traffic()
    assert (traffic["payments"].errors, traffic["orders"].requests) == (1, 0)
    assert 50_000 <= quantile(waited(traffic["payments"]), 0.5) <= 1_000_000
    proxies = {"mesh"} if ROOTLESS else {"gateway", "mesh"}  # without root the gateway passes on, and counts nothing
    assert {name.partition(" ")[0] for name in traffic["payments"].waited} == proxies


def waited(traffic):
    return [bar for bars in traffic.waited.values() for bar in bars]


async def test_calls_that_get_to_no_instance_are_counted_as_asked_and_failed(world):
    world.service("payments", routes=(Route("/"),))
    await world.publish()
    (payments,) = world.instances("payments")
    assert (await world.outside("/")).status == 200
    world.apps[payments.name].kill()
    world.apps[payments.name].wait()
    for _ in range(5):
        assert (await world.outside("/")).status == 503

    async def counted() -> bool:
        found = (await world.mesh.traffic())["payments"]
        return (found.requests, found.errors) == (6, 5)

    await world.until(counted, "all six are counted, five of them as failed")


async def test_of_many_calls_in_a_second_some_are_timed(world):
    world.service("payments")
    world.service("orders", calls=(Call("payments"),))
    world.service("mail", calls=(Call("payments"),))
    await world.publish()

    async def counted(caller: str) -> admin.ClusterCount:
        found = await admin.counts(world.root / "mesh.admin.sock")
        return found.get(f"{caller}->payments", admin.ClusterCount())

    began = time.monotonic()
    async with world.load(world.instances("orders")[0], "payments") as load:

        async def enough() -> bool:
            return (await counted("orders")).sent > 10 * ir.TIMED.per_second

        await world.until(enough, "many calls were made")
    took = time.monotonic() - began

    async def merged() -> bool:
        await world.call(world.instances("mail")[0], "payments")
        return bool((await counted("mail")).waited)

    assert load["bad"] == []
    await world.until(merged, "Envoy has merged its histograms after the load, which it does every five seconds", 15)
    timed = sum(bar.count for bar in (await counted("orders")).waited)
    assert timed <= ir.TIMED.per_second * (1 + took)
    assert timed > ir.TIMED.per_second / 2


async def test_each_try_that_fails_is_an_error_of_the_instance_that_was_tried(world):
    world.service("payments", instances=2, routes=(Route("/"),))
    await world.publish()
    assert (await world.outside("/status/503")).status == 503

    async def all_counted() -> bool:
        sent = 0
        for proxy in ir.PROXIES:  # without root the mesh has the gateway's clusters
            found = await admin.counts(world.root / f"{proxy}.admin.sock")
            sent += found.get("@gateway->payments", admin.ClusterCount()).sent
        calls = await world.mesh.calls(frozenset({"payments"}))
        return sent > 1 and sum(c.error + sum(dict(c.failed).values()) for c in calls) == sent

    await world.until(all_counted, "as many errors as tries")
