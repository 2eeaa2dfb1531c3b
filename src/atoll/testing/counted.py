"""
Counts on paper for the canary judge: orders, sign-ups, whatever the business lives by, in clumps or one by one.

Orders come in clumps of `clump` on average, their size geometric. In a hiccup of one bucket an instance does three
tenths of what it would have done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log
from random import Random

from atoll.policies.judge.evidence import Arm, Unit
from atoll.policies.judge.falling import Falling, acceptable, update, worse
from atoll.policies.judge.splitting import sides
from atoll.testing.canaries import BUCKET
from atoll.values.judging import JudgePolicy

NAME = "orders"
HICCUP = 0.3
MANY = 50.0
"""From so many on a Poisson number is as good as normal."""


@dataclass(frozen=True, slots=True)
class Shop:
    """
    A fleet that takes orders: `requests` of an instance in a bucket, of which the part `rate` are orders.

    The canary takes only the part `left` of what it is sent. Times are seconds; 0 in `hiccup_every` is never.
    """

    canary: int = 1
    stable: int = 4
    canary_requests: int = 100
    requests: int = 225
    rate: float = 0.2
    left: float = 1.0
    clump: float = 1.0
    hiccup_every: float = 900.0


@dataclass(frozen=True, slots=True)
class Judged:
    """When it was aborted and when it first passed, in seconds; None for never."""

    aborted: float | None
    passed: float | None


def judged(shop: Shop, policy: JudgePolicy, seconds: int, random: Random) -> Judged:
    """Judge by the count alone, to the end or until it is aborted."""
    state, passed = Falling(), None
    for end in range(BUCKET, seconds + 1, BUCKET):
        both = sides(tuple(_units(shop, random)))
        state = update(state, both, NAME, policy.falling) if both is not None else state
        if worse(state) >= -log(policy.alpha_of(NAME)):
            return Judged(end, passed)
        if passed is None and acceptable(state) >= -log(policy.beta):
            passed = float(end)
    return Judged(None, passed)


def _units(shop: Shop, random: Random) -> Iterator[Unit]:
    for instance in range(shop.canary + shop.stable):
        is_canary = instance < shop.canary
        requests = shop.canary_requests if is_canary else shop.requests
        expected = requests * shop.rate * (shop.left if is_canary else 1.0)
        if shop.hiccup_every and random.random() < BUCKET / shop.hiccup_every:
            expected *= HICCUP
        arm = Arm.CANARY if is_canary else Arm.STABLE
        yield Unit(f"shop-{instance}", arm, requests, counts=((NAME, _orders(expected, shop.clump, random)),))


def _orders(expected: float, clump: float, random: Random) -> int:
    """A compound Poisson number."""
    clumps = _poisson(expected / clump, random)
    if clump == 1.0:
        return clumps
    stop = log(1.0 - 1.0 / clump)
    return sum(1 + int(log(1.0 - random.random()) / stop) for _ in range(clumps))


def _poisson(expected: float, random: Random) -> int:
    if expected > MANY:
        return max(0, round(random.gauss(expected, expected**0.5)))
    end, found, product = exp(-expected), 0, random.random()
    while product > end:
        product *= random.random()
        found += 1
    return found
