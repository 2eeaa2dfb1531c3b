from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from atoll.engine.probing import EAGER_LIMIT, Probing, Subject
from atoll.model.system import Check, Health
from atoll.plan.blueprint import Address

HEALTH = Health(ready=Check("/ready", interval=2.0, failures=3), live=Check("/live", interval=5.0, failures=2))
SUBJECT = Subject("orders-1", "orders", Address("10.0.0.1", 80), HEALTH)


@pytest.fixture
def probing(live):
    def run(story):
        async def inner(house):
            pokes = []
            one = Probing(house.prober, asyncio.get_running_loop().time, lambda: pokes.append(1))
            try:
                await story(one, house.prober, pokes)
            finally:
                await one.close()

        live(inner)

    return run


def word(one):
    return one.readiness().get("orders", {}).get("orders-1")


def asked(prober, path="/ready"):
    return [at for at, _, what in prober.asked if what == path]


def test_a_starting_one_is_asked_eagerly_and_a_serving_one_at_its_interval(probing):
    async def story(one, prober, pokes):
        prober.words["/ready"] = "connection refused"
        one.watch([SUBJECT])
        await asyncio.sleep(3)
        gaps = [b - a for a, b in pairwise(asked(prober))]
        assert gaps[0] < 0.02
        assert max(gaps) == pytest.approx(EAGER_LIMIT)
        assert (word(one).ready, word(one).reason, len(pokes)) == (False, "connection refused", 1)
        prober.words.clear()
        await asyncio.sleep(0.3)
        assert word(one).ready
        prober.asked.clear()
        await asyncio.sleep(20)
        assert {round(b - a, 6) for a, b in pairwise(asked(prober))} == {2.0}
        assert len(pokes) == 2

    probing(story)


def test_a_few_failures_are_forgiven(probing):
    async def story(one, prober, pokes):
        one.watch([SUBJECT])
        await asyncio.sleep(0.1)
        prober.words["/ready"] = "answered 503"
        await asyncio.sleep(2.1)
        assert word(one).ready
        await asyncio.sleep(1)
        assert not word(one).ready
        assert word(one).reason == "answered 503"

    probing(story)


def test_what_fails_its_live_check_is_dead_for_good(probing):
    async def story(one, prober, pokes):
        one.watch([SUBJECT])
        await asyncio.sleep(0.1)
        prober.words["/live"] = "timed out"
        await asyncio.sleep(11)
        assert (word(one).live, word(one).reason) == (False, "its live check failed 2 times: timed out")
        prober.words.clear()
        await asyncio.sleep(11)
        assert not word(one).live

    probing(story)


def test_the_live_check_waits_for_the_first_success(probing):
    async def story(one, prober, pokes):
        prober.words["/ready"] = prober.words["/live"] = "starting"
        one.watch([SUBJECT])
        await asyncio.sleep(60)
        assert asked(prober, "/live") == []

    probing(story)


def test_who_is_not_watched_is_not_asked_and_forgotten(probing):
    async def story(one, prober, pokes):
        one.watch([SUBJECT])
        await asyncio.sleep(0.1)
        kept = one.readiness()["orders"]
        one.watch([SUBJECT])
        assert one.readiness()["orders"] is kept
        one.watch([])
        prober.asked.clear()
        await asyncio.sleep(10)
        assert prober.asked == []
        assert one.readiness() == {}

    probing(story)


def test_an_error_that_nobody_foresaw_changes_no_word_and_it_is_asked_again(live):
    async def story(house):
        house.foreseen = ("asking whether orders-1 is ready: KeyError: 'x'", "asking whether orders-1 lives: KeyError")
        one = Probing(house.prober, asyncio.get_running_loop().time, lambda: None)
        one.watch([SUBJECT])
        await house.until(lambda: word(one))
        asks, broken = house.prober.probe, True

        async def probe(address, check):
            if broken:
                raise KeyError("x")
            return await asks(address, check)

        house.prober.probe = probe
        await house.until(lambda: len(house.texts("internal")) == 2)
        assert word(one).ready
        broken = False
        house.prober.words["/live"] = "it hangs"
        await house.until(lambda: not word(one).live)
        await one.close()

    live(story)
