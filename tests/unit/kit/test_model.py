"""
The generated function against a slow, stacked reference, in virtual time.

The reference is written from the meaning of the words: one closure per part, exact lists of past events, no
clever counters. Both get the same calls, delays, outcomes and cancellations, and must do the same at the same time.
"""

# ruff: noqa: BLE001, C901 - optional libraries; scenarios in one piece
import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.kit import (
    AttemptTimeout,
    Breaker,
    Bulkhead,
    BulkheadFull,
    CircuitOpen,
    Policy,
    Rate,
    RateExceeded,
    Retry,
    RetryBudget,
    classify,
)
from atoll.kit import clock as times
from atoll.kit.testing import virtual_time


class ReferenceBreaker:
    def __init__(self, config):
        self.config, self.phase, self.streak, self.opened, self.generation, self.probing = (
            config,
            "closed",
            0,
            0.0,
            0,
            False,
        )

    def around(self, inner):
        async def call():
            now = times.now()
            if self.phase == "open" and now >= self.opened + self.config.open:
                self.phase, self.probing = "half-open", False
                self.generation += 1
            if self.phase == "open" or (self.phase == "half-open" and self.probing):
                raise CircuitOpen("reference")
            generation, probe = self.generation, self.phase == "half-open"
            self.probing = probe
            try:
                result = await inner()
            except BaseException as error:
                if generation == self.generation:
                    bad = isinstance(error, Exception) and classify(error).kind in ("fail", "retry")
                    if probe:
                        self.probing = False
                    if bad:
                        self.streak += 1
                        if probe or self.streak >= self.config.consecutive:
                            self.phase, self.opened = "open", times.now()
                            self.streak, self.generation = 0, self.generation + 1
                raise
            if generation == self.generation:
                self.streak = 0
                if probe:
                    self.phase, self.generation = "closed", self.generation + 1
            return result

        return call


class ReferenceBulkhead:
    def __init__(self, config):
        self.config, self.flying, self.line = config, 0, []

    def around(self, inner):
        async def call():
            if self.flying >= self.config.limit:
                if len(self.line) >= self.config.queue:
                    raise BulkheadFull("reference")
                turn = asyncio.get_running_loop().create_future()
                self.line.append(turn)
                try:
                    async with asyncio.timeout(self.config.wait):
                        await turn
                except BaseException as error:
                    if turn in self.line:
                        self.line.remove(turn)
                    elif turn.done() and not turn.cancelled():
                        self.free()
                    if isinstance(error, TimeoutError):
                        raise BulkheadFull("reference") from None
                    raise
            else:
                self.flying += 1
            try:
                return await inner()
            finally:
                self.free()

        return call

    def free(self):
        if self.line:
            self.line.pop(0).set_result(True)
        else:
            self.flying -= 1


class ReferenceRetry:
    def __init__(self, config):
        self.config, self.first, self.again = config, [], []

    def around(self, inner):
        async def call():
            self.first.append(times.now())
            tries = 0
            while True:
                try:
                    return await inner()
                except Exception as error:
                    if tries >= self.config.retries or classify(error).kind != "retry":
                        raise
                    pause = times.chance() * min(self.config.cap, self.config.base * 2**tries)
                    if self.spent():
                        raise
                    self.again.append(times.now())
                tries += 1
                await asyncio.sleep(pause)

        return call

    def spent(self):
        budget = self.config.budget  # the window is longer than any example: everything counts
        return len(self.again) >= max(budget.floor, budget.ratio * len(self.first))


def reference_timeout(seconds, inner):
    async def call():
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await inner()
        except TimeoutError as error:
            raise (AttemptTimeout("reference") if scope.expired() else error) from None

    return call


class ReferenceRate:
    def __init__(self, config):
        self.config, self.level, self.at = config, 0.0, None

    def around(self, inner):
        async def call():
            now, per_second = times.now(), self.config.limit / self.config.per
            if self.at is not None:
                self.level = max(0.0, self.level - (now - self.at) * per_second)
            self.at = now
            if self.level > self.config.burst - 1 + 1e-9:
                raise RateExceeded("reference")
            self.level += 1
            return await inner()

        return call


@dataclass(frozen=True)
class Call:
    gap: float
    plan: tuple  # (delay, outcome) of each try
    cancel_after: float | None


ERRORS = {"os": OSError, "value": ValueError, "own timeout": TimeoutError}

# Odd fractions, so that two things never happen at the same moment by design.
tries = st.tuples(
    st.sampled_from([0.0, 0.0137, 0.0731, 0.31, 0.93]), st.sampled_from(["ok", "os", "value", "own timeout"])
)
calls = st.builds(
    Call,
    gap=st.sampled_from([0.0, 0.0171, 0.237, 1.13, 3.7]),
    plan=st.lists(tries, min_size=3, max_size=3).map(tuple),
    cancel_after=st.sampled_from([None, None, None, 0.0419, 0.419]),
)


def play(script, entry):
    """(moment, outcome) of every call, and when each try reached the dependency."""
    log = []

    async def one(number, call):
        left = list(call.plan)

        async def dependency():
            delay, outcome = left.pop(0)
            log.append(("try", number, round(times.now(), 6)))
            if delay:
                await asyncio.sleep(delay + number * 0.00011)  # never two things at one moment
            if outcome != "ok":
                raise ERRORS[outcome](outcome)
            return number

        try:
            outcome = await entry(dependency)
        except BaseException as error:
            outcome = type(error).__name__
        log.append(("end", number, round(times.now(), 6), outcome))

    async def main():
        tasks = []
        for number, call in enumerate(script):
            await asyncio.sleep(call.gap + 0.00013)
            task = asyncio.create_task(one(number, call))
            if call.cancel_after is not None:
                asyncio.get_running_loop().call_later(call.cancel_after, task.cancel)
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    return main, log


CONFIG = {
    "rate": Rate(20, burst=4),
    "bulkhead": Bulkhead(2, queue=2, wait=0.5003),
    "retry": Retry(2, base=0.1003, cap=0.15, budget=RetryBudget(ratio=0.5, floor=2, window=1e6)),
    "breaker": Breaker(consecutive=3, open=1.007),
    "timeout": 0.2503,
}


def reference(parts):
    made = {
        "rate": ReferenceRate(CONFIG["rate"]),
        "bulkhead": ReferenceBulkhead(CONFIG["bulkhead"]),
        "retry": ReferenceRetry(CONFIG["retry"]),
        "breaker": ReferenceBreaker(CONFIG["breaker"]),
    }

    async def entry(dependency):
        inner = dependency
        if "timeout" in parts:
            inner = reference_timeout(CONFIG["timeout"], inner)
        for name in ("breaker", "retry", "bulkhead", "rate"):
            if name in parts:
                inner = made[name].around(inner)
        return await inner()

    return entry


def history(make, script):
    with virtual_time(1000.0, seed=7) as clock:
        main, log = play(script, make())
        clock.run(main())
    return log


@settings(max_examples=100, deadline=None)
@given(st.lists(calls, min_size=1, max_size=14), st.sets(st.sampled_from(sorted(CONFIG)), min_size=1))
def test_the_generated_function_does_what_the_stacked_reference_does(script, parts):
    chosen = {name: CONFIG[name] for name in parts}
    assert history(lambda: Policy("p", **chosen).call, script) == history(lambda: reference(parts), script)


@settings(max_examples=40, deadline=None)
@given(st.lists(calls, min_size=1, max_size=14))
def test_all_parts_together(script):
    assert history(lambda: Policy("p", **CONFIG).call, script) == history(lambda: reference(set(CONFIG)), script)


@settings(max_examples=40, deadline=None)
@given(st.lists(calls, min_size=1, max_size=14))
def test_a_guarded_block_does_what_a_call_does(script):
    chosen = {name: value for name, value in CONFIG.items() if name != "retry"}

    def blocks():
        policy = Policy("p", **chosen)

        async def entry(dependency):
            async with policy.guard():
                return await dependency()

        return entry

    assert history(blocks, script) == history(lambda: Policy("p", **chosen).call, script)
