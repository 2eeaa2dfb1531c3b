from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest

from atoll import wire
from atoll.comparer import working
from atoll.comparer.asking import LARGEST, Asker
from atoll.comparer.taking import Copy
from atoll.comparer.working import Worker
from atoll.model.system import Operation
from atoll.policies.comparing.canonical import Contract
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.messages import Findings, Orders, Task
from atoll.policies.comparing.samples import LATENCY, LeftOut
from atoll.policies.comparing.valve import FIRST

TASK = Task("orders", "orders-r2", 5.0, 2, 1.0, Contract(masked=("id",)), safe=(Operation("POST", "/find"),))


def copy(target="/orders/7", method="GET", service="orders", body=b""):
    return Copy(service, method, target, (("host", "shop.test"),), body)


@pytest.fixture
async def worker(mesh):
    mesh.answers = {"orders": (200, b'{"id": 1, "total": 1}'), "orders@next": (200, b'{"id": 2, "total": 2}')}
    asker = Asker(mesh.socket, Random(7))
    one = Worker(asker)
    one.told(Orders((TASK,)))
    yield one
    await one.close()
    await asker.close()


async def found(worker, count=1):
    """All that is found until so many copies were compared or left out."""
    samples, left_out = [], {}
    async with asyncio.timeout(10):
        while len(samples) + sum(left_out.values()) < count:
            for findings in worker.findings():
                assert (findings.service, findings.since) == ("orders", 5.0)
                samples += findings.samples
                for why, number in findings.left_out.items():
                    left_out[why] = left_out.get(why, 0) + number
            await asyncio.sleep(0.005)
    return samples, left_out


async def test_a_copy_becomes_a_sample(worker):
    worker.offer(copy())
    (one,), left_out = await found(worker)
    assert (one.endpoint, left_out) == ("GET /orders/{id}", {})
    assert {path: odd for path, odd in one.odd.items() if path != LATENCY} == {"total": Odd.CANDIDATE}
    assert [example.path for example in one.examples] == ["total"]


async def test_a_candidate_that_alone_gives_no_whole_answer_is_the_odd_one(worker, mesh):
    mesh.answers["orders@next"] = (200, b"x" * (LARGEST + 1))
    worker.offer(copy())
    (one,), left_out = await found(worker)
    assert (one.odd[":status"], left_out) == (Odd.CANDIDATE, {})


async def test_whatever_goes_wrong_in_comparing_is_counted(worker, monkeypatch):
    def broken(*_, **__):
        raise RecursionError

    monkeypatch.setattr(working, "sample", broken)
    worker.offer(copy())
    assert await found(worker) == ([], {f"{LeftOut.BROKEN} (RecursionError)": 1})


async def test_what_is_found_can_be_told_whatever_the_answers_are(worker, mesh):
    names = b", ".join(rb'"\ud83d%d%s": "\ud83d\u001b[2J"' % (n, b"k" * 1000) for n in range(300))
    mesh.answers["orders@next"] = (200, b"{" + names + b"}")
    worker.offer(copy())
    samples, left_out = await found(worker)
    line = wire.encode(Findings("orders", 5.0, tuple(samples)))
    assert (left_out, len(line) < 20_000) == ({}, True)
    assert wire.decode(line, Findings).samples == tuple(samples)
    paths = [*samples[0].odd, *(example.path for example in samples[0].examples)]
    assert len(paths) > 20
    assert all(path.isprintable() for path in paths)


async def test_what_may_change_something_is_not_asked_again_even_if_it_comes(worker, mesh):
    for method, target in (("POST", "/orders"), ("DELETE", "/orders/7"), ("POST", "/find/all")):
        worker.offer(copy(target, method))
    worker.offer(copy("/find?x=1", "POST"))
    worker.offer(copy(service="unknown"))
    (one,), _ = await found(worker)
    assert one.endpoint == "POST /find"
    assert {line for line, _, _ in mesh.asked} == {"POST /find?x=1 HTTP/1.1"}


async def test_no_more_are_compared_at_a_time_than_may_be(worker, mesh):
    gate = asyncio.Event()

    async def later():
        await gate.wait()
        return 200, b"{}"

    mesh.answers = {"orders": later, "orders@next": later}
    for _ in range(5):
        worker.offer(copy())
    gate.set()
    samples, left_out = await found(worker, 5)
    assert (len(samples), left_out) == (2, {LeftOut.BUSY: 3})


async def test_a_release_that_does_not_answer_is_soon_asked_no_more(worker, mesh):
    async def never():
        await asyncio.Event().wait()

    mesh.answers["orders@next"] = never
    worker.told(Orders((replace(TASK, timeout=0.02),)))
    odd = []
    for _ in range(5):
        worker.offer(copy())
        samples, _ = await found(worker)
        odd += [one.odd[":status"] for one in samples]
    assert odd == [Odd.CANDIDATE] * 5
    asked = len(mesh.asked)
    worker.offer(copy())
    assert await found(worker) == ([], {LeftOut.PAUSED: 1})
    assert len(mesh.asked) == asked
    await asyncio.sleep(FIRST)  # then one copy shows that it does not answer yet
    worker.offer(copy())
    assert len((await found(worker))[0]) == 1
    await asyncio.sleep(FIRST)
    worker.offer(copy())
    assert await found(worker) == ([], {LeftOut.PAUSED: 1})


async def test_what_was_found_in_a_run_that_is_over_is_not_told(worker):
    worker.offer(copy())
    await found(worker)
    worker.offer(copy())
    worker.told(Orders((replace(TASK, since=6.0),)))
    await asyncio.wait(worker._tasks)
    assert list(worker.findings()) == []
    worker.told(Orders())
    worker.offer(copy())
    assert list(worker.findings()) == []


async def test_a_contract_that_leaves_nothing_of_an_answer_is_noticed_every_time(worker):
    worker.told(Orders((replace(TASK, contract=Contract(masked=("id", "total"))),)))
    for _ in range(2):
        worker.offer(copy())
    samples, left_out = await found(worker, 2)
    assert ([one.bare for one in samples], left_out) == ([True, True], {})


async def test_a_body_that_was_too_large_is_counted(worker):
    worker.offer(copy(body=None))
    assert await found(worker) == ([], {LeftOut.LARGE: 1})
