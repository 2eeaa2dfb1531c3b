"""What releases of services and of flags have in common: how the judge is asked, and how much traffic it has."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from atoll.plan.releasing import ALL, COMPARED, JUDGED, Facts, Progress, Signal, State
from atoll.policies.judge import baking
from atoll.policies.judge.baking import Bake
from atoll.policies.judge.counters import Reading, Snapshot
from atoll.policies.judge.evidence import Arm
from atoll.policies.judge.judging import observe
from atoll.policies.judge.keeping import to_json
from atoll.policies.judge.release import failed_beside, remembered
from atoll.policies.judge.resolving import Traffic, resolvable
from atoll.policies.judge.verdict import Verdict
from atoll.policies.judge.words import explain
from atoll.store.transitions import Transition
from atoll.values.judging import ERRORS, JudgePolicy

WATCHED = frozenset({State.STARTING, State.DARK}).union(COMPARED, JUDGED)
"""Before it is judged it is known how much traffic there will be to judge by."""
WINDOW = 60.0
LOUD = (Signal.ABORT, Signal.HOLD, Signal.GIVE_UP)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What the stable side had been asked, had failed and had done of what counts, at one look."""

    at: float
    requests: int
    errors: int
    counts: Mapping[str, int]

    def follows(self, before: _Mark) -> bool:
        """Whether nothing began anew since."""
        grown = self.requests >= before.requests and self.errors >= before.errors
        return grown and all(self.counts.get(name, 0) >= n for name, n in before.counts.items())


@dataclass(frozen=True, slots=True)
class _Flow:
    """The same of the time between two looks."""

    seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


class Flows:
    """How much the stable side of each release is asked, while it still gets everything and after."""

    def __init__(self) -> None:
        self._marks: dict[str, deque[_Mark]] = {}

    def keep(self, names: Collection[str]) -> None:
        """Forget all others."""
        self._marks = {name: marks for name, marks in self._marks.items() if name in names}

    def measure(self, name: str, at: float, readings: Iterable[Reading]) -> None:
        """Take in what the counters show now."""
        stable = [r for r in readings if r.arm is Arm.STABLE]
        counts = Counter[str]()
        for reading in stable:
            for counted, _, value in reading.counts:
                counts[counted] += value
        now = _Mark(at, sum(r.success + r.bad for r in stable), sum(r.bad for r in stable), counts)
        marks = self._marks.setdefault(name, deque())
        if marks and not now.follows(marks[-1]):
            marks.clear()
        marks.append(now)
        while at - marks[0].at > WINDOW:
            marks.popleft()

    def usual(self, name: str, progress: Progress) -> float:
        """
        The share of its requests that the stable side failed; 0 where there were none.

        Lately, or as far back as the judge remembers, if that was more: after a restart little is known of lately.
        """
        return max(self._flow(name).failed, failed_beside(progress))

    def seconds(self, name: str) -> float:
        """For how long it has been measured, up to the length of the window."""
        return self._flow(name).seconds

    def prospect(
        self,
        name: str,
        progress: Progress,
        policy: JudgePolicy,
        sizes: tuple[int, int],
        most: float,
        taken: float = 0.0,
    ) -> str:
        """
        What size of regression the present traffic can resolve in the time of a step, in words.

        Args:
            name: whose release it is.
            progress: where it stands.
            policy: how it is judged.
            sizes: instances of the new and of the old.
            most: seconds of a step.
            taken: the share of the requests that had gone to the new one already when they were counted.

        """
        flow = self._flow(name)
        if not flow.seconds:
            return "how much it is called is not known yet"
        if not flow.requests:
            return "nobody calls it, so it cannot be judged until somebody does"
        rps = flow.requests / flow.seconds / (1 - taken)
        counts = tuple((one, flow.counts.get(one, 0) / flow.requests) for one in policy.counts)
        traffic = Traffic(round(rps, 1), progress.weight / ALL, *sizes, max(flow.failed, 1e-4), counts)
        return resolvable(traffic, policy, most).text

    def _flow(self, name: str) -> _Flow:
        marks = self._marks.get(name)
        if marks is None:
            return _Flow()
        first, last = marks[0], marks[-1]
        counts = {one: n - first.counts.get(one, 0) for one, n in last.counts.items()}
        return _Flow(last.at - first.at, last.requests - first.requests, last.errors - first.errors, counts)


class Bakes:
    """What adds up against each release that has everything."""

    def __init__(self) -> None:
        self._bakes: dict[str, Bake] = {}

    def keep(self, names: Collection[str]) -> None:
        """Forget all others."""
        self._bakes = {name: bake for name, bake in self._bakes.items() if name in names}

    def heard(self, name: str, progress: Progress, snapshot: Snapshot, policy: JudgePolicy, facts: Facts) -> Facts:
        """*facts*, and in them what there is to say of such a release: only whether it fails clearly."""
        if policy.guard is None or ERRORS not in policy.metrics or ERRORS in policy.dry_run:
            return facts
        own = [r for r in snapshot.readings if r.arm is Arm.CANARY]
        if not own:
            return facts
        now = Bake(snapshot.at, sum(r.success + r.bad for r in own), sum(r.bad for r in own))
        bake = baking.watch(self._bakes.get(name), now, baking.tolerated(progress.usual, policy.guard.rate))
        self._bakes[name] = bake
        return replace(facts, verdict="fail", words=baking.explain(bake, progress.usual)) if bake.failing else facts


def heard(
    progress: Progress, snapshot: Snapshot, policy: JudgePolicy, *, way_back: bool = True
) -> tuple[Progress, Verdict]:
    """The judge's word on what was counted since the last look; without a *way_back* nobody is sent back for it."""
    state, verdict = observe(remembered(progress, policy, snapshot.at), snapshot, policy)
    said = explain(verdict)
    return replace(progress, judge=to_json(state), said=said, paused=way_back and not verdict.exposed), verdict


def decider(reason: str, facts: Facts, judge: str) -> str:
    """Who moves a release on for *reason*: *judge*, if it is what that one said, or the control plane by itself."""
    return judge if facts.words and reason.endswith(facts.words) else "atoll"


def told(change: Transition, after: Progress, release: str) -> tuple[str, str]:
    """How loud a transition of *release* is, and its words."""
    share = f" at {after.weight}%" if after.state in {State.CANARY, State.HOLDING} else ""
    words = f"{release} is {after.state}{share} ({change.actor}): {change.reason}"
    return "warning" if change.signal in LOUD else "info", words
