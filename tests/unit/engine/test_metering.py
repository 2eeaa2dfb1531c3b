from __future__ import annotations

import asyncio

import pytest

from atoll.engine.metering import PERIOD, Meter
from atoll.ports import Traffic


@pytest.fixture
def metering(live):
    """Run a test's coroutine with a meter that runs."""

    def run(story):
        async def inner(house):
            async def usage():
                return {}

            house.runtime.usage = usage
            meter = Meter(house.engine.parts)
            task = asyncio.create_task(meter.run())
            try:
                await story(house, meter)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()

        live(inner)

    return run


def test_rates_are_what_came_between_two_looks(metering):
    async def story(house, meter):
        total = 0

        async def traffic():
            nonlocal total
            total += 50
            return {"orders": Traffic(total, total // 10, 0.1, 0.2)}

        house.mesh.traffic = traffic
        await asyncio.sleep(3 * PERIOD)
        rates = meter.rates()["orders"]
        assert (rates.rps, rates.errors) == (pytest.approx(50 / PERIOD), pytest.approx(0.1))

    metering(story)


def test_it_goes_on_after_an_error_that_nobody_foresaw(metering):
    async def story(house, meter):
        house.foreseen = ("reading the counters failed: KeyError: 'stats'",)
        broken = True

        async def traffic():
            if broken:
                raise KeyError("stats")
            return {"orders": Traffic(1, 0, 0.1, 0.2)}

        house.mesh.traffic = traffic
        await house.until(lambda: house.texts("internal"))
        await asyncio.sleep(3 * PERIOD)
        assert (len(house.texts("internal")), meter.rates()) == (1, {})
        broken = False
        await house.until(meter.rates)

    metering(story)
