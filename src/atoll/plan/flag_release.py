"""
A variant of a flag on its way to users.

It stands and moves as a release of a service does (`plan.releasing`): the weight is the percentage of people who get
the variant, and there is no capacity to wait for.
"""

from __future__ import annotations

from dataclasses import dataclass

from atoll.model.system import Rollout
from atoll.plan.releasing import Progress, State

_PREFIX = "flag:"  # no service has a colon in its name


@dataclass(frozen=True, slots=True)
class FlagRelease:
    """
    One release of one flag.

    `variant` is what people are to get, and `rest` what the others get meanwhile. `before` is the flag as it was, as
    JSON: what an abort puts back.
    """

    flag: str
    variant: str
    rest: str
    rollout: Rollout
    before: str
    progress: Progress


def dark(number: int, at: float, reason: str = "") -> Progress:
    """Where a release of a flag begins: nobody gets it yet, and it goes on by itself."""
    return Progress(number, State.DARK, since=at, reason=reason, asked=True)


def subject(flag: str) -> str:
    """What a flag is called where services are spoken of as well: `flag:new-checkout`."""
    return f"{_PREFIX}{flag}"


def flag_of(name: str) -> str | None:
    """The flag that a subject names, None where it names a service."""
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None
