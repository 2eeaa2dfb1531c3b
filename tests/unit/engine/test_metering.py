from __future__ import annotations

import asyncio

import pytest

from atoll.engine.metering import PERIOD, WAIT, WINDOW, Meter
from atoll.errors import Unavailable
from atoll.ports import Traffic
from atoll.values.histograms import Bar

SLOW, QUICK = (Bar(22_900_000, 0, 9),), (Bar(5_000, 0, 90),)


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
            return {"orders": Traffic(total, total // 10)}

        house.mesh.traffic = traffic
        await asyncio.sleep(3 * PERIOD)
        rates = meter.rates()["orders"]
        assert (rates.rps, rates.errors) == (pytest.approx(50 / PERIOD), pytest.approx(0.1))

    metering(story)


def test_waiting_is_that_of_the_window_too_and_none_where_nobody_called(metering):
    async def story(house, meter):
        found = Traffic(10, 0, {"mesh orders": SLOW})

        async def traffic():
            return {"orders": found}

        async def later(requests, waited):
            nonlocal found
            found = Traffic(requests, 0, waited)
            await asyncio.sleep(WINDOW)
            rates = meter.rates()["orders"]
            return rates.rps > 0, rates.p99

        house.mesh.traffic = traffic
        await asyncio.sleep(2 * PERIOD + 1)
        assert meter.rates()["orders"].p99 is None  # whatever was before the first look
        assert await later(100, {"mesh orders": SLOW + QUICK}) == (True, 5)
        assert await later(100, {"mesh orders": SLOW + QUICK}) == (False, None)
        assert await later(110, {"mesh orders": SLOW + QUICK, "gateway orders": SLOW}) == (True, 22_900)
        assert await later(111, {"mesh orders": QUICK}) == (True, 5)  # a new process of the proxy, or it forgot
        assert await later(111, {}) == (False, None)
        assert await later(111, {"mesh orders": SLOW}) == (False, None)  # told late, of a call before the window

    metering(story)


def test_it_is_known_every_second_though_proxies_tell_of_it_every_five(metering):
    async def story(house, meter):
        begun = asyncio.get_running_loop().time()

        async def traffic():
            seconds = int(asyncio.get_running_loop().time() - begun)
            return {"orders": Traffic(10 * seconds, 0, {"mesh orders": (Bar(1_000, 0, 10 * (seconds - seconds % 5)),)})}

        house.mesh.traffic = traffic
        await asyncio.sleep(WINDOW)
        for _ in range(20):
            await asyncio.sleep(1.01)
            await meter.sample()
            assert meter.rates()["orders"].p99 == 1
            assert meter.rates()["orders"].rps == pytest.approx(10, rel=0.15)

    metering(story)


def test_over_a_look_that_failed_nothing_is_known(metering):
    async def story(house, meter):
        total, away = 0, False

        async def traffic():
            nonlocal total
            total += 1_000 if away else 10
            if away:
                raise Unavailable("the mesh proxy does not answer")
            return {"orders": Traffic(total, 0)}

        house.mesh.traffic = traffic
        await asyncio.sleep(3 * PERIOD + 1)
        away = True
        await asyncio.sleep(PERIOD)
        assert meter.rates() == {}
        away = False
        await asyncio.sleep(PERIOD)
        assert meter.rates()["orders"].rps == 0
        await asyncio.sleep(PERIOD)
        assert meter.rates()["orders"].rps == pytest.approx(10 / PERIOD)

    metering(story)


def test_it_goes_on_after_an_error_that_nobody_foresaw(metering):
    async def story(house, meter):
        house.foreseen = ("reading the counters failed: KeyError: 'stats'",)
        broken = True

        async def traffic():
            if broken:
                raise KeyError("stats")
            return {"orders": Traffic(1, 0)}

        house.mesh.traffic = traffic
        await house.until(lambda: house.texts("internal"))
        await asyncio.sleep(3 * PERIOD)
        assert (len(house.texts("internal")), meter.rates()) == (1, {})
        broken = False
        await house.until(meter.rates)

    metering(story)


def test_nobody_waits_for_a_proxy_that_hangs_and_it_is_asked_once(metering):
    async def story(house, meter):
        asked, hangs = [], asyncio.Event()

        async def traffic():
            asked.append(1)
            await hangs.wait()
            return {"orders": Traffic(7, 0)}

        house.mesh.traffic = traffic
        async with asyncio.timeout(3 * WAIT):
            await meter.sample()
            await meter.sample()
        assert (asked, dict(meter.rates())) == ([1], {})
        hangs.set()
        await meter.sample()
        assert "orders" in meter.rates()

    metering(story)
