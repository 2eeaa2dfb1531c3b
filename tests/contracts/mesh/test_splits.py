"""Two releases of one service side by side in real proxies: who gets which, and that nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from atoll.model.system import Call, Operation, Route
from atoll.plan.blueprint import Split, Stage
from atoll.values.histograms import quantile


async def served(world, *headers: str, key: str = "") -> str:
    """The release that answers a request through the gateway."""
    all_headers = (*headers, *((f"X-User: {key}",) if key else ()))
    answer = await world.outside("/", headers=all_headers)
    assert answer.status == 200
    return "r2" if "web-r2-" in answer.body else "r1"


def side_by_side(world) -> None:
    world.service("web", instances=2, routes=(Route("/"),))
    world.service("orders", calls=(Call("web"),))
    world.add("web", release=2)


async def test_a_dark_release_serves_those_who_name_it_and_nobody_else(world):
    side_by_side(world)
    world.split("web", Split(stable=1, next=2, weight=0))
    await world.publish()
    assert {await served(world) for _ in range(10)} == {"r1"}
    assert {await served(world, "X-Atoll-Release: web=2") for _ in range(3)} == {"r2"}
    assert await served(world, "X-Atoll-Release: orders=1, web=2") == "r2"
    assert await served(world, "X-Atoll-Release: web=22") == "r1"
    assert await served(world, "X-Atoll-Release: my-web=2") == "r1"
    orders = world.instances("orders")[0]
    inside = await world.call(orders, "web")
    named = await world.ask("http://127.0.0.1/", caller=orders, headers=("Host: web", "X-Atoll-Release: web=2"))
    assert ("web-r1-" in inside.body, "web-r2-" in named.body) == (True, True)


async def test_growing_weights_only_ever_add_users(world):
    side_by_side(world)
    users = [f"user-{n}" for n in range(60)]
    before: set[str] = set()
    for weight in (5, 30, 70, 100):
        world.split("web", Split(stable=1, next=2, weight=weight, key="x-user"))
        await world.publish()
        answers = await asyncio.gather(*(served(world, key=user) for user in users))
        now = {user for user, release in zip(users, answers, strict=True) if release == "r2"}
        assert before <= now
        assert abs(len(now) - len(users) * weight / 100) <= 12  # three standard deviations and a bit
        before = now
    assert before == set(users)


async def test_a_browser_keeps_its_release_by_a_cookie(world):
    side_by_side(world)
    world.split("web", Split(stable=1, next=2, weight=50))
    await world.publish()
    answers = [await world.outside("/") for _ in range(12)]
    cookies = [a.headers["set-cookie"].partition(";")[0] for a in answers]
    first = ["web-r2-" in a.body for a in answers]
    again = [await served(world, f"Cookie: {cookie}") == "r2" for cookie in cookies]
    assert again == first
    kept = await world.outside("/", headers=(f"Cookie: {cookies[0]}",))
    assert "set-cookie" not in kept.headers
    named = await world.outside("/", headers=("X-Atoll-Release: web=2",))
    assert "set-cookie" not in named.headers  # a look at the other release is not an assignment to it
    assert set(first) == {True, False}


async def test_taking_over_and_going_back_under_load_loses_nothing(world):
    side_by_side(world)
    world.split("web", Split(stable=1, next=2, weight=50))
    await world.publish()
    async with world.load(None, "any", method="POST") as taking:
        world.split("web", Split(stable=1, next=2, weight=100, both=True))
        await world.publish()
        world.split("web", Split(stable=1, next=2, weight=0))  # changed our mind: away at once
        await world.publish()
        assert await served(world) == "r1"
        world.split("web", Split(stable=1, next=2, weight=100, both=True))
        await world.publish()
        world.split("web", None)
        for instance in world.instances("web")[:2]:
            world.stage(instance, Stage.DRAIN)
        await world.publish()
        assert await served(world) == "r2"
    assert taking["bad"] == []
    assert sum(taking["answers"].values()) > 100


async def test_while_two_stand_side_by_side_it_is_measured_how_long_each_instance_takes(world):
    side_by_side(world)
    await world.publish()
    for _ in range(20):
        await served(world)
    assert {calls.times for calls in await world.mesh.calls(frozenset({"web"}))} == {()}
    world.split("web", Split(stable=1, next=2, weight=0))
    await world.publish()
    for _ in range(20):
        await served(world)
    slow = await asyncio.gather(*(world.outside("/sleep/0.2", headers=("X-Atoll-Release: web=2",)) for _ in range(3)))
    assert {answer.status for answer in slow} == {200}

    async def measured():
        calls = {c.ip: c for c in await world.mesh.calls(frozenset({"web"})) if c.proxy == "gateway" and not c.cluster}
        found = {i.recipe.release: calls[i.address.ip].times for i in world.instances("web")}
        return found if found[1] and found[2] else None

    await world.until(measured, "the proxies have counted how long the calls took")
    found = await measured()
    assert sum(bar.count for bar in found[2]) == 3
    assert quantile(found[1], 0.5) < 100_000 < quantile(found[2], 0.5)


async def test_what_is_done_well_is_counted_by_name_instance_by_instance(world):
    """From outside and from another service; what failed, what was refused and what is something else is not."""
    side_by_side(world)
    counts = (("placed", Operation("POST", "/status/{code}")), ("seen", Operation("GET", "/orders")))
    world.workloads["web"] = replace(world.workloads["web"], counts=counts)
    world.split("web", Split(stable=1, next=2, weight=0))
    await world.publish()
    orders = world.instances("orders")[0]
    new = ("X-Atoll-Release: web=2",)
    for code in (201, 303, 409, 500):
        assert (await world.outside(f"/status/{code}", method="POST", headers=new)).status == code
        assert (await world.call(orders, "web", f"/status/{code}", method="POST")).status == code
    for path in ("/orders?page=2", "/orders/7", "/status/200"):
        await world.outside(path, headers=new)

    async def counted():
        found = Counter()
        release = {i.address.ip: i.recipe.release for i in world.instances("web")}
        for calls in await world.mesh.calls(frozenset({"web"})):
            for name, _, n in calls.counts:
                found[release[calls.ip], name] += n
        return found if found.total() >= 5 else None

    await world.until(counted, "the proxies have counted what was done")
    assert await counted() == {(2, "placed"): 2, (2, "seen"): 1, (1, "placed"): 2}
