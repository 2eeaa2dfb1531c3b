"""
A release on its way to users: where it stands, what moves it on, and what that does to traffic and capacity.

A deployment ends dark: it runs and serves nobody but those who name it. Only a release changes who is served. Before
that its answers may be compared, in the shadow of the one that serves, where it gets copies and nobody. The
table is the whole state machine; `due` says from the facts which signal there is, `step` takes it. Two rules hold in
every row: capacity comes before weight on the way up, and weight goes before capacity on the way down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from types import MappingProxyType

from atoll.errors import Refused
from atoll.model.system import SHADOW_THEN_CANARY, Rollout

ALL = 100


class State(StrEnum):
    """Where a release stands."""

    STARTING = "starting"  # its instances are not all ready yet
    DARK = "dark"  # ready, and nobody is sent to it
    SHADOW = "shadow"  # its answers to copies of requests are compared; nobody gets them
    SHADOW_HOLDING = "shadow-holding"  # as before; somebody has to say how it goes on
    GROWING = "growing"  # capacity for the next weight is being made
    CANARY = "canary"  # has its share of traffic and is judged
    HOLDING = "holding"  # keeps its share; somebody has to say how it goes on
    FULL = "full"  # all traffic, once every proxy says so
    BAKING = "baking"  # has all traffic; the old release stays warm
    ABORTING = "aborting"  # is sent nothing any more, once every proxy says so
    RELEASED = "released"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"  # never became ready
    SUPERSEDED = "superseded"  # a newer one came before it served anybody


class Signal(StrEnum):
    """What moves a release on."""

    READY = "ready"  # its instances are, and the proxies know them
    RELEASE = "release"
    COMPARE = "compare"  # what `release` means where answers are compared first
    PASS = "pass"  # noqa: S105 - the judge's word
    HOLD = "hold"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    ACKNOWLEDGED = "acknowledged"  # every proxy has taken the weights
    BAKED = "baked"
    GIVE_UP = "give-up"
    OVERTAKE = "overtake"


TRANSITIONS: Mapping[tuple[State, Signal], State] = MappingProxyType(
    {
        (State.STARTING, Signal.READY): State.DARK,
        (State.STARTING, Signal.GIVE_UP): State.FAILED,
        (State.STARTING, Signal.ABORT): State.ABORTING,
        (State.STARTING, Signal.OVERTAKE): State.SUPERSEDED,
        (State.DARK, Signal.RELEASE): State.GROWING,
        (State.DARK, Signal.COMPARE): State.SHADOW,
        (State.DARK, Signal.ABORT): State.ABORTING,
        (State.DARK, Signal.OVERTAKE): State.SUPERSEDED,
        (State.SHADOW, Signal.PASS): State.GROWING,
        (State.SHADOW, Signal.RELEASE): State.GROWING,
        (State.SHADOW, Signal.HOLD): State.SHADOW_HOLDING,
        (State.SHADOW, Signal.ABORT): State.ABORTING,
        (State.SHADOW, Signal.OVERTAKE): State.SUPERSEDED,
        (State.SHADOW_HOLDING, Signal.RESUME): State.SHADOW,
        (State.SHADOW_HOLDING, Signal.RELEASE): State.GROWING,
        (State.SHADOW_HOLDING, Signal.ABORT): State.ABORTING,
        (State.SHADOW_HOLDING, Signal.OVERTAKE): State.SUPERSEDED,
        (State.GROWING, Signal.READY): State.CANARY,
        (State.GROWING, Signal.HOLD): State.HOLDING,
        (State.GROWING, Signal.ABORT): State.ABORTING,
        (State.CANARY, Signal.PASS): State.GROWING,
        (State.CANARY, Signal.PROMOTE): State.GROWING,
        (State.CANARY, Signal.HOLD): State.HOLDING,
        (State.CANARY, Signal.ABORT): State.ABORTING,
        (State.HOLDING, Signal.RESUME): State.CANARY,
        (State.HOLDING, Signal.PROMOTE): State.GROWING,
        (State.HOLDING, Signal.ABORT): State.ABORTING,
        (State.FULL, Signal.ACKNOWLEDGED): State.BAKING,
        (State.FULL, Signal.ABORT): State.ABORTING,
        (State.BAKING, Signal.BAKED): State.RELEASED,
        (State.BAKING, Signal.ABORT): State.ABORTING,
        (State.ABORTING, Signal.ACKNOWLEDGED): State.ROLLED_BACK,
    }
)
"""
GROWING that was for all of the traffic leads to FULL, there is nothing left to compare with. Where nobody is sent to it
yet, to hold it makes it DARK again.
"""

OVER = frozenset({State.RELEASED, State.ROLLED_BACK, State.FAILED, State.SUPERSEDED})
PEOPLE = (Signal.RELEASE, Signal.PROMOTE, Signal.HOLD, Signal.RESUME, Signal.ABORT)
"""What a person may ask for."""
ENDS = (Signal.PROMOTE, Signal.ABORT)
"""What brings a release to its end."""
JUDGED = frozenset({State.GROWING, State.CANARY, State.HOLDING})
"""Some are sent to it and some are not, once it has a weight: there is something to compare."""
WHOLE = frozenset({State.FULL, State.BAKING})
"""It has all of the traffic."""
COMPARED = frozenset({State.SHADOW, State.SHADOW_HOLDING})
"""It gets copies of requests, and nothing else."""
UNSEEN = COMPARED | {State.DARK}
"""Ready, and no user has ever seen it."""
EXPOSED = JUDGED | WHOLE | {State.ABORTING}
READY = UNSEEN | JUDGED | WHOLE
"""Its instances were ready, and it is not on its way out."""


@dataclass(frozen=True, slots=True)
class Progress:
    """
    One release on its way.

    `step` counts the steps of the rollout, -1 before the first; `weight` is the percentage of traffic that it is to
    have and `size` how many instances it needs. `since` is when the state began. `asked` says that it goes on by itself
    once it is dark; `paused` that the judge's guard has taken it out of traffic for a moment. `judge` is what the judge
    remembers, as text, and `said` what it said last, in words. `usual` is the share of requests that the old release
    failed before this one got all of them.
    """

    release: int
    state: State = State.STARTING
    step: int = -1
    weight: int = 0
    size: int = 1
    since: float = 0.0
    reason: str = ""
    asked: bool = False
    paused: bool = False
    judge: str = ""
    said: str = ""
    usual: float = 0.0

    @property
    def shown(self) -> int:
        """The percentage of traffic that it gets now."""
        return 0 if self.paused else self.weight


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known about a release now.

    `ready` counts its instances that the proxies send to when they are told; `acknowledged` says that every proxy has
    the weights and the shadow as they are to be; `failure` is why its instances will not do, or empty. `verdict` is the
    latest of the judge, or of the comparison, (pass, fail, undecided, no data) and `words` the sentence for it.
    """

    at: float
    ready: int
    acknowledged: bool
    failure: str = ""
    verdict: str = ""
    words: str = ""


def begin(release: int, rollout: Rollout, total: int, at: float, *, asked: bool) -> Progress:
    """A release whose instances are to be started beside those of the one that serves."""
    return Progress(release, size=_size(rollout, 0, total), since=at, asked=asked)


def due(progress: Progress, rollout: Rollout, facts: Facts) -> tuple[Signal, str] | None:
    """The signal that the facts give, and why; None while there is none. Without facts nothing is ever promoted."""
    there = facts.ready >= progress.size and facts.acknowledged
    found: tuple[Signal, str] | None = None
    match progress.state:
        case State.STARTING if facts.failure:
            found = Signal.GIVE_UP, facts.failure
        case State.ABORTING if facts.acknowledged:
            found = Signal.ACKNOWLEDGED, progress.reason
        case state if facts.verdict == "fail" and _may_end(state, COMPARED | JUDGED | WHOLE, rollout):
            found = _bad(progress, rollout, facts.words)
        case state if facts.failure and _may_end(state, READY, rollout):
            found = _bad(progress, rollout, facts.failure)
        case State.STARTING | State.GROWING if there:
            found = Signal.READY, f"{progress.size} ready"
        case State.DARK if progress.asked:
            found = Signal.RELEASE, "the file asks for it"
        case State.SHADOW | State.CANARY as state:
            found = (_compared if state is State.SHADOW else _judged)(progress, rollout, facts)
        case State.FULL if there:
            found = Signal.ACKNOWLEDGED, "every proxy sends it everything"
        case State.BAKING if there and facts.at >= progress.since + rollout.bake:
            found = Signal.BAKED, f"nothing went wrong for {rollout.bake:g} s"
    return found


def judged(progress: Progress, rollout: Rollout) -> bool:
    """Whether the judge has a say: on the way to everything no more, which it or a person has decided."""
    growing = progress.state is State.GROWING
    return progress.state in JUDGED and progress.weight > 0 and not (growing and progress.step >= len(rollout.steps))


def sized(progress: Progress, rollout: Rollout, total: int) -> Progress:
    """The release with as many instances as its share needs, where *total* are declared; while it ends, as it was."""
    state, size = progress.state, ceil(total * progress.weight / ALL)
    if state in OVER or state is State.ABORTING:
        return progress
    if state is State.GROWING or not progress.weight:
        size = max(size, _size(rollout, max(0, progress.step), total))
    return replace(progress, size=max(1, size))


def step(progress: Progress, signal: Signal, rollout: Rollout, total: int, at: float, reason: str) -> Progress:
    """
    The release one transition on; *total* is the declared number of instances.

    Raises `errors.Refused` where the table knows no such transition.
    """
    state = TRANSITIONS.get((progress.state, _meant(progress, signal, rollout)))
    if state is None:
        raise Refused(
            f"release {progress.release} is {progress.state}: {signal} means nothing there", hint=_mend(progress.state)
        )
    after = replace(progress, state=state, since=at, reason=reason)
    match signal:
        case Signal.RELEASE | Signal.PASS if state is State.GROWING:
            number = _next(rollout, progress.weight)
            return sized(replace(after, step=number), rollout, total)
        case Signal.PROMOTE:
            return sized(replace(after, step=len(rollout.steps), paused=False), rollout, total)
        case Signal.READY if progress.state is State.GROWING:
            weight = max(progress.weight, _weight(rollout, progress.step))
            return replace(after, weight=weight, state=State.FULL if weight == ALL else state)
        case Signal.HOLD if progress.state is State.GROWING:
            state = state if progress.weight else State.DARK
            number = _next(rollout, progress.weight) - 1
            return sized(replace(after, state=state, step=number, asked=False), rollout, total)
        case Signal.ABORT:
            return replace(after, weight=0, asked=False)
        case _:
            return after


def _meant(progress: Progress, signal: Signal, rollout: Rollout) -> Signal:
    """To release what is dark is to compare it first, where the file says so."""
    first = progress.state is State.DARK and rollout.strategy == SHADOW_THEN_CANARY
    return Signal.COMPARE if first and signal is Signal.RELEASE else signal


def refuse_second(service: str, progress: Progress | None) -> None:
    """Raise `errors.Refused` where a release of *service* is on its way to users: one at a time."""
    if progress is not None and progress.state in EXPOSED:
        decide = ", ".join(f"atoll {signal} {service}" for signal in ENDS if signal in allowed(progress.state))
        raise Refused(
            f"{service}: release {progress.release} is {progress.state} at {progress.weight}%, one at a time",
            hint=f"wait for it, or decide: {decide}" if decide else "wait for it",
        )


def allowed(state: State) -> tuple[Signal, ...]:
    """What a person may ask for in this state."""
    return tuple(signal for signal in PEOPLE if (state, signal) in TRANSITIONS)


def given_up(release: int, reason: str) -> str:
    """What is told of a release that did not come to be, and of the changes that asked for it."""
    return f"release {release} was given up: {reason}"


def _may_end(state: State, where: Collection[State], rollout: Rollout) -> bool:
    """What has all of the traffic and no way back goes on, whatever is wrong: only another release helps."""
    return state in where and (rollout.rollback == "safe" or state not in WHOLE)


def _bad(progress: Progress, rollout: Rollout, why: str) -> tuple[Signal, str] | None:
    if rollout.rollback == "safe" or progress.state in UNSEEN:
        return Signal.ABORT, why
    # There is no way back (a migration has run): go no further and say so.
    going_on = progress.state in {State.GROWING, State.CANARY}
    return (Signal.HOLD, f"frozen, there is no way back: {why}") if going_on else None


def _compared(progress: Progress, rollout: Rollout, facts: Facts) -> tuple[Signal, str] | None:
    if facts.verdict == "pass":
        return Signal.PASS, facts.words
    if facts.at >= progress.since + rollout.most:
        return Signal.HOLD, facts.words or "nothing was compared"
    return None


def _judged(progress: Progress, rollout: Rollout, facts: Facts) -> tuple[Signal, str] | None:
    # The file may have lost steps meanwhile.
    least = rollout.steps[progress.step].least if progress.step < len(rollout.steps) else 0.0
    if facts.verdict == "no data":
        return Signal.HOLD, facts.words
    if facts.at < progress.since + least or progress.paused:
        return None
    if facts.verdict == "pass":
        return Signal.PASS, facts.words
    if facts.at >= progress.since + max(rollout.most, least):
        return Signal.HOLD, facts.words
    return None


def _weight(rollout: Rollout, number: int) -> int:
    return rollout.steps[number].weight if number < len(rollout.steps) else ALL


def _next(rollout: Rollout, weight: int) -> int:
    """The first step that has more than *weight*: the file may have got other steps meanwhile."""
    return sum(s.weight <= weight for s in rollout.steps)


def _size(rollout: Rollout, number: int, total: int) -> int:
    return max(1, ceil(total * _weight(rollout, number) / ALL))


def _mend(state: State) -> str:
    words = [f"atoll {signal}" for signal in allowed(state)]
    return f"what can be done now: {', '.join(words)}" if words else "nothing can be done about it any more"


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> starting"]
    edges = [(source, signal, target) for (source, signal), target in TRANSITIONS.items()]
    edges += [(State.GROWING, Signal.READY, State.FULL), (State.GROWING, Signal.HOLD, State.DARK)]
    lines += [f"    {_node(source)} --> {_node(target)}: {signal}" for source, signal, target in edges]
    lines += [f"    {_node(state)} --> [*]" for state in State if state in OVER]
    return "\n".join(lines) + "\n"


def _node(state: State) -> str:
    return state.replace("-", "_")
