"""When to run again what has ended: at once after a good run, ever later after a row of bad ones."""

from __future__ import annotations

from atoll.plan.blueprint import Instance
from atoll.plan.observed import Seen
from atoll.values.doubling import doubling
from atoll.values.hashing import fraction

GOOD_RUN = 5.0
"""Seconds of serving after which an end counts as an accident and not as a crash."""

FIRST_DELAY = 0.5
LONGEST_DELAY = 60.0


def crashes_after(instance: Instance, seen: Seen | None, now: float) -> int:
    """How many runs in a row have now failed, this one included; 0 after a good run."""
    ended = seen.exit.at if seen is not None and seen.exit is not None else now
    if instance.served and ended - instance.served >= GOOD_RUN:
        return 0
    return instance.crashes + 1


def delay(crashes: int, name: str) -> float:
    """
    Seconds to wait before the next run: none after the first crash, then doubling up to a cap, with jitter.

    The jitter is between half and all of the delay and comes from the instance's name, so that it is arithmetic.
    """
    if crashes <= 1:
        return 0.0
    return doubling(crashes - 1, FIRST_DELAY, LONGEST_DELAY) * (0.5 + 0.5 * fraction(name))
