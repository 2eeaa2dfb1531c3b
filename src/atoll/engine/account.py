"""A parallel run, as people see it."""

from __future__ import annotations

from collections.abc import Iterable

from atoll import wire
from atoll.model.system import Intended
from atoll.policies.comparing.gate import excuse, expired
from atoll.policies.comparing.oddone import FieldVerdict, Profile, report
from atoll.policies.comparing.run import Run
from atoll.policies.comparing.times import Times, quantile
from atoll.policies.odds import odds


def account(run: Run, intended: tuple[Intended, ...], at: float, *, running: bool) -> wire.ComparisonView:
    """The run, with the rules for intended differences that are written now."""
    return wire.ComparisonView(
        service=run.service,
        release=run.release,
        stable=run.stable,
        running=running,
        since=run.since,
        until=run.until,
        verdict=run.kind,
        words=run.words,
        samples=run.samples,
        endpoints=dict(run.comparison.samples),
        fields=tuple(_field(run, verdict, intended, at) for verdict in report(run.comparison, Profile())),
        masked=run.contract.masked,
        ignored=run.contract.ignored,
        left_out=dict(run.left_out),
        blocked=run.blocked,
        intended=tuple(_intended(one, at) for one in intended),
        stable_times=_times(run.stable_times),
        candidate_times=_times(run.candidate_times),
    )


def _field(run: Run, verdict: FieldVerdict, intended: Iterable[Intended], at: float) -> wire.FieldView:
    count = verdict.count
    examples = run.examples.get((verdict.endpoint, verdict.path), ())
    return wire.FieldView(
        endpoint=verdict.endpoint,
        path=verdict.path,
        kind="intended" if excuse(verdict, intended, at) is not None else verdict.kind,
        odds=odds(verdict.log_odds),
        log_odds=verdict.log_odds,
        samples=verdict.samples,
        candidate=count.candidate,
        others=count.others,
        all_three=count.all_three,
        first=count.first,
        last=count.last,
        examples=tuple(wire.ExampleView(one.primary, one.secondary, one.candidate) for one in examples),
    )


def _intended(one: Intended, at: float) -> wire.IntendedView:
    return wire.IntendedView(one.field, one.endpoint, one.owner, one.reason, one.expires, expired(one, at))


def _times(times: Times) -> wire.TimesView:
    return wire.TimesView(quantile(times, 0.5), quantile(times, 0.95))
