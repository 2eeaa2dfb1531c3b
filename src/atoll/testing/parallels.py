"""
Parallel runs on paper: three instances answer the same requests, and one field of their answers differs now and then.

Each instance deviates by itself, so that two of stable differ with chance `noise`; the candidate deviates further with
chance `regression`. Only requests in which something differs are drawn, by how far it is to the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, product
from math import log, sqrt
from random import Random

from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.oddone import Count, Noise, count


@dataclass(frozen=True, slots=True)
class Parallel:
    """One field: how often two instances of stable differ in it, and the candidate from both by its own doing."""

    noise: float = 0.0
    regression: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A request in which not all agree: its number, and who deviates."""

    number: int
    primary: bool
    secondary: bool
    candidate: bool

    @property
    def odd(self) -> Odd:
        """Which of the three is the odd one."""
        if self.primary + self.secondary + self.candidate > 1:
            return Odd.ALL
        if self.candidate:
            return Odd.CANDIDATE
        return Odd.PRIMARY if self.primary else Odd.SECONDARY


def samples(parallel: Parallel, requests: int, random: Random) -> Iterator[Sample]:
    """Those of so many requests in which something differs."""
    alone = 1.0 - sqrt(1.0 - parallel.noise)
    candidate = 1.0 - (1.0 - alone) * (1.0 - parallel.regression)
    none = (1.0 - alone) ** 2 * (1.0 - candidate)
    if none >= 1.0:
        return
    deviating = [who for who in product((True, False), repeat=3) if any(who)]
    chances = [
        (alone if one else 1.0 - alone) * (alone if two else 1.0 - alone) * (candidate if three else 1.0 - candidate)
        for one, two, three in deviating
    ]
    upto, number = list(accumulate(chances)), 0
    while True:
        number += int(log(1.0 - random.random()) / log(none)) + 1
        if number > requests:
            return
        (who,) = random.choices(deviating, cum_weights=upto)
        yield Sample(number, *who)


def found_after(drawn: Iterator[Sample], alpha: float = 0.01, noise: Noise | None = None) -> int | None:
    """After how many requests the field is known to differ; None where it is not."""
    bar, counted = log(1.0 / alpha), Count()
    for sample in drawn:
        counted = count(counted, sample.odd, sample.number, 0.0, noise, alpha)
        if counted.peak >= bar:
            return sample.number
    return None
