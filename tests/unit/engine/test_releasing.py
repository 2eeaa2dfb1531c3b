"""A release in steps, through the whole engine, in virtual time: who is served, when, and in which order."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections import Counter
from contextlib import asynccontextmanager
from statistics import NormalDist

import pytest

from atoll.plan.blueprint import Stage
from atoll.policies.judge.keeping import from_json
from atoll.ports import HostCalls
from atoll.values.histograms import Bar
from unit.engine.weights import spread

OLD = "{orders: {source: orders, instances: 4, release: {strategy: canary, bake: 10s}}}"
STEPS = "{strategy: canary, steps: [{weight: 10%, for: 10s}, {weight: 50%, for: 10s}], most: 15m, bake: 10s}"
NEW = f"{{orders: {{source: orders, instances: 4, run: better, release: {STEPS}}}}}"
RPS = 200
WAITS = [round(math.exp(NormalDist(3, 0.4).inv_cdf((number + 0.5) / 100))) for number in range(100)]  # ms, log-normal


@asynccontextmanager
async def traffic(house, new_fails=0.0, slower=1.0, refused=0.0):
    """
    What the proxies would count: requests by the weights, some of which the new release fails or is slower with.

    A fifth of them are orders, of which the new release refuses a part.
    """
    chance = random.Random(7)
    totals: dict[tuple[str, int], list[int]] = {}
    placed = Counter[tuple[str, int]]()
    times: dict[tuple[str, int], Counter[float]] = {}

    async def count():
        while True:
            await asyncio.sleep(0.25)
            workload = house.engine.blueprint.workloads.get("orders")
            for instance, is_next, requests in spread(workload, RPS / 4):
                where = (instance.address.ip, instance.address.port)
                total, took = totals.setdefault(where, [0, 0]), times.setdefault(where, Counter())
                failed = _drawn(chance, requests, new_fails) if is_next else 0
                total[False] += requests - failed
                total[True] += failed
                took.update(round(ms * (slower if is_next else 1.0)) for ms in chance.choices(WAITS, k=requests))
                placed[where] += _drawn(chance, requests, 0.2 * (1 - refused if is_next else 1.0))
            house.mesh.counted = tuple(
                HostCalls(
                    "mesh",
                    *where,
                    *total,
                    times=tuple(Bar(1000 * ms, 1000, n) for ms, n in times[where].items()),
                    counts=(("placed", "200", placed[where]),),
                )
                for where, total in totals.items()
            )

    task = asyncio.create_task(count())
    try:
        yield totals
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _drawn(chance, of, part):
    """How many of so many."""
    return sum(chance.random() < part for _ in range(of)) if part else 0


def state(house):
    progress = house.store.pins()["orders"].progress
    return progress.state if progress is not None else None


def releases(house):
    return {r.number: r.state for r in house.store.releases("orders")}


def weights(house):
    """The weights in the order in which they were published, without repetitions."""
    found = [b.workloads["orders"].split for b in house.mesh.published if "orders" in b.workloads]
    shown = [s.weight for s in found if s is not None]
    return [w for n, w in enumerate(shown) if n == 0 or shown[n - 1] != w]


async def ended(house, new, seconds, **kind):
    """Serve the old release, apply *new* under traffic, and wait until that is over; what was counted."""
    await house.settle(house.ask(OLD))
    async with traffic(house, **kind) as totals:
        await house.settle(house.ask(new))
        await house.until(lambda: releases(house)[2] != "rolling", seconds=seconds)
    return totals


def test_an_applied_release_goes_up_by_itself_where_the_judge_is_content(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house):
            assert await house.settle(house.ask(NEW)) == "done"
            await house.until(lambda: state(house) is None, seconds=1800)
        assert releases(house) == {1: "retired", 2: "serving"}
        assert weights(house) == [0, 10, 50, 100]
        await house.until(lambda: len(house.running) == 4)
        assert {n.split("-")[1] for n in house.running} == {"r2"}

    live(story)


def test_before_it_is_judged_it_is_said_what_can_be_found(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house):
            await house.settle(house.ask(NEW, "deploy"))
            await asyncio.sleep(20)
            house.store.ask("orders", "release", "ada", "", 0.0)
            await house.until(lambda: state(house) == "canary")
            await house.until(lambda: any("can tell" in text for text in house.texts("release")))
        (prospect,) = (text for text in house.texts("release") if "can tell" in text)
        rps, where = prospect.removeprefix("release 2: ").split(" rps, ")
        assert abs(float(rps) - RPS) < 20
        assert where.startswith("10 % of them on 1 of 5 instances, for 15m: can tell errors of ")

    live(story)


def test_a_bad_release_is_taken_back_route_before_scale(live):
    async def story(house):
        totals = await ended(house, NEW, 600, new_fails=0.2)
        assert releases(house) == {1: "serving", 2: "rolled-back"}
        assert sum(failed for _, failed in totals.values()) < 15
        for blueprint in house.mesh.published:
            workload = blueprint.workloads.get("orders")
            drained = [i for i in workload.instances if i.stage in {Stage.DRAIN, Stage.STOP}] if workload else []
            assert not drained or workload.split is None or workload.split.weight == 0
            old = (
                [i for i in workload.instances if i.recipe.release == 1 and i.stage is Stage.SERVE] if workload else []
            )
            assert workload is None or workload.split is None or len(old) == 4
        assert any("rolled-back" in text for text in house.texts("release"))

    live(story)


COUNTED = NEW.replace("bake: 10s}", "bake: 10s, judge: {counts: {placed: POST /orders}}}")


def test_a_release_that_does_less_of_what_counts_is_taken_back(live):
    """It refuses half of the orders, politely: there is no error, and nothing is slow."""

    async def story(house):
        await ended(house, COUNTED, 900, refused=0.5)
        assert releases(house) == {1: "serving", 2: "rolled-back"}
        (why,) = (text for text in house.texts("release") if "worse" in text and "rolled-back" in text)
        assert re.search(r"canary \d+ placed in \d[\d,]* requests, stable [\d,]+ in [\d,]+; odds", why)

    live(story)


def test_a_release_that_does_as_much_of_what_counts_goes_up(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house):
            await house.settle(house.ask(COUNTED))
            await house.until(lambda: state(house) is None, seconds=1800)
        assert releases(house) == {1: "retired", 2: "serving"}
        (prospect,) = (text for text in house.texts("release") if "can tell" in text)
        assert re.search(r", placed -\d+ %; what is less", prospect)

    live(story)


def test_a_slow_release_is_taken_back_where_its_instances_can_be_compared(live):
    """At 10 % an instance of it has less to do than half of what one of stable has: its latency says nothing there."""

    async def story(house):
        await ended(house, NEW, 1800, slower=1.5)
        assert releases(house) == {1: "serving", 2: "rolled-back"}
        assert weights(house) == [0, 10, 50, 0]
        (why,) = [text for text in house.texts("release") if "is aborting" in text]
        assert "slow in" in why

    live(story)


def test_a_file_with_other_metrics_is_followed_while_it_is_judged(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house, slower=2.0):
            only = STEPS.replace("bake", "judge: {metrics: errors}, bake")
            await house.settle(house.ask(NEW.replace(STEPS, only)))
            await house.until(lambda: state(house) == "canary")
            await asyncio.sleep(6)
            house.ask(NEW)
            await house.until(lambda: releases(house)[2] != "rolling", seconds=1800)
        assert releases(house)[2] == "rolled-back"

    live(story)


def test_no_share_is_passed_without_a_request_at_that_share(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house):
            await house.settle(house.ask(NEW))
            await house.until(lambda: state(house) == "canary")
            await house.until(lambda: weights(house)[-1] == 50)
        await asyncio.sleep(120)
        assert weights(house) == [0, 10, 50]
        assert state(house) == "holding"

    live(story)


def test_what_is_not_ready_any_more_is_sent_nothing_until_it_is(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house):
            await house.settle(house.ask(NEW))
            await house.until(lambda: state(house) == "canary")
            new = [i for i in house.engine.blueprint.workloads["orders"].instances if i.recipe.release == 2]
            house.prober.words = {i.address.ip: "it is out of its mind" for i in new}
            await house.until(lambda: weights(house) == [0, 10, 0], seconds=5)
            house.prober.words = {}
            await house.until(lambda: weights(house)[:4] == [0, 10, 0, 10], seconds=5)

    live(story)


def test_where_there_is_no_way_back_nobody_is_sent_back(live):
    forward = NEW.replace("most: 15m", "most: 15m, rollback: forward-only")

    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house, new_fails=0.3):
            await house.settle(house.ask(forward))
            await house.until(lambda: state(house) == "holding", seconds=600)
            await asyncio.sleep(60)
        assert weights(house) == [0, 10]
        (why,) = [text for text in house.texts("release") if "is holding at 10%" in text]
        assert "frozen, there is no way back" in why
        assert "aborted" not in why

    live(story)


def test_what_was_taken_back_keeps_its_place_until_its_open_requests_have_ended(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house, new_fails=0.5):
            await house.settle(house.ask(NEW))
            await house.until(lambda: releases(house)[2] == "rolled-back", seconds=600)
        await house.until(house.engine.converged)
        draining = [
            blueprint.workloads["orders"].split
            for blueprint in house.mesh.published
            if any(i.stage is Stage.DRAIN for i in blueprint.workloads["orders"].instances)
        ]
        assert draining
        assert all(split is not None and split.weight == 0 for split in draining)
        assert house.engine.blueprint.workloads["orders"].split is None

    live(story)


def test_a_refused_configuration_aborts_what_users_see_already(live):
    late = BLUE_GREEN.removesuffix("}") + ", web: {source: web, health: /late}}"

    async def story(house):
        await house.settle(house.ask(OLD))
        house.prober.words = {"/late": "it takes its time"}
        async with traffic(house):
            house.ask(late, names=("orders", "web"))
            await house.until(lambda: state(house) == "baking")
            house.mesh.refusal = "no such thing"
            await house.until(lambda: state(house) == "aborting")
            house.mesh.refusal = ""
            await house.until(lambda: releases(house)[2] == "rolled-back")
        steps = [(t.signal, t.actor) for t in reversed(house.store.transitions("orders"))]
        assert steps[-2:] == [("abort", "atoll"), ("acknowledged", "atoll")]
        assert weights(house) == [0, 100, 0]
        for blueprint in house.mesh.published:
            workload = blueprint.workloads["orders"]
            drained = any(i.recipe.release == 2 and i.stage is Stage.DRAIN for i in workload.instances)
            assert not drained or (workload.split is not None and workload.split.weight == 0)

    live(story)


def test_more_instances_in_the_file_are_more_of_the_release_that_serves(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house):
            await house.settle(house.ask(BLUE_GREEN))
            await house.until(lambda: state(house) == "baking")
            house.ask(BLUE_GREEN.replace("instances: 4", "instances: 6"))
            await house.until(lambda: len([n for n in house.running if "-r2-" in n]) == 6, seconds=60)

    live(story)


BLUE_GREEN = "{orders: {source: orders, instances: 4, run: better, release: {strategy: blue-green, bake: 5m}}}"


def test_what_fails_clearly_while_it_bakes_is_taken_back(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house, new_fails=0.5) as totals:
            await asyncio.sleep(20)
            await house.settle(house.ask(BLUE_GREEN))
            await house.until(lambda: releases(house)[2] != "rolling", seconds=600)
        assert releases(house) == {1: "serving", 2: "rolled-back"}
        assert weights(house) == [0, 100, 0]
        (why,) = [text for text in house.texts("release") if "is aborting" in text]
        assert "(judge)" in why
        assert "with all of the traffic; what it replaced failed 0.00% before" in why
        assert sum(failed for _, failed in totals.values()) < 15 * RPS

    live(story)


def test_what_the_old_release_failed_as_well_may_fail_while_it_bakes(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house, new_fails=0.04):
            await house.settle(house.ask(BLUE_GREEN.replace("5m", "40s")))
            await house.until(lambda: releases(house)[2] == "serving", seconds=600)

    live(story)


def test_without_traffic_it_holds_and_never_passes(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        await house.settle(house.ask(NEW))
        await house.until(lambda: state(house) == "holding", seconds=300)
        await asyncio.sleep(600)
        assert (state(house), weights(house)) == ("holding", [0, 10])
        assert any("how much it is called is not known yet" in text for text in house.texts("release"))

    live(story)


def test_a_person_speaks_before_the_judge(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        await house.settle(house.ask(NEW, "deploy"))
        assert (state(house), weights(house)) == ("dark", [0])
        house.store.ask("orders", "release", "ada", "it is time", 0.0)
        await house.until(lambda: state(house) == "canary")
        house.store.ask("orders", "promote", "ada", "I know it", 0.0)
        await house.until(lambda: releases(house)[2] == "serving")
        assert weights(house) == [0, 10, 100]
        assert any("(ada): I know it" in text for text in house.texts("release"))
        house.store.ask("orders", "abort", "bob", "too late", 0.0)
        await house.until(lambda: house.store.asked() == ())
        assert releases(house)[2] == "serving"

    live(story)


def test_what_never_becomes_ready_fails_and_the_old_one_serves_on(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        house.prober.words = dict.fromkeys((f"10.201.0.{4 * n + 2}" for n in range(5, 60)), "it does not listen")
        number = house.ask(NEW)
        assert await house.settle(number) == "failed"
        assert releases(house) == {1: "serving", 2: "failed"}
        assert "it does not listen" in house.store.change(number).reason
        assert len([n for n in house.running if "-r1-" in n]) == 4

    live(story)


@pytest.mark.parametrize("at", ["starting", "dark", "growing", "canary", "full", "baking", "aborting"])
def test_a_control_plane_that_dies_goes_on_where_it_was(live, at):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house, new_fails=0.3 if at == "aborting" else 0.0):
            house.ask(NEW)
            await house.until(lambda: state(house) == at, seconds=1800, every=0.01)
            await house.sleep()
            house.move_in()
            await house.wake()
            assert state(house) == at
            await house.until(lambda: state(house) is None, seconds=1800)
        wanted = "rolled-back" if at == "aborting" else "serving"
        assert releases(house)[2] == wanted

    live(story)


def test_what_the_judge_has_seen_outlives_the_control_plane(live):
    async def story(house):
        await house.settle(house.ask(OLD))
        async with traffic(house):
            await house.settle(house.ask(NEW))
            await house.until(lambda: state(house) == "canary")
            began = house.store.pins()["orders"].progress.since
            await asyncio.sleep(6)
            await house.sleep()
            house.move_in()
            kept = house.store.pins()["orders"].progress
            assert from_json(kept.judge).at > began + 4
            assert from_json(kept.judge).totals.stable > 500
            await house.wake()

    live(story)
