"""How a release is judged: `release.judge` to the settings of the judge."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from atoll.model.operations import read_operation
from atoll.model.reading import Section
from atoll.model.system import Operation
from atoll.values.judging import (
    ERRORS,
    LATENCIES,
    METRICS,
    CountLimits,
    ErrorLimits,
    JudgePolicy,
    LatencyLimits,
    problems,
)
from atoll.values.names import wrong_name
from atoll.values.nearest import nearest

ALONE = 1
"""Instances of which none has a peer that its latency could be measured by."""
MOST_COUNTS = 8
"""Each takes its part of `alpha`, and each is a rule more in the proxies."""
_OF_FLOOR = 5
"""How many times an unacceptable error rate is above one that does not matter."""


def usual_judge(instances: int) -> JudgePolicy:
    """The settings for a service with so many instances, where nothing was written."""
    return JudgePolicy(metrics=METRICS if instances > ALONE else (ERRORS,))


def read_judge(release: Section, instances: int) -> tuple[JudgePolicy, tuple[tuple[str, Operation], ...]]:
    """
    The settings for a service with so many instances, and the operations that are counted, by name.

    What makes no sense is noted and replaced.
    """
    usual = usual_judge(instances)
    section = release.section("judge", "judge")
    if section is None:
        return usual, ()
    counts = dict(_counts(section))
    names = tuple(counts)
    rate, slower, fewer = (section.percent(key) for key in ("errors", "slower", "fewer"))
    limits, latency, falling = ErrorLimits(), LatencyLimits(), CountLimits()
    policy = JudgePolicy(
        metrics=tuple(_metrics(section, "metrics", instances)) or usual.metrics,
        counts=names,
        dry_run=tuple(_metrics(section, "dry-run", instances, names)),
        alpha=section.percent("alpha") or usual.alpha,
        beta=section.percent("beta") or usual.beta,
        bucket=section.duration("bucket", least=1, most=3600),
        errors=ErrorLimits(rate=rate, floor=min(limits.floor, rate / _OF_FLOOR)) if rate else limits,
        latency=LatencyLimits(unacceptable=1 + slower) if slower else latency,
        falling=CountLimits(unacceptable=1 / (1 - fewer)) if fewer and fewer < 1 else falling,
        min_requests=section.count("requests", least=1),
        no_data_grace=section.duration("no-data", least=5, most=86400),
        risk_budget=_budget(section),
    )
    for problem in problems(policy, names):
        section.notes.problem(section.place, f"{section.path}: {problem.replace('dry_run', 'dry-run')}")
    return policy, tuple(counts.items())


def _counts(section: Section) -> Iterator[tuple[str, Operation]]:
    where, seen = f"{section.path}.counts", dict[Operation, str]()
    for number, (name, text) in enumerate(section.pairs("counts"), start=1):
        wrong = f"{name.text} is a metric already" if name.text in METRICS else wrong_name(name.text)
        found = read_operation(section, f"counts.{name.text}", text, "POST /orders")
        if wrong:
            section.notes.problem(name.place, f"{where}: {wrong}", "name what is counted, such as orders-placed")
        elif number == MOST_COUNTS + 1:
            hint = "keep those that the business lives by"
            section.notes.problem(name.place, f"{where}: at most {MOST_COUNTS} operations are counted", hint)
        elif found is not None and found in seen:
            words = f"{where}.{name.text}: {text.text} is counted as {seen[found]} already"
            section.notes.problem(text.place, words, "keep one of them")
        elif found is not None:
            seen[found] = name.text
            yield name.text, found


def _metrics(section: Section, key: str, instances: int, counts: Collection[str] = ()) -> Iterator[str]:
    known = (*METRICS, *counts)
    for item in section.texts(key, "the name of a metric"):
        where = f"{section.path}.{key}"
        if item.text not in known:
            close = nearest(item.text, known)
            hint = f"did you mean {close}?" if close else f"write {', '.join(known)}"
            section.notes.problem(item.place, f"{where}: there is no metric {item.text!r}", hint)
        elif item.text in LATENCIES and instances <= ALONE:
            hint = "give the service two instances or more, or judge it by its errors"
            section.notes.problem(item.place, f"{where}: one instance has no peer to measure its latency by", hint)
        else:
            yield item.text


def _budget(section: Section) -> int | None:
    return None if section.tree("risk-budget") is None else section.count("risk-budget")
