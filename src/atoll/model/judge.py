"""How a release is judged: `release.judge` to the settings of the judge."""

from __future__ import annotations

from collections.abc import Iterator

from atoll.model.reading import Section
from atoll.values.judging import ERRORS, LATENCIES, METRICS, ErrorLimits, JudgePolicy, LatencyLimits, problems
from atoll.values.nearest import nearest

ALONE = 1
"""Instances of which none has a peer that its latency could be measured by."""
_OF_FLOOR = 5
"""How many times an unacceptable error rate is above one that does not matter."""


def usual_judge(instances: int) -> JudgePolicy:
    """The settings for a service with so many instances, where nothing was written."""
    return JudgePolicy(metrics=METRICS if instances > ALONE else (ERRORS,))


def read_judge(release: Section, instances: int) -> JudgePolicy:
    """The settings for a service with so many instances; what makes no sense is noted and replaced."""
    usual = usual_judge(instances)
    section = release.section("judge", "judge")
    if section is None:
        return usual
    rate, slower = section.percent("errors"), section.percent("slower")
    limits, latency = ErrorLimits(), LatencyLimits()
    policy = JudgePolicy(
        metrics=tuple(_metrics(section, "metrics", instances)) or usual.metrics,
        dry_run=tuple(_metrics(section, "dry-run", instances)),
        alpha=section.percent("alpha") or usual.alpha,
        beta=section.percent("beta") or usual.beta,
        bucket=section.duration("bucket", least=1, most=3600),
        errors=ErrorLimits(rate=rate, floor=min(limits.floor, rate / _OF_FLOOR)) if rate else limits,
        latency=LatencyLimits(unacceptable=1 + slower) if slower else latency,
        min_requests=section.count("requests", least=1),
        no_data_grace=section.duration("no-data", least=5, most=86400),
        risk_budget=_budget(section),
    )
    for problem in problems(policy, ()):
        section.notes.problem(section.place, f"{section.path}: {problem.replace('dry_run', 'dry-run')}")
    return policy


def _metrics(section: Section, key: str, instances: int) -> Iterator[str]:
    for item in section.texts(key, "the name of a metric"):
        where = f"{section.path}.{key}"
        if item.text not in METRICS:
            close = nearest(item.text, METRICS)
            hint = f"did you mean {close}?" if close else f"write {', '.join(METRICS)}"
            section.notes.problem(item.place, f"{where}: there is no metric {item.text!r}", hint)
        elif item.text in LATENCIES and instances <= ALONE:
            hint = "give the service two instances or more, or judge it by its errors"
            section.notes.problem(item.place, f"{where}: one instance has no peer to measure its latency by", hint)
        else:
            yield item.text


def _budget(section: Section) -> int | None:
    return None if section.tree("risk-budget") is None else section.count("risk-budget")
