"""A verdict in plain words and numbers."""

from __future__ import annotations

from atoll.policies.judge.verdict import GUARD, RISK_BUDGET, Evidence, Kind, Verdict
from atoll.policies.odds import odds
from atoll.values.judging import ERRORS, LATENCIES


def explain(verdict: Verdict, deed: str = "aborted") -> str:
    """One sentence or a few clauses: what was counted, what it says, and what it did: *deed*, where it failed."""
    clauses = [_counted(verdict.metric, verdict.evidence)]
    if verdict.kind is Kind.FAIL:
        clauses += [
            verdict.note or f"odds {odds(verdict.log_odds)} that it is worse",
            f"{deed} after {verdict.seconds:.0f} s",
            _harm(verdict),
        ]
    elif verdict.kind is Kind.PASS:
        clauses += [f"odds {odds(verdict.log_odds)} against an unacceptable release"]
        clauses += [f"passed after {verdict.seconds:.0f} s"]
    elif verdict.note:
        clauses += [verdict.note]
    else:
        clauses += [f"odds {odds(verdict.log_odds)} that it is worse, which decides nothing yet"]
    if verdict.dry_run:
        clauses += [f"in a dry run {', '.join(verdict.dry_run)} would have aborted"]
    return "; ".join(clauses)


def _counted(metric: str, found: Evidence) -> str:
    if metric in LATENCIES:
        quantile = metric.removeprefix("latency_")
        slow = f"canary's {quantile} slow in {found.canary_bad:,} of {found.canary:,} units"
        return f"{slow}, stable's in {found.stable_bad:,} of {found.stable:,}"
    if metric in {"", ERRORS, GUARD, RISK_BUDGET}:
        return f"canary {found.canary_bad:,} of {found.canary:,} bad, stable {found.stable_bad:,} of {found.stable:,}"
    had = f"canary {found.canary_bad:,} {metric} in {found.canary:,} requests"
    return f"{had}, stable {found.stable_bad:,} in {found.stable:,}"


def _harm(verdict: Verdict) -> str:
    if verdict.users is not None:
        return f"{verdict.users:,} users saw an error"
    return f"at most {verdict.failed:,} users saw an error" if verdict.failed else "no user saw an error"
