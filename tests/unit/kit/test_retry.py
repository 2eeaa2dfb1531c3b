"""Retries: what is tried again, when, and when not."""

# ruff: noqa: PLC0415, PT011, PT012, BLE001 - optional libraries; scenarios in one piece
import asyncio

import pytest

from atoll.kit import FAIL, IGNORE, Policy, Retry, RetryBudget, clock, deadline, errors, throttled
from atoll.kit.testing import capture, instant, virtual_time


class Flaky:
    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        outcome = self.outcomes.pop(0) if self.outcomes else "well"
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def later(self):
        return self()


def both(policy, make):
    """The outcome of a sync and of an async call: (answer or error, calls, seconds), which must agree."""
    seen = []
    for sync in (True, False):
        with virtual_time(1000.0) as clock:
            flaky = make()
            mine = policy()
            began = clock.now()
            try:
                answer = mine.run(flaky) if sync else clock.run(mine.call(flaky.later))
            except Exception as error:
                answer = error
            seen.append((answer, flaky.calls, pytest.approx(clock.now() - began)))
    assert repr(seen[0][0]) == repr(seen[1][0])
    assert seen[0][1] == seen[1][1]
    assert seen[0][2].expected == seen[1][2]
    return seen[0]


def test_what_the_network_does_is_tried_again():
    answer, calls, _ = both(lambda: Policy("p", retry=Retry(2)), lambda: Flaky(OSError(), ConnectionError()))
    assert (answer, calls) == ("well", 3)


def test_the_last_error_arrives_itself():
    last = OSError("last")
    answer, calls, _ = both(lambda: Policy("p", retry=Retry(2)), lambda: Flaky(OSError(), OSError(), last))
    assert answer is last
    assert calls == 3
    assert answer.__context__ is None


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("mine")])
def test_a_mistake_is_not_tried_again(error):
    answer, calls, took = both(lambda: Policy("p", retry=Retry(2)), lambda: Flaky(error))
    assert (answer, calls, took) == (error, 1, 0)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()])
def test_what_is_no_failure_passes_at_once(error):
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        Policy("p", retry=Retry(2)).run(flaky)
    assert flaky.calls == 1


def test_zero_retries_is_one_try():
    assert both(lambda: Policy("p", retry=Retry(0)), lambda: Flaky(OSError("x")))[1] == 1


def test_the_pauses_are_full_jitter_between_zero_and_the_cap(monkeypatch):
    from atoll.kit import clock as times

    pauses = []
    with virtual_time():
        monkeypatch.setattr(times, "pause", pauses.append)
        monkeypatch.setattr(times, "chance", lambda: 0.5)
        with pytest.raises(OSError):
            Policy("p", retry=Retry(5, base=0.1, cap=0.5, budget=RetryBudget(floor=9))).run(Flaky(*[OSError()] * 6))
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.25, 0.25])


def test_the_budget_is_shared_by_all_calls_and_always_has_its_floor():
    with virtual_time():
        policy = Policy("p", retry=Retry(1, budget=RetryBudget(ratio=0.1, floor=2)))
        tried = 0
        for _ in range(50):
            flaky = Flaky(OSError(), OSError())
            with pytest.raises(OSError):
                policy.run(flaky)
            tried += flaky.calls
        assert tried == 50 + 5
        assert policy.state()["retry"]["budget_exhausted"] == 45


def test_the_budget_comes_back_with_time():
    with virtual_time() as clock:
        policy = Policy("p", retry=Retry(1, budget=RetryBudget(ratio=0.0, floor=1, window=10)))
        for calls in (2, 1):
            flaky = Flaky(OSError(), OSError())
            with pytest.raises(OSError):
                policy.run(flaky)
            assert flaky.calls == calls
        clock.advance(10)
        assert policy.run(Flaky(OSError())) == "well"


def test_retry_after_is_kept_up_to_the_patience():
    def classify(error):
        return throttled(float(str(error)))

    answer, calls, took = both(
        lambda: Policy("p", retry=Retry(2, base=0.01, cap=0.01), classify=classify), lambda: Flaky(OSError("3"))
    )
    assert (answer, calls) == ("well", 2)
    assert took == 3
    answer, calls, took = both(
        lambda: Policy("p", retry=Retry(2, patience=2), classify=classify), lambda: Flaky(OSError("3"))
    )
    assert (calls, took) == (1, 0)


def test_no_retry_that_cannot_end_before_the_deadline():
    with virtual_time() as clock:
        policy = Policy("p", retry=Retry(1, base=0, cap=0))

        def slow():
            clock.advance(1.0)
            return "well"

        for _ in range(256):  # it learns what a try takes from a sample
            policy.run(slow)
        flaky = Flaky(OSError("first"))
        with deadline(0.5, "request"), pytest.raises(OSError, match="first"):
            policy.run(flaky)
        assert flaky.calls == 1
        with deadline(5, "request"):
            assert policy.run(Flaky(OSError())) == "well"


def test_no_pause_longer_than_what_is_left():
    with virtual_time() as clock:
        policy = Policy("p", retry=Retry(1, patience=60), classify=lambda _: throttled(5))
        began = clock.now()
        with deadline(2, "request"), pytest.raises(OSError):
            policy.run(Flaky(OSError()))
        assert clock.now() == began


def test_classifiers_by_type():
    classify = errors(retry=(ValueError,), fail=(OSError,), ignore=(KeyError,), otherwise=lambda _: IGNORE)
    assert classify(ValueError()).kind == "retry"
    assert classify(OSError()) is FAIL
    assert classify(KeyError()) is IGNORE
    assert classify(RuntimeError()) is IGNORE
    assert Policy("p", retry=Retry(1), classify=classify).run(Flaky(ValueError())) == "well"


def test_values_can_be_judged_and_come_back_when_retries_end():
    from atoll.kit import OK, RETRY

    def judge(value):
        return RETRY if value == 503 else OK

    answer, calls, _ = both(lambda: Policy("p", retry=Retry(2), judge=judge), lambda: Flaky(503, 200))
    assert (answer, calls) == (200, 2)
    answer, calls, _ = both(lambda: Policy("p", retry=Retry(1), judge=judge), lambda: Flaky(503, 503, 503))
    assert (answer, calls) == (503, 2)


def test_events_tell_what_happened():
    with capture() as seen, instant(), pytest.raises(OSError):
        Policy("named", retry=Retry(1)).run(Flaky(OSError("a"), OSError("b")))
    assert [(each.policy, each.kind) for each in seen] == [("named", "retry"), ("named", "give-up")]
    assert str(seen[0].error) == "a"


def test_attempts_around_a_block():
    with virtual_time() as clock:
        policy = Policy("p", retry=Retry(2, budget=RetryBudget(floor=9)), timeout=1, budget=8)

        async def main():
            tries = 0
            async for attempt in policy.attempts():
                async with attempt:
                    tries += 1
                    assert attempt.number == tries
                    if tries == 1:
                        raise OSError
                    if tries == 2:
                        await asyncio.sleep(5)
            assert tries == 3

        clock.run(main())
        tries = 0
        for attempt in policy.attempts():
            with attempt:
                tries += 1
                if tries < 3:
                    raise OSError
        assert tries == 3
        with pytest.raises(ValueError):
            for attempt in policy.attempts():
                with attempt:
                    raise ValueError
        for number, _ in enumerate(policy.attempts()):
            assert number == 0  # never entered: not tried again


def test_attempts_end_with_the_budget():
    with virtual_time() as clock:
        policy = Policy("p", retry=Retry(9, base=1, cap=1, budget=RetryBudget(floor=99)), budget=2)
        began = clock.now()
        with pytest.raises(OSError):
            for attempt in policy.attempts():
                with attempt:
                    clock.advance(0.5)
                    raise OSError
        assert clock.now() - began <= 2


def test_attempts_without_a_retry_are_one():
    with virtual_time():
        policy = Policy("p", timeout=1)
        tries = 0
        with pytest.raises(OSError):
            for attempt in policy.attempts():
                with attempt:
                    tries += 1
                    raise OSError
        assert tries == 1


def test_attempts_do_not_wait_longer_than_the_budget():
    with virtual_time() as clock:
        policy = Policy("p", retry=Retry(3, patience=60), budget=2, classify=lambda _: throttled(5))
        began = clock.now()
        with pytest.raises(OSError):
            for attempt in policy.attempts():
                with attempt:
                    raise OSError
        assert clock.now() == began


@pytest.mark.parametrize("calls", [1, 127, 128, 129, 300])
def test_every_call_is_counted_though_few_look_at_the_clock(calls):
    with virtual_time():
        policy = Policy("p", retry=Retry(1, base=0, cap=0, budget=RetryBudget(ratio=0.5, floor=0)))
        for _ in range(calls):
            policy.run(int)
        state = policy.state()["retry"]
        assert (state["calls"], state["recent_calls"], state["retries"]) == (calls, calls, 0)
        granted = 0
        for _ in range(calls + 10):
            flaky = Flaky(OSError(), OSError())
            with pytest.raises(OSError):
                policy.run(flaky)
            granted += flaky.calls - 1
        assert granted == pytest.approx((2 * calls + 10) / 2, abs=1)
        assert policy.state()["retry"]["recent_retries"] == granted


@pytest.mark.parametrize("start", [0.0, 123.456, 12_345.678, 3e7 / 7])
def test_calls_that_nobody_looked_at_are_taken_to_have_come_evenly(start):
    with virtual_time(start) as clock:
        policy = Policy("p", retry=Retry(1, budget=RetryBudget(window=10)))
        for _ in range(100):
            policy.run(int)
        clock.advance(40)
        state = policy.state()["retry"]
        assert (state["calls"], state["recent_calls"]) == (100, 25)
        clock.advance(11)
        assert policy.state()["retry"]["recent_calls"] == 0


def test_calls_leave_the_window_with_time():
    with virtual_time() as clock:
        policy = Policy("p", retry=Retry(1, budget=RetryBudget(window=10)))
        for _ in range(20):
            for _ in range(128):
                policy.run(int)
            clock.advance(1)
        assert policy.state()["retry"]["recent_calls"] == pytest.approx(10 * 128, abs=128)


def test_a_stream_counts_as_a_call():
    with virtual_time():
        policy = Policy("p", retry=Retry(1))

        @policy
        def numbers():
            yield 1

        for _ in range(130):
            assert list(numbers()) == [1]
        assert policy.state()["retry"]["calls"] == 130


# What mutation testing found that nothing else noticed.


def test_few_calls_read_the_clock(monkeypatch):
    with virtual_time() as time:
        policy = Policy("p", retry=Retry(1))
        policy.run(int)
        reads = []
        with monkeypatch.context() as patch:
            patch.setattr(clock, "now", lambda: reads.append(1) or time.now())
            for _ in range(1280):
                policy.run(int)
    assert 10 <= len(reads) <= 40


def reasons(events, kind):
    return [each.reason for each in events if each.kind == kind]


def test_events_say_which_try_and_why_no_more():
    with virtual_time(), capture() as events:
        with pytest.raises(OSError):
            Policy("p", retry=Retry(2)).run(Flaky(*[OSError()] * 3))
        with pytest.raises(OSError):
            Policy("p", retry=Retry(1, budget=RetryBudget(ratio=0, floor=0))).run(Flaky(OSError()))
        with pytest.raises(OSError), deadline(1, "request"):
            Policy("p", retry=Retry(1), classify=lambda _: throttled(5)).run(Flaky(OSError()))
        with pytest.raises(OSError):
            Policy("p", retry=Retry(1, patience=4), classify=lambda _: throttled(5)).run(Flaky(OSError()))
    assert reasons(events, "retry") == ["try 2", "try 3"]
    assert reasons(events, "give-up") == [
        "no more retries",
        "the retry budget is spent",
        "not enough time left",
        "told to wait 5 s",
    ]


def test_exactly_its_patience_is_waited_and_exactly_what_is_left_is_not_enough():
    with virtual_time() as time:
        patient = Policy("p", retry=Retry(1, patience=5), classify=lambda _: throttled(5))
        assert patient.run(Flaky(OSError())) == "well"
        began = time.now()
        with pytest.raises(OSError), deadline(5, "request"):
            patient.run(Flaky(OSError()))
        assert time.now() == began


def test_an_attempt_needs_what_half_of_all_take():
    with virtual_time() as time:
        policy = Policy("p", retry=Retry(1, base=0, cap=0))
        for seconds in (0.1, 0.1, 0.1, 0.1, 10.0):
            policy.parts[0].learn(time.now() - seconds)
        with deadline(1, "request"):
            assert policy.run(Flaky(OSError())) == "well"
        with pytest.raises(OSError), deadline(0.05, "request"):
            policy.run(Flaky(OSError()))
