"""What a user touches: decorators, calls, blocks, streams, replace, keyed, explain; and bad input."""

# ruff: noqa: PLC0415, PT011, PT012, PERF401, B007 - optional libraries; scenarios in one piece
import asyncio
import copy
import functools
import inspect
import math
import pickle
import traceback
import warnings

import pytest

from atoll.kit import (
    OK,
    RETRY,
    Adaptive,
    AttemptTimeout,
    Breaker,
    Budget,
    Bulkhead,
    BulkheadFull,
    Chaos,
    CircuitOpen,
    DeadlineExceeded,
    Fallback,
    Hedge,
    InvalidPolicy,
    Pipeline,
    Policy,
    PolicyError,
    PolicyWarning,
    Rate,
    RateExceeded,
    Retry,
    RetryBudget,
    Timeout,
    remaining,
)
from atoll.kit.testing import Stuck, instant, seeded, virtual_time


def whole(name="p", **changes):
    given = {
        "budget": 5.0,
        "fallback": Fallback(value="fallback", on=(CircuitOpen,)),
        "rate": Rate(1000, burst=100),
        "bulkhead": Bulkhead(4, queue=4),
        "retry": Retry(2),
        "breaker": Breaker(consecutive=9, rate=0.5, slow=2.0),
        "timeout": 1.0,
        "chaos": Chaos(rate=0.1),
    }
    return Policy(name, **given | changes)


@pytest.fixture
def clock():
    with virtual_time(1000.0) as time:
        yield time


def test_a_function_keeps_its_face():
    @whole()
    async def charge(order: int, *, note: str = "none") -> str:
        """Charges."""
        return f"{order} {note}"

    @whole()
    def refund(order, /, amount=1, *rest, **more):
        return order, amount, rest, more

    assert inspect.iscoroutinefunction(charge)
    assert charge.__name__ == "charge"
    assert charge.__doc__ == "Charges."
    assert str(inspect.signature(charge)) == "(order: int, *, note: str = 'none') -> str"
    assert asyncio.run(charge(1, note="x")) == "1 x"
    assert refund(1, 2, 3, a=4) == (1, 2, (3,), {"a": 4})


def test_arguments_of_every_kind_and_name():
    policy = Policy("p", breaker=Breaker())
    marker = object()

    @policy
    def kinds(a, b=marker, /, c=2, *, d, e=marker):
        return a, b, c, d, e

    @policy
    def unlucky(result, tally, breaker=1, *, f=2, error=3):
        return result, tally, breaker, f, error

    @policy
    def only(*, key):
        return key

    @policy
    def positional(a, /):
        return a

    assert kinds(1, d=3) == (1, marker, 2, 3, marker)
    assert unlucky(1, 2, error=9) == (1, 2, 1, 2, 9)
    assert only(key=1) == 1
    assert positional(1) == 1
    with pytest.raises(TypeError, match="positional"):
        kinds()
    with pytest.raises(TypeError):
        positional(a=1)
    assert policy.state()["breaker"]["failed"] == 0  # a wrong call is no failure of the dependency
    assert policy(max)(1, 2) == 2
    assert policy(functools.partial(max, 5))(2) == 5


def test_methods_classmethods_and_callables():
    policy = whole()

    class Client:
        @policy
        def get(self, key):
            return self, key

        @classmethod
        @policy
        def make(cls):
            return cls

        @staticmethod
        @policy
        async def ping():
            return "pong"

        async def __call__(self):
            return "called"

    client = Client()
    assert client.get("k") == (client, "k")
    assert Client.make() is Client
    assert asyncio.run(Client.ping()) == "pong"
    assert asyncio.run(policy(client)()) == "called"


@pytest.mark.parametrize("thing", [staticmethod(len), classmethod(len), property(len), 3, None, "f"])
def test_what_cannot_be_wrapped_is_an_error(thing):
    with pytest.raises(InvalidPolicy):
        whole()(thing)


def test_one_off_calls():
    policy = whole()

    async def add(a, b):
        return a + b

    async def main():
        return [await policy.call(add, 1, b=2), await policy.call(add, 3, 4)]

    assert asyncio.run(main()) == [3, 7]
    assert policy.run(max, 3, 4) == policy.run(max, 4, 1) == 4


def test_errors_arrive_unchanged_with_a_readable_traceback():
    mine = ValueError("mine")

    def failing():
        raise mine

    with pytest.raises(ValueError) as caught:
        whole().run(failing)
    assert caught.value is mine
    assert mine.__cause__ is None
    assert mine.__context__ is None
    text = "".join(traceback.format_exception(mine))
    assert "<atoll.kit p " in text
    assert "result = f(*args, **kwargs)" in text  # the generated source is shown
    assert "raise mine" in text


def test_blocks(clock):
    policy = whole(fallback=None, breaker=Breaker(consecutive=2))

    async def main():
        async with policy.guard():
            assert remaining() == pytest.approx(1)
            assert policy.state()["bulkhead"]["in_flight"] == 1
        with pytest.raises(AttemptTimeout):
            async with policy.guard():
                await asyncio.sleep(9)
        async with policy.guard() as guard:
            guard.fail()

    clock.run(main())
    assert policy.state()["breaker"]["phase"] == "open"
    with pytest.raises(CircuitOpen):
        policy.guard().__enter__()
    policy.breaker.reset()
    with pytest.raises(ValueError), policy.guard():
        raise ValueError
    with policy.guard() as guard:
        guard.ignore()
    assert policy.state()["breaker"]["ok"] == 1
    assert policy.state()["bulkhead"]["in_flight"] == 0


def test_async_streams(clock):
    policy = whole(retry=Retry(1, base=0, cap=0))
    starts = []

    @policy
    async def numbers(count, *, fail_at=None, slow_at=None):
        starts.append(count)
        for each in range(count):
            if fail_at == each and (each or len(starts) == 1):
                raise OSError(each)
            if slow_at == each:
                await asyncio.sleep(2)
            got = yield each
            if got:
                yield got

    async def main():
        assert [each async for each in numbers(3)] == [0, 1, 2]
        starts.clear()
        assert [each async for each in numbers(2, fail_at=0)] == [0, 1]  # nothing was seen: started over
        assert len(starts) == 2
        starts.clear()
        seen = []
        with pytest.raises(OSError):
            async for each in numbers(3, fail_at=1):
                seen.append(each)
        assert (seen, len(starts)) == ([0], 1)
        with pytest.raises(AttemptTimeout):
            async for each in numbers(3, slow_at=1):
                await asyncio.sleep(3)  # the consumer's time is its own
                assert remaining() == math.inf
        stream = numbers(3)
        assert await stream.asend(None) == 0
        assert await stream.asend("sent") == "sent"
        assert policy.state()["bulkhead"]["in_flight"] == 1
        await stream.aclose()
        assert policy.state()["bulkhead"]["in_flight"] == 0

    clock.run(main())
    assert policy.state()["breaker"]["failed"] == 3


def test_sync_streams(clock):
    policy = whole(retry=Retry(1, base=0, cap=0))
    starts = []

    @policy
    def numbers(count, fail_at=None):
        starts.append(count)
        for each in range(count):
            if fail_at == each and (each or len(starts) == 1):
                raise OSError(each)
            yield each
        return "returned"

    assert list(numbers(2, fail_at=0)) == [0, 1]
    assert len(starts) == 2
    with pytest.raises(OSError):
        list(numbers(2, fail_at=1))

    def outer():
        return (yield from numbers(1))

    assert list(outer()) == [0]
    with pytest.raises(StopIteration) as caught:
        stream = numbers(0)
        next(stream)
    assert caught.value.value == "returned"
    plain = Policy("q", timeout=1)(numbers.__wrapped__)
    assert list(plain(1)) == [0]

    async def later():
        yield 1

    async def main():
        return [each async for each in Policy("q", timeout=1)(later)()]

    assert clock.run(main()) == [1]


def test_replace_shares_what_stays():
    policy = whole()
    faster = policy.replace(timeout=0.1)
    assert faster.breaker is policy.breaker
    assert faster.settings != policy.settings
    assert policy.replace(breaker=Breaker(consecutive=1)).breaker is not policy.breaker
    assert policy.replace(fresh=True).breaker is not policy.breaker
    assert policy.replace(name="other").breaker is not policy.breaker
    assert policy.replace(classify=lambda _: RETRY).breaker is not policy.breaker
    assert policy.replace(judge=lambda _: OK, observe=print, idempotent=True).breaker is policy.breaker
    assert "breaker" not in policy.replace(breaker=None).state()
    with pytest.raises(InvalidPolicy, match="no breaker"):
        _ = policy.replace(breaker=None).breaker
    with pytest.raises(InvalidPolicy, match="retires"):
        policy.replace(retires=3)


def test_keys_have_their_own_state_and_one_retry_budget():
    policy = Policy("p", breaker=Breaker(consecutive=1), retry=Retry(0), timeout=1, bulkhead=Adaptive())
    keyed = policy.keyed(lambda host, *_: host, max=2)

    @keyed
    def get(host, error=None):
        if error:
            raise error
        return host

    @keyed
    async def fetch(host):
        return host

    with pytest.raises(OSError):
        get("a", OSError())
    with pytest.raises(CircuitOpen, match=r"p\[a\]"):
        get("a")
    assert get("b") == "b"
    assert asyncio.run(fetch("b")) == "b"
    assert asyncio.run(keyed.call(fetch, "b")) == "b"
    assert keyed.run(get, "b") == "b"
    assert keyed["a"].parts[1] is keyed["b"].parts[1] is policy.parts[1]
    assert get("c") == "c"
    assert len(keyed) == 2
    assert get("b") == "b"
    assert get("a") == "a"  # was forgotten
    with pytest.raises(InvalidPolicy, match="below 1"):
        policy.keyed(len, max=0)

    async def generator():
        yield 1

    for bad in (generator, lambda: (yield)):
        with pytest.raises(InvalidPolicy, match="generator"):
            keyed(bad)


def test_explain_has_the_arithmetic_and_the_source():
    text = Policy("p", retry=Retry(2, base=0.1, cap=0.1), timeout=0.5, bulkhead=Bulkhead(wait=1)).explain()
    assert "at most 3" in text
    assert "at most 1.700 s" in text
    assert "at most 2.700 s" in text
    assert "async def policy_p" in text
    assert "\ndef policy_p" in text
    hedged = Policy("p", hedge=Hedge(), idempotent=True)
    assert "at most 2" in hedged.explain()
    assert "\ndef" not in hedged.explain()
    assert "no bound" in hedged.explain()
    assert Policy("p", budget=3).worst_case() == 3


def test_it_cannot_be_changed():
    policy = whole()
    with pytest.raises(AttributeError, match="replace"):
        policy.timeout = 3
    with pytest.raises(AttributeError):
        del policy.name
    assert repr(policy) == "<Policy p [fallback > budget > rate > bulkhead > retry > breaker > timeout > chaos]>"


def test_copies_and_pickles():
    policy = whole(classify=RETRY_ALL, idempotent=True)
    assert copy.copy(policy) is policy
    assert copy.deepcopy({"client": policy})["client"] is policy
    twin = pickle.loads(pickle.dumps(policy))
    assert twin.settings == policy.settings
    assert twin.breaker is not policy.breaker
    assert twin.run(len, "abc") == 3
    assert isinstance(pickle.loads(pickle.dumps(Pipeline("p", Timeout(1)))), Pipeline)


def RETRY_ALL(error):  # noqa: N802
    return RETRY


@pytest.mark.parametrize(
    "error",
    [
        PolicyError("x", policy="p", hint="do"),
        CircuitOpen("x", policy="p", retry_after=2.0),
        BulkheadFull("x"),
        RateExceeded("x"),
        AttemptTimeout("x", policy="p"),
        DeadlineExceeded("x", scopes=("a (1 s)",)),
    ],
)
def test_errors_can_be_sent_to_another_process(error):
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


def test_a_hint_is_said():
    assert str(PolicyError("what", hint="do this")) == "what (do this)"
    assert str(PolicyError("what")) == "what"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"timeout": 0}, "above 0"),
        ({"timeout": -1}, "above 0"),
        ({"timeout": math.nan}, "above 0"),
        ({"timeout": math.inf}, "above 0"),
        ({"timeout": "1s"}, "not a number"),
        ({"timeout": True}, "not a number"),
        ({"budget": Budget(1)}, "not a number"),
        ({"timeout": 2, "budget": 1}, "cannot fit"),
        ({"retry": Retry(-1)}, "retries=-1 is below 0"),
        ({"retry": Retry(base=1, cap=0.5)}, "raise it"),
        ({"retry": Retry(budget=RetryBudget(ratio=-1))}, "ratio"),
        ({"retry": Retry(budget=RetryBudget(window=0))}, "window"),
        ({"retry": Retry(base="a")}, "not a number"),
        ({"retry": 3}, "not a setting"),
        ({"bulkhead": Bulkhead(limit=0)}, "limit=0"),
        ({"bulkhead": Adaptive(start=1000)}, "not between"),
        ({"rate": Rate(0)}, "above 0"),
        ({"rate": Rate(math.inf)}, "above 0"),
        ({"rate": Rate(5, burst=0)}, "burst"),
        ({"breaker": Breaker(consecutive=None)}, "never open"),
        ({"breaker": Breaker(rate="half")}, "must be numbers"),
        ({"breaker": Breaker(consecutive=0)}, "consecutive=0"),
        ({"breaker": Breaker(rate=1.5)}, "rate=1.5"),
        ({"breaker": Breaker(slow=0)}, "slow=0"),
        ({"breaker": Breaker(slow_rate=0)}, "share"),
        ({"breaker": Breaker(mode="off")}, "shadow"),
        ({"breaker": Breaker(open=0)}, "open=0"),
        ({"hedge": Hedge()}, "idempotent"),
        ({"hedge": Hedge(after="95%"), "idempotent": True}, "quantile"),
        ({"hedge": Hedge(after="p0"), "idempotent": True}, "quantile"),
        ({"hedge": Hedge(after="p100"), "idempotent": True}, "quantile"),
        ({"hedge": Hedge(after=0), "idempotent": True}, "after=0"),
        ({"hedge": Hedge(after=2), "timeout": 1, "idempotent": True}, "never starts"),
        ({"fallback": Fallback(stale=-1)}, "stale"),
        ({"chaos": Chaos(rate=0)}, "share"),
    ],
)
def test_nonsense_is_refused_with_a_reason(given, complaint):
    with pytest.raises(InvalidPolicy, match=complaint):
        Policy("p", **given)


def test_every_problem_is_told_at_once():
    with pytest.raises(InvalidPolicy) as caught:
        Policy("p", retry=Retry(-1), bulkhead=Bulkhead(0), hedge=Hedge())
    assert str(caught.value).count(";") == 2
    for name in ("", None):
        with pytest.raises(InvalidPolicy):
            Policy(name)


@pytest.mark.parametrize(
    ("parts", "doubt"),
    [
        ([Breaker(), Retry()], "counts a call once"),
        ([Timeout(1), Retry()], "use a budget"),
        ([Retry(), Bulkhead()], "put it outside"),
        ([Retry(), Adaptive()], "put it outside"),
        ([Breaker(), Fallback()], "never sees a failure"),
        ([Budget(1), Retry(5), Timeout(1)], "may not start"),
    ],
)
def test_known_bad_orders_are_warned_about(parts, doubt):
    with pytest.warns(PolicyWarning, match=doubt):
        Pipeline("p", *parts)


def test_good_orders_are_not_warned_about():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Pipeline("p", Retry(), Breaker(), Timeout(1))
        whole()


def test_another_order_does_what_it_says(clock):
    with pytest.warns(PolicyWarning):
        around = Pipeline("p", Breaker(consecutive=2), Retry(2, budget=RetryBudget(floor=9)))
    calls = []

    def failing():
        calls.append(1)
        raise OSError

    for _ in range(2):
        with pytest.raises(OSError):
            around.run(failing)
    with pytest.raises(CircuitOpen):
        around.run(failing)
    assert len(calls) == 6


def test_testing_helpers(clock):
    def jitter():
        from atoll.kit import clock as times

        return [times.chance() for _ in range(3)]

    with seeded(1):
        first = jitter()
    with seeded(1):
        assert jitter() == first
    with instant():
        assert jitter() == [0, 0, 0]

    async def nothing_happens():
        await asyncio.get_running_loop().create_future()

    clock.patience = 0.01
    with pytest.raises(Stuck):
        clock.run(nothing_happens())


def test_threads_work_in_virtual_time(clock):
    async def main():
        return await asyncio.to_thread(lambda: "thread")

    assert clock.run(main()) == "thread"


def test_an_async_attempt_that_may_not_be_tried_again_raises():
    policy = Policy("p", retry=Retry(2))
    tries = []

    async def main():
        async for attempt in policy.attempts():
            async with attempt:
                tries.append(attempt.number)
                raise KeyError("once")

    with pytest.raises(KeyError, match="once"):
        asyncio.run(main())
    assert tries == [1]
