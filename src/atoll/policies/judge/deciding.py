"""From the evidence to the verdict: what stops the release comes first, then what holds it, and last that it passes."""

from __future__ import annotations

from math import log

from atoll.policies.judge import ratio
from atoll.policies.judge.guard import Phase
from atoll.policies.judge.scales import Finding
from atoll.policies.judge.slowness import LEAST_CALLS
from atoll.policies.judge.state import State
from atoll.policies.judge.verdict import GUARD, RISK_BUDGET, Evidence, Kind, Verdict
from atoll.values.judging import ERRORS, LATENCIES, JudgePolicy


def decide(state: State, policy: JudgePolicy) -> Verdict:
    """What the evidence so far says."""
    deciding = [f for f in state.scales.findings if f.metric not in policy.dry_run]
    return (
        _stopped(state, deciding, policy)
        or _paused(state)
        or _missing(state, deciding, policy)
        or _on_probation(state)
        or _misrouted(state)
        or _passed(state, deciding, policy)
        or _undecided(state, deciding)
    )


def _stopped(state: State, deciding: list[Finding], policy: JudgePolicy) -> Verdict | None:
    strikes = state.watch.strikes
    if policy.guard is not None and strikes >= policy.guard.strikes:
        return _verdict(Kind.FAIL, state, GUARD, note=f"it failed clearly {strikes} times, as soon as it got traffic")
    excess = _excess(state)
    if policy.risk_budget is not None and excess > policy.risk_budget:
        note = (
            f"{excess:,.0f} requests failed beyond what stable would have failed, {policy.risk_budget:,} were allowed"
        )
        return _verdict(Kind.FAIL, state, RISK_BUDGET, note=note)
    for finding in deciding:
        if finding.against:
            return _found(Kind.FAIL, state, finding, finding.worse)
    return None


def _excess(state: State) -> float:
    """Requests that failed beyond stable's rate; what users saw, where that is known."""
    if state.users is not None:
        return state.users
    totals = state.totals
    usual = totals.stable_bad / totals.stable if totals.stable else 0.0
    return totals.canary_bad - usual * totals.canary


def _paused(state: State) -> Verdict | None:
    if state.watch.phase is Phase.PAUSE:
        return _verdict(Kind.UNDECIDED, state, GUARD, note="out of traffic for a moment, as it failed clearly")
    return None


def _on_probation(state: State) -> Verdict | None:
    if state.watch.strikes:
        return _verdict(Kind.UNDECIDED, state, GUARD, note="on probation, as it failed clearly")
    return None


def _missing(state: State, deciding: list[Finding], policy: JudgePolicy) -> Verdict | None:
    grace = policy.no_data_grace
    for side, at in (("the canary", state.canary_at), ("stable", state.stable_at)):
        if state.at - at > grace:
            return _verdict(Kind.NO_DATA, state, note=f"{side} had no request for {state.at - at:.0f} s")
    if state.at - state.since > grace:
        for finding in deciding:
            if not finding.known and finding.metric not in policy.needless:
                return _found(Kind.NO_DATA, state, finding, note=_unknown(finding.metric))
    return None


def _unknown(metric: str) -> str:
    note = f"there is no {metric} of both sides to compare"
    few = f": an instance needs {LEAST_CALLS} calls in a bucket (judge.bucket, or leave it out of judge.metrics)"
    return note + few if metric in LATENCIES else note


def _misrouted(state: State) -> Verdict | None:
    off = ratio.off(state.scales.ratio)
    if not off:
        return None
    note = f"the canary gets {off} of the traffic than was asked for: look at the routes before going on"
    return _verdict(Kind.UNDECIDED, state, note=note)


def _passed(state: State, deciding: list[Finding], policy: JudgePolicy) -> Verdict | None:
    """Every metric has something to compare, and clears the release."""
    needed = [f for f in deciding if f.known or f.metric not in policy.needless]
    here = state.totals.canary - state.passed.canary
    if here < max(1, policy.min_requests) or not all(f.known for f in needed):
        return None
    if not needed:
        return None
    finding = min(needed, key=lambda f: f.clear)
    return _found(Kind.PASS, state, finding, finding.clear) if finding.clear >= -log(policy.beta) else None


def _undecided(state: State, deciding: list[Finding]) -> Verdict:
    if not state.totals.canary:
        return _verdict(Kind.UNDECIDED, state, note="waiting for the canary's first request")
    if not deciding:
        return _verdict(Kind.UNDECIDED, state, note="no metric decides: see judge.metrics and judge.dry-run")
    nearest = max(deciding, key=lambda f: f.worse - f.bar)
    return _found(Kind.UNDECIDED, state, nearest, nearest.worse)


def _found(kind: Kind, state: State, finding: Finding, log_odds: float = 0.0, *, note: str = "") -> Verdict:
    evidence = None if finding.metric == ERRORS else finding.evidence
    return _verdict(kind, state, finding.metric, evidence, log_odds, note=note)


def _verdict(
    kind: Kind,
    state: State,
    metric: str = "",
    evidence: Evidence | None = None,
    log_odds: float = 0.0,
    *,
    note: str = "",
) -> Verdict:
    """With all requests as the evidence, where no other is given."""
    totals = state.totals
    if evidence is None:
        evidence = Evidence(totals.canary_bad, totals.canary, totals.stable_bad, totals.stable)
    return Verdict(
        kind,
        metric,
        evidence,
        log_odds,
        state.at - state.began,
        totals.canary_bad,
        state.users,
        kind is not Kind.FAIL and state.watch.phase is not Phase.PAUSE,
        note,
        state.scales.dry_run,
    )
