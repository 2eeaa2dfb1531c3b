"""What releases of services and of flags have in common: how the judge is asked, and how much traffic it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from atoll.plan.releasing import ALL, COMPARED, JUDGED, Facts, Progress, Signal, State
from atoll.policies.judge.counters import Reading, Snapshot
from atoll.policies.judge.evidence import Arm
from atoll.policies.judge.judging import observe
from atoll.policies.judge.keeping import to_json
from atoll.policies.judge.release import remembered
from atoll.policies.judge.resolving import Traffic, resolvable
from atoll.policies.judge.verdict import Verdict
from atoll.policies.judge.words import explain
from atoll.store.transitions import Transition
from atoll.values.judging import JudgePolicy

WATCHED = frozenset({State.STARTING, State.DARK}).union(COMPARED, JUDGED)
"""Before it is judged it is known how much traffic there will be to judge by."""
WINDOW = 60.0
LOUD = (Signal.ABORT, Signal.HOLD, Signal.GIVE_UP)


@dataclass(frozen=True, slots=True)
class _Total:
    """What the stable side was asked since its proxies count."""

    requests: int
    errors: int
    counts: Mapping[str, int]

    def follows(self, before: _Total) -> bool:
        """Whether nothing began anew since."""
        grown = self.requests >= before.requests and self.errors >= before.errors
        return grown and all(self.counts.get(name, 0) >= n for name, n in before.counts.items())


@dataclass(frozen=True, slots=True)
class _Flow:
    """What the stable side was asked from one look to another."""

    since: float
    first: _Total
    at: float
    last: _Total

    @property
    def seconds(self) -> float:
        return self.at - self.since

    @property
    def requests(self) -> int:
        return self.last.requests - self.first.requests

    @property
    def errors(self) -> int:
        return self.last.errors - self.first.errors

    def counted(self, name: str) -> int:
        return self.last.counts.get(name, 0) - self.first.counts.get(name, 0)


class Flows:
    """How much the stable side of each release is asked, while it still gets everything and after."""

    def __init__(self) -> None:
        self._flows: dict[str, _Flow] = {}

    def keep(self, names: Collection[str]) -> None:
        """Forget all others."""
        self._flows = {name: flow for name, flow in self._flows.items() if name in names}

    def measure(self, name: str, at: float, readings: Iterable[Reading]) -> None:
        """Take in what the counters show now."""
        stable = [r for r in readings if r.arm is Arm.STABLE]
        counts = Counter[str]()
        for reading in stable:
            counts.update(dict(reading.counts))
        now = _Total(sum(r.success + r.error for r in stable), sum(r.error for r in stable), counts)
        flow = self._flows.get(name)
        if flow is None or flow.seconds > WINDOW or not now.follows(flow.last):
            flow = _Flow(at, now, at, now)
        self._flows[name] = replace(flow, at=at, last=now)

    def usual(self, name: str) -> float:
        """The share of its requests that the stable side failed lately; 0 where there were none."""
        flow = self._flows.get(name)
        return flow.errors / flow.requests if flow is not None and flow.requests else 0.0

    def seconds(self, name: str) -> float:
        """For how long it has been measured."""
        return self._flows[name].seconds if name in self._flows else 0.0

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
        flow = self._flows.get(name)
        if flow is None or not flow.seconds:
            return "how much it is called is not known yet"
        if not flow.requests:
            return "nobody calls it, so it cannot be judged until somebody does"
        rps = flow.requests / flow.seconds / (1 - taken)
        usual = flow.errors / flow.requests
        counts = tuple((one, flow.counted(one) / flow.requests) for one in policy.counts)
        traffic = Traffic(round(rps, 1), progress.weight / ALL, *sizes, max(usual, 1e-4), counts)
        return resolvable(traffic, policy, most).text


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
