"""A release that is compared, through the whole engine, in virtual time: what the comparer is told, what follows."""

from __future__ import annotations

import asyncio
import sqlite3

from atoll.plan.blueprint import Stage
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.messages import Findings
from atoll.policies.comparing.oddone import Profile
from atoll.policies.comparing.samples import Sample
from atoll.ports import HostCalls

COMPARE = "{masked: [id], samples: 50, for: 10s, safe: [POST /find], concurrency: 3}"
RELEASE = "{steps: [{weight: 10%, for: 10s}], most: 5m, bake: 10s}"
OLD = "{orders: {source: orders, instances: 2, release: {strategy: canary}}}"


def new(compare=COMPARE, run="better"):
    return f"{{orders: {{source: orders, instances: 2, run: {run}, compare: {compare}, release: {RELEASE}}}}}"


def state(house):
    progress = house.store.pins()["orders"].progress
    return progress.state if progress is not None else None


def say(house, count, odd=None, since=None, **left_out):
    sample = Sample("GET /orders", odd or {}, (0.01, 0.01, 0.01))
    now = house.comparer.orders.tasks[0].since if since is None else since
    house.comparer.say(Findings("orders", now, (sample,) * count, left_out))


async def shadowed(house, compare=COMPARE):
    """Release 2 stands in the shadow and the comparer has been told."""
    await house.settle(house.ask(OLD))
    await house.settle(house.ask(new(compare)))
    await house.until(lambda: state(house) == "shadow")
    await house.until(lambda: house.comparer.orders.tasks)


def test_the_comparer_is_told_what_and_only_while_it_is_to_be_compared(live):
    async def story(house):
        assert not house.comparer.orders.tasks
        await shadowed(house)
        (task,) = house.comparer.orders.tasks
        assert (task.service, task.run, task.concurrency) == ("orders", "orders-r2", 3)
        assert task.contract.masked == ("id",)
        assert [f"{one.method} {one.path}" for one in task.safe] == ["POST /find"]
        house.store.ask("orders", "abort", "ada", "changed my mind", 0.0)
        await house.until(lambda: not house.comparer.orders.tasks)

    live(story)


def test_answers_that_are_alike_let_it_go_to_its_first_users(live):
    async def story(house):
        await shadowed(house)
        say(house, 49)
        await asyncio.sleep(20)
        assert state(house) == "shadow"
        say(house, 1)
        await house.until(lambda: state(house) == "canary")
        assert not house.comparer.orders.tasks
        assert any("(comparer): answers alike to 50 calls to 1 endpoint" in text for text in house.texts("release"))
        account = house.engine.comparing.account(house.engine.changing.system, "orders")
        assert (account.verdict, account.samples, account.running) == ("pass", 50, False)

    live(story)


def test_how_much_it_is_called_is_known_when_its_first_users_come(live):
    async def story(house):
        await shadowed(house)
        address = house.engine.blueprint.workloads["orders"].instances[0].address
        for second in range(30):
            house.mesh.counted = (HostCalls("mesh", address.ip, address.port, 50 * second, 0),)
            await asyncio.sleep(1)
        say(house, 50)
        await house.until(lambda: state(house) == "canary")
        (prospect,) = [text for text in house.texts("release") if " rps, " in text]
        assert 40 < float(prospect.split()[2]) < 60, prospect

    live(story)


def test_answers_that_differ_abort_it_and_the_copies_stop_before_anything_ends(live):
    async def story(house):
        await shadowed(house)
        say(house, 10, {"total": Odd.CANDIDATE})
        await house.until(lambda: state(house) is None)
        assert {r.number: r.state for r in house.store.releases("orders")} == {1: "serving", 2: "rolled-back"}
        assert "its answers differ: total in GET /orders (10 of 10" in house.store.releases("orders")[0].note
        workloads = [b.workloads["orders"] for b in house.mesh.published]
        copied = [n for n, workload in enumerate(workloads) if workload.shadow is not None]
        leaving = [
            n
            for n, workload in enumerate(workloads)
            if any(i.recipe.release == 2 and i.stage in {Stage.DRAIN, Stage.STOP} for i in workload.instances)
        ]
        assert copied
        assert max(copied) + 1 < min(leaving)
        assert all(workload.split is None or workload.split.weight == 0 for workload in workloads)

    live(story)


def test_without_data_it_holds_and_is_compared_on_until_somebody_decides(live):
    async def story(house):
        await shadowed(house)
        say(house, 0, left_out=3)
        await house.until(lambda: state(house) == "shadow-holding", seconds=400)
        assert any("nothing was compared yet; 3 copies left out" in text for text in house.texts("release"))
        say(house, 60)
        await asyncio.sleep(30)
        assert (state(house), bool(house.comparer.orders.tasks)) == ("shadow-holding", True)
        house.store.ask("orders", "resume", "ada", "there is data now", 0.0)
        await house.until(lambda: state(house) == "canary")

    live(story)


def test_a_control_plane_that_dies_goes_on_with_what_was_compared(live):
    async def story(house):
        await shadowed(house)
        say(house, 49, {"id": Odd.ALL})
        await asyncio.sleep(8)
        await house.sleep()
        house.move_in()
        await house.wake()
        await house.until(lambda: house.comparer.orders.tasks)
        say(house, 1)
        await house.until(lambda: state(house) == "canary")

    live(story)


def test_what_is_found_of_another_run_or_by_another_contract_does_not_count(live):
    async def story(house):
        await shadowed(house)
        began = house.comparer.orders.tasks[0].since
        say(house, 100, {"total": Odd.CANDIDATE}, since=began - 1)
        await asyncio.sleep(20)
        assert state(house) == "shadow"
        say(house, 30)
        await house.settle(house.ask(new("{masked: [id, at], samples: 50, for: 10s}")))
        assert house.engine.comparing.account(None, "orders").samples == 0
        await house.until(lambda: house.comparer.orders.tasks[0].contract.masked == ("id", "at"))
        say(house, 30, {"at": Odd.CANDIDATE}, since=began)  # was under way
        assert house.engine.comparing.account(None, "orders").samples == 0

    live(story)


def test_what_the_proxies_refused_it_is_counted_from_when_it_was_compared(live):
    async def story(house):
        house.mesh.refusals = {"orders-r2-3": 5}
        await shadowed(house)
        await asyncio.sleep(3)
        house.mesh.refusals = {"orders-r2-3": 9}
        await asyncio.sleep(3)
        assert house.engine.comparing.account(None, "orders").blocked == 4

    live(story)


def test_the_noise_of_what_serves_is_known_in_the_next_run(live):
    async def story(house):
        await shadowed(house)
        say(house, 30, {"at": Odd.PRIMARY})
        house.store.ask("orders", "abort", "ada", "try again", 0.0)
        await house.until(lambda: state(house) is None)
        stable = house.store.pins()["orders"].stable.artifact
        assert house.store.comparisons.noise("orders", stable) == Profile(
            samples={"GET /orders": 20}, odd={("GET /orders", "at"): 30}
        )
        assert house.store.comparisons.noise("orders", "another") == Profile()

    live(story)


def test_a_comparer_that_cannot_work_is_told_once(live):
    async def story(house):
        await shadowed(house)
        house.comparer.problem = "the comparer cannot work: no room"
        await asyncio.sleep(5)
        assert house.texts("comparer") == ["the comparer cannot work: no room"]

    live(story)


def test_a_run_that_could_not_begin_begins_in_the_next_turn(live, monkeypatch):
    async def story(house):
        noise, errors = house.store.comparisons.noise, [sqlite3.OperationalError("disk I/O error")]

        def fail_once(*given):
            if errors:
                raise errors.pop()
            return noise(*given)

        monkeypatch.setattr(house.store.comparisons, "noise", fail_once)
        await shadowed(house)
        assert errors == []

    live(story)
