"""The judge as a fold: a state and a piece of evidence in, the next state and a verdict out."""

from __future__ import annotations

from dataclasses import replace

from atoll.policies.judge import guard
from atoll.policies.judge.counters import Snapshot, difference
from atoll.policies.judge.deciding import decide
from atoll.policies.judge.evidence import Bucket, tally
from atoll.policies.judge.gathering import gather
from atoll.policies.judge.guard import Phase
from atoll.policies.judge.scales import weigh
from atoll.policies.judge.state import State
from atoll.policies.judge.verdict import Kind, Verdict
from atoll.values.judging import JudgePolicy


def observe(state: State, now: Snapshot, policy: JudgePolicy) -> tuple[State, Verdict]:
    """Judge by what happened since the last look; the first look only says from where to count."""
    baseline, piece = difference(state.baseline, now)
    state = replace(state, baseline=baseline)
    return judge(state, piece if piece is not None else Bucket(state.at, state.at), policy)


def judge(state: State, piece: Bucket, policy: JudgePolicy) -> tuple[State, Verdict]:
    """
    Take *piece*, a stretch of any length, into the evidence.

    A release that has failed has failed, whatever comes. What is older than the evidence is left out.
    """
    if state.final is not None:
        return state, state.final
    if piece.end > state.at:
        state = _extended(state, piece, policy)
    verdict = decide(state, policy)
    return (replace(state, final=verdict), verdict) if verdict.kind is Kind.FAIL else (state, verdict)


def _extended(state: State, piece: Bucket, policy: JudgePolicy) -> State:
    new = tally(piece.units)
    watch = guard.watch(state.watch, piece, new, policy.guard) if policy.guard is not None else state.watch
    paused = watch.phase is Phase.PAUSE
    scales, gathered = state.scales, state.gathered
    # While it is paused, what comes late is of the trouble that is counted already. The guard itself ends a bucket.
    if state.watch.phase is not Phase.PAUSE:
        gathered, filled = gather(gathered, piece, policy.bucket, early=paused)
        scales = weigh(scales, filled, policy) if filled is not None else scales
    return replace(
        state,
        at=piece.end,
        # A canary that was taken out of traffic is not missing.
        canary_at=piece.end if paused or new.canary else state.canary_at,
        stable_at=piece.end if new.stable else state.stable_at,
        scales=scales,
        watch=watch,
        totals=state.totals + new,
        users=state.users if piece.users is None else (state.users or 0) + piece.users,
        gathered=gathered,
    )
