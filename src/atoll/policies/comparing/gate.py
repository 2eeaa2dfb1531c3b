"""
Whether a release that was compared may go on to its first users.

Fail: some field differs beyond chance, and nobody wants it to. Pass: enough was compared for long enough, and no field
is even suspicious. Anything else holds, and no data is never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from atoll.model.system import Compare, Intended
from atoll.policies.comparing.canonical import matches
from atoll.policies.comparing.oddone import FieldVerdict, Kind, Profile, current, family, report
from atoll.policies.comparing.run import Run
from atoll.policies.comparing.samples import LATENCY
from atoll.policies.odds import odds

SUSPICIOUS = 0.05
"""The chance of an innocent field to hold a release up for a while."""
LEAST = 2
"""Answers that must differ: where there never was noise one would do, and a release that is new may stumble once."""
NAMED = 3
PASS, FAIL, UNDECIDED, NO_DATA = "pass", "fail", "undecided", "no data"


@dataclass(frozen=True, slots=True)
class Ruling:
    """`kind` is pass, fail, undecided or no data; `words` is the sentence for it."""

    kind: str
    words: str
    differing: tuple[FieldVerdict, ...] = ()


def rule(run: Run, compare: Compare, profile: Profile, since: float, at: float) -> Ruling:
    """What there is to say at the instant *at* about a release that is compared since *since*."""
    counted = [v for v in report(run.comparison, profile) if counts(v, compare.intended, at)]
    differing = tuple(v for v in family(counted, profile.alpha) if v.count.candidate >= LEAST)
    if differing:
        return Ruling(FAIL, f"its answers differ: {_fields(differing)}", differing)
    checked = run.checked
    if not checked:
        return Ruling(NO_DATA, f"nothing was compared yet{_bare(run)}{_why_not(run)}")
    suspicious = family((replace(v, log_odds=current(v, profile)) for v in counted), SUSPICIOUS)
    owed = [*_owed(run, compare, since, at), *(f"{_fields((v,))} is suspicious" for v in suspicious[:1])]
    many = f"{_count(sum(checked.values()), 'call')} to {_count(len(checked), 'endpoint')}"
    if owed:
        return Ruling(UNDECIDED, f"compared {many}: {', '.join(owed)}{_bare(run)}{_why_not(run)}", suspicious)
    return Ruling(PASS, f"answers alike to {many}{_bare(run)}{_why_not(run)}{_unexercised(run)}")


def counts(verdict: FieldVerdict, intended: Iterable[Intended], at: float) -> bool:
    """
    Whether a difference in this field speaks against the release.

    How long an answer takes does not: the instance is new and its caches are cold. The canary's judge looks at that.
    """
    masked = verdict.kind is Kind.MASKED or verdict.path == LATENCY
    return not masked and excuse(verdict, intended, at) is None


def excuse(verdict: FieldVerdict, intended: Iterable[Intended], at: float) -> Intended | None:
    """The rule by which this field may differ today."""
    about = (one for one in intended if matches(one.field, verdict.path) and one.endpoint in {"", verdict.endpoint})
    return next((one for one in about if not expired(one, at)), None)


def expired(one: Intended, at: float) -> bool:
    """Whether its last day (UTC) is over at the instant *at*."""
    return one.expires < datetime.fromtimestamp(at, UTC).date().isoformat()


def _owed(run: Run, compare: Compare, since: float, at: float) -> Iterator[str]:
    if sum(run.checked.values()) < compare.samples:
        yield f"{compare.samples:,} are wanted"
    if at < since + compare.least:
        yield f"{compare.least:g} s are wanted"


def _fields(verdicts: Iterable[FieldVerdict]) -> str:
    found = list(verdicts)
    told = [
        f"{v.path} in {v.endpoint} ({v.count.candidate:,} of {v.samples:,}, the old release {v.count.others:,};"
        f" odds {odds(v.log_odds)})"
        for v in found[:NAMED]
    ]
    more = f" and {len(found) - NAMED} more fields" if len(found) > NAMED else ""
    return f"{', '.join(told)}{more}"


def _why_not(run: Run) -> str:
    left_out = sum(run.left_out.values())
    if not left_out:
        return ""
    reason = max(run.left_out, key=lambda one: run.left_out[one])
    return f"; {_count(left_out, 'copy', 'copies')} left out, most because {reason}"


def _bare(run: Run) -> str:
    bare = sum(run.bare.values())
    return f"; the contract leaves out every field of {_count(bare, 'answer')}" if bare else ""


def _unexercised(run: Run) -> str:
    return f"; {_count(run.blocked, 'call')} of its own blocked, and so not tested" if run.blocked else ""


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
