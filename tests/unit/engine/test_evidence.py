"""From the proxies' counters to what a judge reads."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from atoll.engine.evidence import Evidence
from atoll.errors import Unavailable
from atoll.plan.blueprint import Address
from atoll.policies.judge.counters import Snapshot, difference
from atoll.policies.judge.evidence import Arm, Latency
from atoll.ports import HostCalls
from atoll.values.histograms import Bar

ORDERS = frozenset({"orders"})


def instance(name, ip, release):
    return SimpleNamespace(name=name, address=Address(ip, 80), recipe=SimpleNamespace(release=release))


WORKLOAD = SimpleNamespace(service="orders", instances=(instance("old", "10.0.0.1", 1), instance("new", "10.0.0.2", 2)))


class Proxies:
    """Answers with what a test puts in it."""

    def __init__(self):
        self.now = 100.0
        self.answer: tuple[HostCalls, ...] | None = ()

    async def calls(self, _services):
        if self.answer is None:
            raise Unavailable("away")
        return self.answer

    def look(self, evidence, *answer, services=ORDERS):
        self.answer = answer
        self.now += 1.0
        asyncio.run(evidence.look(services))


@pytest.fixture
def proxies():
    return Proxies()


@pytest.fixture
def evidence(proxies):
    return Evidence(SimpleNamespace(mesh=proxies, clock=lambda: proxies.now))


def old(success, error, *times):
    return HostCalls("mesh", "10.0.0.1", 80, success, error, times=times)


def new(success, error, *times):
    return HostCalls("mesh", "10.0.0.2", 80, success, error, times=times)


def test_each_address_is_an_instance_of_one_side(evidence, proxies):
    proxies.look(evidence, old(10, 1), new(3, 0), HostCalls("mesh", "10.0.0.9", 80, 5, 5))
    snapshot = evidence.snapshot(WORKLOAD, 2, 0.1)
    assert [(r.instance, r.arm, r.success, r.error) for r in snapshot.readings] == [
        ("old", Arm.STABLE, 10, 1),
        ("new", Arm.CANARY, 3, 0),
    ]
    assert (snapshot.at, snapshot.share) == (101.0, 0.1)


def test_latency_is_of_what_was_added_since_the_last_batch(evidence, proxies):
    history = Bar(1000, 100, 500)
    for added in ((), (Bar(5000, 1000, 10),), (Bar(5000, 1000, 10),), (Bar(5000, 1000, 10), Bar(9000, 1000, 10))):
        proxies.look(evidence, new(1, 0, history, *added))
        (reading,) = evidence.snapshot(WORKLOAD, 2, 0.1).readings
        if added and reading.latency is not None:
            found = reading.latency
    assert found == Latency(10, 9500.0, 9950.0)


def test_what_was_there_before_the_first_look_and_nothing_new_say_nothing(evidence, proxies):
    for _ in range(2):
        proxies.look(evidence, new(1, 0, Bar(1000, 100, 500)))
        assert evidence.snapshot(WORKLOAD, 2, 0.1).readings[0].latency is None


def test_what_is_counted_by_name_stands_beside_the_clusters(evidence, proxies):
    counted = HostCalls("mesh", "10.0.0.2", 80, counts=(("placed", "200", 3),))
    proxies.look(evidence, new(9, 1), counted)
    readings = evidence.snapshot(WORKLOAD, 2, 0.1).readings
    assert [(r.success, r.error, r.counts) for r in readings] == [(9, 1, ()), (0, 0, (("placed", "200", 3),))]
    _, bucket = difference(difference(None, evidence.snapshot(WORKLOAD, 2, 0.1))[0], Snapshot(200.0, readings))
    assert bucket.units[0].counts == (("placed", 0),)


def test_time_passes_also_where_the_proxies_do_not_answer(evidence, proxies):
    proxies.look(evidence, old(10, 1))
    proxies.answer, proxies.now = None, 170.0
    asyncio.run(evidence.look(ORDERS))
    assert evidence.snapshot(WORKLOAD, 2, 0.1) == type(evidence.snapshot(WORKLOAD, 2, 0.1))(170.0, (), 0.1)
