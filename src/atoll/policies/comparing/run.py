"""A parallel run as a value: what was compared so far. It outlives the control plane and the comparer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from atoll.policies.comparing import endpoints
from atoll.policies.comparing.canonical import Contract
from atoll.policies.comparing.messages import Findings
from atoll.policies.comparing.oddone import Comparison, Count, Field, Profile, compared
from atoll.policies.comparing.samples import Example, Sample
from atoll.policies.comparing.times import Times, noted

EXAMPLES = 3
"""Examples kept of one field."""
FIELDS_WITH_EXAMPLES = 100


@dataclass(frozen=True, slots=True)
class Run:
    """
    Release `release` of a service beside `stable`, from `since` to `until` (the last that was heard of it).

    Answers were compared by `contract`; `kind` and `words` are what was said of the release last (see `gate`).
    `bare` counts, by endpoint, the samples of which the contract left nothing to compare.
    `stable_times` holds the answers of primary and secondary. `refused` counts, by instance of the release, the calls
    that the proxies did not let it make; `before` is what had been refused before it was compared.
    """

    service: str
    release: int
    stable: int
    since: float
    until: float
    contract: Contract = field(default_factory=Contract)
    comparison: Comparison = field(default_factory=Comparison)
    examples: Mapping[Field, tuple[Example, ...]] = field(default_factory=dict)
    bare: Mapping[str, int] = field(default_factory=dict)
    stable_times: Times = field(default_factory=dict)
    candidate_times: Times = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    kind: str = ""
    words: str = ""

    @property
    def name(self) -> str:
        """As the header says it."""
        return run_name(self.service, self.release)

    @property
    def samples(self) -> int:
        """How many calls were compared."""
        return sum(self.comparison.samples.values())

    @property
    def checked(self) -> Mapping[str, int]:
        """How many calls were compared in more than their status, of each endpoint where any was."""
        found = {one: count - self.bare.get(one, 0) for one, count in self.comparison.samples.items()}
        return {one: count for one, count in found.items() if count}

    @property
    def blocked(self) -> int:
        """How many calls of the release were refused while it was compared."""
        return sum(max(0, count - self.before.get(name, 0)) for name, count in self.refused.items())


def run_name(service: str, release: int) -> str:
    """The name of the run of one release: it is compared once."""
    return f"{service}-r{release}"


def heard(run: Run, findings: Findings, at: float, profile: Profile) -> Run:
    """The run after what the comparer has found since."""
    for one in findings.samples:
        run = _sampled(run, one, at, profile)
    left_out = dict(run.left_out)
    for reason, count in findings.left_out.items():
        left_out[reason] = left_out.get(reason, 0) + count
    return replace(run, until=at, left_out=left_out)


def _sampled(run: Run, one: Sample, at: float, profile: Profile) -> Run:
    known = run.comparison.samples
    endpoint = one.endpoint if one.endpoint in known or len(known) < endpoints.MOST else endpoints.REST
    primary, secondary, candidate = one.took
    return replace(
        run,
        comparison=compared(run.comparison, endpoint, one.odd, at, profile),
        bare={**run.bare, endpoint: run.bare.get(endpoint, 0) + 1} if one.bare else run.bare,
        examples=_kept(run.examples, endpoint, one.examples),
        stable_times=noted(noted(run.stable_times, primary), secondary),
        candidate_times=noted(run.candidate_times, candidate),
    )


def _kept(
    before: Mapping[Field, tuple[Example, ...]], endpoint: str, new: tuple[Example, ...]
) -> Mapping[Field, tuple[Example, ...]]:
    """The first examples of the first fields."""
    if not new:
        return before
    kept = dict(before)
    for example in new:
        of = (endpoint, example.path)
        if len(kept.get(of, ())) < EXAMPLES and (of in kept or len(kept) < FIELDS_WITH_EXAMPLES):
            kept[of] = (*kept.get(of, ()), example)
    return kept


def refused(run: Run, counts: Mapping[str, int]) -> Run:
    """The run after the proxies were asked how many calls of its instances they refused."""
    new = {name: count for name, count in counts.items() if name not in run.before}
    most = {name: max(count, run.refused.get(name, 0)) for name, count in counts.items()}
    return replace(run, before={**run.before, **new}, refused={**run.refused, **most})


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of a run, as it is written down."""

    endpoint: str
    path: str
    count: Count
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A run as it is written down: JSON has no keys of two parts."""

    run: Run
    samples: Mapping[str, int]
    fields: tuple[FieldRow, ...]


def to_row(run: Run) -> Row:
    """The run as it is written down."""
    fields = (FieldRow(*of, count, run.examples.get(of, ())) for of, count in run.comparison.counts.items())
    return Row(replace(run, comparison=Comparison(), examples={}), run.comparison.samples, tuple(fields))


def from_row(row: Row) -> Run:
    """The run again."""
    counts = {(one.endpoint, one.path): one.count for one in row.fields}
    examples = {(one.endpoint, one.path): one.examples for one in row.fields if one.examples}
    return replace(row.run, comparison=Comparison(row.samples, counts), examples=examples)
