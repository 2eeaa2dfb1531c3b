"""Rate, fallback, chaos, observation: each alone, sync and async."""

# ruff: noqa: PT011 - optional libraries; scenarios in one piece
import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.kit import (
    Chaos,
    ChaosFault,
    CircuitOpen,
    Fallback,
    InvalidPolicy,
    Meter,
    Policy,
    Rate,
    RateExceeded,
    Unavailable,
    deadline,
    policies,
    subscribe,
)
from atoll.kit.latency import Latency
from atoll.kit.testing import capture, virtual_time
from atoll.kit.window import Window


@pytest.fixture
def clock():
    with virtual_time(1000.0) as time:
        yield time


def test_rate_refuses_what_is_too_much_and_says_when(clock):
    policy = Policy("p", rate=Rate(10, per=1.0, burst=3))
    assert [policy.run(int) for _ in range(3)] == [0, 0, 0]
    with pytest.raises(RateExceeded) as caught:
        policy.run(int)
    assert caught.value.retry_after == pytest.approx(0.1)
    clock.advance(0.1)
    policy.run(int)
    assert policy.state()["rate"] == {"passed": 4, "rejected": 1}


@pytest.mark.parametrize("start", [0.0, 1000.0, *(number / 7 for number in range(30))])
def test_a_burst_gets_through_whole_whatever_floats_say(start):
    with virtual_time(start) as time:
        policy = Policy("p", rate=Rate(10, per=1.0, burst=3))
        for _ in range(3):
            policy.run(int)
        for _ in range(100):
            time.advance(0.1)
            policy.run(int)
        with pytest.raises(RateExceeded):
            policy.run(int)


def test_rate_waits_its_turn(clock):
    policy = Policy("p", rate=Rate(10, wait=0.25))

    async def main():
        began = clock.now()
        results = await asyncio.gather(*(policy.call(asyncio.sleep, 0, 1) for _ in range(5)), return_exceptions=True)
        assert [isinstance(each, RateExceeded) for each in results] == [False] * 3 + [True] * 2
        assert clock.now() - began == pytest.approx(0.2)

    clock.run(main())
    began = clock.now()
    policy.run(int)
    assert clock.now() - began == pytest.approx(0.1)
    with deadline(0.05, "request"), pytest.raises(RateExceeded):
        policy.run(int)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 2), min_size=1, max_size=60), st.integers(1, 5))
def test_rate_never_lets_more_through_than_it_says(gaps, burst):
    with virtual_time(1000.0) as clock:
        policy = Policy("p", rate=Rate(2, per=1.0, burst=burst))
        passed = []
        for gap in gaps:
            clock.advance(gap)
            try:
                policy.run(int)
            except RateExceeded:
                continue
            passed.append(clock.now())
        for at, first in enumerate(passed):
            for last, second in enumerate(passed[at:], start=at):
                assert last - at + 1 <= burst + 2 * (second - first) + 1e-6


def test_fallback_answers(clock):
    async def down(order):
        raise OSError(order)

    async def cached(order):
        return f"cached {order}"

    assert clock.run(Policy("p", fallback=Fallback(value=7))(down)(1)) == 7
    assert clock.run(Policy("p", fallback=Fallback(call=lambda order: -order))(down)(1)) == -1
    assert clock.run(Policy("p", fallback=Fallback(call=cached))(down)(1)) == "cached 1"
    with pytest.raises(InvalidPolicy, match="async"):
        Policy("p", fallback=Fallback(call=cached)).run(int)


def test_fallback_only_for_what_it_is_for(clock):
    policy = Policy("p", fallback=Fallback(value="none", on=(Unavailable,)))
    with pytest.raises(OSError, match="no"):
        policy.run(_raise, OSError("no"))
    assert policy.run(_raise, CircuitOpen("open")) == "none"
    mistake = TypeError("mine")
    with pytest.raises(TypeError) as caught:
        Policy("p", fallback=Fallback(value="none")).run(_raise, mistake)
    assert caught.value is mistake
    with pytest.raises(KeyboardInterrupt):
        Policy("p", fallback=Fallback(value="none")).run(_raise, KeyboardInterrupt())


def _raise(error):
    raise error


def test_stale_answers_to_the_same_question(clock):
    down = False
    policy = Policy("p", fallback=Fallback(stale=60, keep=2))

    @policy
    def price(item, *, currency="EUR"):
        if down:
            raise OSError(item)
        return f"{item} {currency}"

    assert price("a") == "a EUR"
    assert price("b", currency="USD") == "b USD"
    price(["unhashable"])
    down = True
    with capture() as seen:
        assert price("a") == "a EUR"
    assert [each.kind for each in seen] == ["stale"]
    assert price("b", currency="USD") == "b USD"
    with pytest.raises(OSError):
        price("b")  # another question
    with pytest.raises(OSError):
        price(["unhashable"])
    down = False
    price("c")  # the oldest answer goes
    down = True
    with pytest.raises(OSError):
        price("a")
    clock.advance(61)
    with pytest.raises(OSError):
        price("c")
    assert policy.state()["fallback"] == {"served": 2, "stale": 2}


def test_stale_or_else_the_value(clock):
    policy = Policy("p", fallback=Fallback(value="nothing", stale=60))
    assert policy.run(_raise, OSError()) == "nothing"


def test_chaos_is_off_unless_asked_for():
    policy = Policy("p", chaos=Chaos(rate=1.0))
    assert policy.run(int) == 0
    assert "chaos" not in policy.explain().partition("async def")[2]


def test_chaos_is_repeatable(clock):
    def outcomes(seed):
        policy = Policy("p", chaos=Chaos(rate=0.3, when=lambda: True, seed=seed))
        return [_outcome(policy) for _ in range(50)]

    def _outcome(policy):
        try:
            return policy.run(int)
        except ChaosFault:
            return "fault"

    assert outcomes(1) == outcomes(1) != outcomes(2)
    assert 5 < outcomes(1).count("fault") < 25


def test_chaos_delays_and_fails_as_told(clock):
    on = True
    policy = Policy("p", chaos=Chaos(rate=1.0, latency=2.0, when=lambda: on))
    began = clock.now()
    policy.run(int)
    clock.run(policy.call(asyncio.sleep, 0))
    assert clock.now() - began == pytest.approx(4)
    assert policy.state()["chaos"] == {"struck": 2}
    with pytest.raises(ValueError):
        Policy("q", chaos=Chaos(rate=1.0, fault=ValueError, when=lambda: True)).run(int)
    on = False
    policy.run(int)
    assert clock.now() - began == pytest.approx(4)


def test_an_observer_is_told_of_every_call(clock):
    told = []
    policy = Policy("p", observe=lambda *call: told.append(call))
    policy.run(clock.advance, 2)
    error = OSError()
    with pytest.raises(OSError):
        policy.run(_raise, error)
    assert told == [("p", pytest.approx(2), None), ("p", 0, error)]
    assert policy.state() == {"observe": {}}


def test_a_meter_keeps_a_histogram(clock):
    policy = Policy("p", observe=Meter())
    for each in range(1, 101):
        policy.run(clock.advance, each / 100)
    with pytest.raises(OSError):
        policy.run(_raise, OSError())
    state = policy.state()["observe"]
    assert (state["calls"], state["errors"]) == (101, 1)
    assert state["p50"] == pytest.approx(0.5, rel=0.15)
    assert state["p99"] == pytest.approx(1.0, rel=0.15)


@given(st.floats(1e-6, 60_000))
def test_a_quantile_is_close(seconds):
    latency = Latency()
    latency.record(seconds)
    assert seconds <= latency.quantile(0.5) * (1 + 1e-9)
    assert latency.quantile(0.5) <= seconds * 1.13


def test_latencies_are_forgotten():
    latency = Latency()
    assert latency.quantile(0.5) == 0
    for _ in range(1024):
        latency.record(10)
    for _ in range(3000):
        latency.record(0.1)
    assert latency.quantile(0.5) < 0.2
    assert latency.count == 4024
    latency.record(0)
    latency.record(1e12)
    assert latency.quantile(1.0) > 1000


@given(st.sampled_from([0.5, 10.0, 60.0]), st.lists(st.tuples(st.floats(0, 0.4), st.integers(0, 2)), max_size=60))
def test_a_window_counts_the_last_seconds(span, steps):
    now, seen = 100.0, []
    window = Window(span, now)
    for gap, kind in steps:
        now += gap * span
        window.recent(now)
        if kind == 0:
            window.good += 1
        elif kind == 1:
            window.bad += 1
        else:
            window.slow += 1
        seen.append((now, kind))
        for index, count in enumerate(window.recent(now)):
            surely = sum(1 for at, each in seen if each == index and now - at < 0.9 * span - 1e-9)
            possibly = sum(1 for at, each in seen if each == index and now - at <= span + 1e-9)
            assert surely <= count <= possibly
    window.forget()
    assert window.recent(now) == (0, 0, 0)


def test_a_window_that_another_thread_turned_stays():
    window = Window(10.0, 0.0)
    window.rotate(5.0)
    turn = window.turn
    window.rotate(2.0)
    assert window.turn == turn


def test_all_policies_are_known():
    policy = Policy("known-policy", rate=Rate(1))
    assert policy in policies()
    del policy
    assert "known-policy" not in [each.name for each in policies()]


def test_a_failing_subscriber_is_a_warning_and_the_call_goes_on(clock):
    def broken(event):
        raise ValueError("broken")

    stop = subscribe(broken)
    try:
        policy = Policy("p", rate=Rate(1))
        policy.run(int)
        with pytest.warns(RuntimeWarning, match="broken"), pytest.raises(RateExceeded):
            policy.run(int)
    finally:
        stop()
    with pytest.raises(RateExceeded):
        policy.run(int)


def test_limits_keep_no_state():
    assert Policy("p", timeout=1).parts[0].state() == {}
