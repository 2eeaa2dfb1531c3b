"""The ambient deadline, and how it crosses processes."""

# ruff: noqa: PT012, SIM117 - optional libraries; scenarios in one piece
import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.kit import (
    DeadlineExceeded,
    InvalidPolicy,
    Policy,
    Retry,
    check,
    deadline,
    deadline_from,
    deadline_from_message,
    deadline_headers,
    message_headers,
    remaining,
    retry_headers,
    scopes,
)
from atoll.kit.testing import virtual_time


@pytest.fixture
def clock():
    with virtual_time(1000.0) as time:
        yield time


def test_without_one_there_is_all_the_time():
    assert remaining() == math.inf
    assert scopes() == ()
    assert deadline_headers() == message_headers() == {}
    check()


def test_it_is_only_ever_shortened(clock):
    with deadline(5, "outer"):
        with deadline(9, "longer"):
            assert remaining() == pytest.approx(5)
            assert scopes() == ("outer (5 s)",)
        with deadline(2, "shorter"):
            assert remaining() == pytest.approx(2)
            assert scopes() == ("shorter (2 s)", "outer (5 s)")
        assert remaining() == pytest.approx(5)
        clock.advance(6)
        assert remaining() == 0
        with pytest.raises(DeadlineExceeded) as caught:
            check()
    assert caught.value.scopes == ("outer (5 s)",)
    assert "ended 1.000 s ago" in str(caught.value)


def test_an_async_block_is_cancelled_and_says_who_spent_the_time(clock):
    async def main():
        began = clock.now()
        with pytest.raises(DeadlineExceeded, match=r"inner \(1 s\) in outer \(3 s\)"):
            async with deadline(3, "outer"), deadline(1, "inner"):
                await asyncio.sleep(10)
        assert clock.now() - began == pytest.approx(1)
        with pytest.raises(DeadlineExceeded) as caught:
            async with deadline(1, "outer"), deadline(3, "inner"):
                await asyncio.sleep(10)
        assert caught.value.scopes == ("outer (1 s)",)
        async with deadline(1, "quick enough"):
            await asyncio.sleep(0.5)
        async with deadline(math.inf, "no limit"):
            await asyncio.sleep(50)
        await asyncio.sleep(5)
        assert asyncio.current_task().cancelling() == 0

    clock.run(main())


def test_two_scopes_that_end_at_the_same_moment(clock):
    async def main():
        with pytest.raises(DeadlineExceeded):
            async with deadline(1, "a"):
                async with deadline(1, "b"):
                    await asyncio.sleep(5)
        assert asyncio.current_task().cancelling() == 0

    clock.run(main())


def test_many_tasks_share_one_deadline(clock):
    async def main():
        async with deadline(1, "request"):
            tasks = [asyncio.create_task(Policy("p", budget=9).call(asyncio.sleep, 9)) for _ in range(20)]
            await asyncio.sleep(0.5)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in done} == {DeadlineExceeded}

    clock.run(main())


def test_a_deadline_that_is_no_number_is_an_error():
    with pytest.raises(InvalidPolicy):
        deadline(math.nan)


def test_headers_out(clock):
    with deadline(1.5, "request"):
        assert deadline_headers() == {"x-envoy-expected-rq-timeout-ms": "1500"}
        assert deadline_headers(hop=0.5) == {"x-envoy-expected-rq-timeout-ms": "1000"}
        assert deadline_headers(hop=5) == {"x-envoy-expected-rq-timeout-ms": "0"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, math.inf),
        ({"x-envoy-expected-rq-timeout-ms": "250"}, 0.25),
        ({"x-envoy-expected-rq-timeout-ms": "0"}, 0.0),
        ({"x-envoy-expected-rq-timeout-ms": "-1"}, math.inf),
        ({"x-envoy-expected-rq-timeout-ms": "soon"}, math.inf),
        ({"grpc-timeout": "2S"}, 2.0),
        ({"grpc-timeout": "1H"}, 3600.0),
        ({"grpc-timeout": "3M"}, 180.0),
        ({"grpc-timeout": "100m"}, 0.1),
        ({"grpc-timeout": "5u"}, 5e-6),
        ({"grpc-timeout": "7n"}, 7e-9),
        ({"grpc-timeout": "123456789S"}, math.inf),
        ({"grpc-timeout": "1S", "x-envoy-expected-rq-timeout-ms": "500"}, 0.5),
        ({"grpc-timeout": "\u0661S"}, math.inf),
    ],
)
def test_headers_in(headers, seconds):
    assert deadline_from(headers) == pytest.approx(seconds)


@given(st.floats(0.001, 1000))
def test_a_deadline_survives_the_way(seconds):
    with virtual_time(1000.0):
        with deadline(seconds, "request"):
            headers = deadline_headers() | message_headers()
        assert deadline_from(headers) == pytest.approx(seconds, abs=0.0011)
        assert deadline_from_message(headers) == pytest.approx(seconds, abs=0.0011)


def test_a_message_ages_while_it_waits(clock):
    with deadline(5, "request"):
        headers = message_headers()
    clock.advance(4)
    assert deadline_from_message(headers) == pytest.approx(1)
    clock.advance(4)
    assert deadline_from_message(headers) == 0
    assert deadline_from_message({}) == math.inf


def test_one_retries_and_says_so():
    """Envoy or the kit, never both: the header that Envoy's router obeys is sent exactly where the kit retries."""
    assert retry_headers(Policy("p", retry=Retry(2))) == {"x-envoy-max-retries": "0"}
    assert retry_headers(Policy("p", retry=Retry(0))) == {}
    assert retry_headers(Policy("p", timeout=1)) == {}
    assert retry_headers(None) == {}
