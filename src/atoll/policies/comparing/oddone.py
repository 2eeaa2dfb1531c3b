"""
The odd one out: evidence that a field of the candidate's answers differs by itself.

Two instances of stable and one of the candidate answer the same request. If the candidate is the same program, then
among the requests where exactly one of the three differs, each is the odd one equally often, whatever the noise. And if
an A/A run has shown how much noise a field has, a field without any is decided by one or two mismatches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import log, sqrt

from atoll.policies.comparing.difference import Odd
from atoll.policies.mixture import log_mean, one_sample

ALTERNATIVES = (0.37, 0.42, 0.5, 0.7, 0.9, 0.99)
"""How often a candidate that differs is the odd one of three."""
THIRD = 1 / 3
LOUDER = (3.0, 10.0, 100.0, 1000.0, 10000.0)
"""How many times the noise a candidate that differs deviates."""
MOST = 0.5
MISMEASURED = 0.25
NOISE_SAMPLES = 20
NOISE_SHARE = 0.5
"""A field in which all three differ in so many samples, and in this share of them, holds no information."""

MOST_FIELDS = 2000
REST = "all other fields"
"""Objects whose keys are data make a new field of each; these share one count."""

Field = tuple[str, str]
"""An endpoint and a path in its answers."""


class Kind(StrEnum):
    """What is known of a field."""

    DIFFERENT = "different"
    ALIKE_SO_FAR = "alike so far"
    MASKED = "masked"


@dataclass(frozen=True, slots=True)
class Noise:
    """An A/A run of one field: in so many samples, how often an instance deviated from two equal ones."""

    samples: int
    odd: int

    def most(self, alpha: float) -> float:
        """A rate that one instance's noise exceeds with a chance of at most *alpha* (Chernoff)."""
        return _upper(self.odd, log(1 / alpha)) / (3 * self.samples)


@dataclass(frozen=True, slots=True)
class Count:
    """How often which answer was the odd one in one field; `peak` is the most that the evidence came to."""

    candidate: int = 0
    others: int = 0
    all_three: int = 0
    peak: float = 0.0
    first: float = 0.0
    last: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """All counts of a parallel run: samples by endpoint, and fields that ever differed."""

    samples: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[Field, Count] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    """One line of the report; `log_odds` is the logarithm of the odds that the candidate differs by itself."""

    endpoint: str
    path: str
    kind: Kind
    log_odds: float
    samples: int
    count: Count


@dataclass(frozen=True, slots=True)
class Profile:
    """How fields are judged: the chance of a false alarm per field, and what A/A runs have shown of the noise."""

    alpha: float = 0.01
    samples: Mapping[str, int] = field(default_factory=dict)
    odd: Mapping[Field, int] = field(default_factory=dict)

    def noise(self, of: Field) -> Noise | None:
        """
        The noise of one field, None where its endpoint was in no A/A run. A field that never differed has none.

        What shares a count is not the same from run to run, so nothing is known of it.
        """
        samples = self.samples.get(of[0], 0) if of[1] != REST else 0
        return Noise(samples, self.odd.get(of, 0)) if samples else None


def compared(before: Comparison, endpoint: str, odd: Mapping[str, Odd], at: float, profile: Profile) -> Comparison:
    """The counts after one more triple, of which *odd* are the fields that differ."""
    samples = {**before.samples, endpoint: before.samples.get(endpoint, 0) + 1}
    if not odd:
        return Comparison(samples, before.counts)
    counts, rest = dict(before.counts), list[Odd]()
    for path, which in odd.items():
        of = (endpoint, path)
        if path == REST or (of not in counts and len(counts) >= MOST_FIELDS):
            rest.append(which)
        else:
            counted = counts.get(of, Count(first=at))
            counts[of] = count(counted, which, samples[endpoint], at, profile.noise(of), profile.alpha)
    if rest:
        of = (endpoint, REST)
        counts[of] = count(counts.get(of, Count(first=at)), together(rest), samples[endpoint], at, None, profile.alpha)
    return Comparison(samples, counts)


def together(found: Iterable[Odd]) -> Odd:
    """
    The odd one in several fields of one sample that share a count: whoever it is in most of them.

    They are one piece of evidence, as what makes an answer differ in one field may do so in all of them. The rule does
    not know one side from another, so of three that are alike each is it equally often.
    """
    most = Counter(which for which in found if which is not Odd.ALL).most_common(2)
    alone = len(most) == 1 or (len(most) > 1 and most[0][1] > most[1][1])
    return most[0][0] if alone else Odd.ALL


def count(before: Count, which: Odd, samples: int, at: float, noise: Noise | None, alpha: float) -> Count:
    """One field's count after *which* was the odd one in the last of *samples*."""
    after = Count(
        candidate=before.candidate + (which is Odd.CANDIDATE),
        others=before.others + (which in {Odd.PRIMARY, Odd.SECONDARY}),
        all_three=before.all_three + (which is Odd.ALL),
        peak=before.peak,
        first=before.first,
        last=at,
    )
    if which is not Odd.CANDIDATE:
        return after
    return replace(after, peak=max(before.peak, evidence(after, samples, noise, alpha)))


def evidence(found: Count, samples: int, noise: Noise | None, alpha: float) -> float:
    """
    Logarithm of the odds that the candidate differs by itself.

    Where an A/A run has measured the noise, the average of two tests. A quarter of *alpha* is the chance that the noise
    was measured as too little, so the odds count for three quarters.
    """
    among = one_sample(found.candidate, found.candidate + found.others, THIRD, ALTERNATIVES)
    if noise is None:
        return among
    most = noise.most(alpha * MISMEASURED)
    if most * LOUDER[0] >= MOST:
        return among
    louder = tuple(min(MOST, most * factor) for factor in LOUDER)
    return log_mean((among, one_sample(found.candidate, samples, most, louder))) + log(1 - MISMEASURED)


def learned(profile: Profile, run: Comparison) -> Profile:
    """The profile after a further A/A run, in which the candidate was stable."""
    samples, odd = Counter(profile.samples), Counter(profile.odd)
    samples.update(run.samples)
    odd.update({of: found.candidate + found.others + 3 * found.all_three for of, found in run.counts.items()})
    return Profile(profile.alpha, samples, odd)


def learned_beside(profile: Profile, run: Comparison) -> Profile:
    """
    The profile after a run beside another release, from stable's part of it.

    Two of three answers are stable's, so it is two thirds of an A/A run. Where all three differ stable may have
    deviated twice.
    """
    samples, odd = Counter(profile.samples), Counter(profile.odd)
    samples.update({endpoint: 2 * count // 3 for endpoint, count in run.samples.items()})
    odd.update({of: found.others + 2 * found.all_three for of, found in run.counts.items()})
    return Profile(profile.alpha, samples, +odd)  # without the fields that only the other release had


def current(verdict: FieldVerdict, profile: Profile) -> float:
    """The evidence as it is now, where the verdict has the most that it ever came to."""
    noise = profile.noise((verdict.endpoint, verdict.path))
    return evidence(verdict.count, verdict.samples, noise, profile.alpha)


def report(run: Comparison, profile: Profile) -> tuple[FieldVerdict, ...]:
    """All fields that ever differed, the strongest evidence first."""
    found = (_verdict(of, counted, run.samples[of[0]], profile) for of, counted in run.counts.items())
    return tuple(sorted(found, key=lambda v: (-v.log_odds, v.endpoint, v.path)))


def _verdict(of: Field, counted: Count, samples: int, profile: Profile) -> FieldVerdict:
    kind = Kind.DIFFERENT if counted.peak >= log(1 / profile.alpha) else Kind.ALIKE_SO_FAR
    if kind is Kind.ALIKE_SO_FAR and samples >= NOISE_SAMPLES and counted.all_three >= NOISE_SHARE * samples:
        kind = Kind.MASKED
    return FieldVerdict(*of, kind, counted.peak, samples, counted)


def family(verdicts: Iterable[FieldVerdict], alpha: float) -> tuple[FieldVerdict, ...]:
    """
    Those that differ, when of all that are named at most a share *alpha* may be wrong (e-BH, Wang and Ramdas 2022).

    A field is decided on its own at `alpha`; of two hundred noisy ones two would be named for nothing.
    """
    ordered = sorted(verdicts, key=lambda v: -v.log_odds)
    bars = (log(len(ordered) / (alpha * place)) for place in range(1, len(ordered) + 1))
    named = [place for place, (v, bar) in enumerate(zip(ordered, bars, strict=True), 1) if v.log_odds >= bar]
    return tuple(ordered[: max(named, default=0)])


def _upper(seen: int, bar: float) -> float:
    """The least mean for which so few events as *seen* have a chance of exp(-bar) by Chernoff's bound."""
    low, high = float(seen), seen + bar + 2 * sqrt(bar * (seen + bar))
    for _ in range(60):
        middle = (low + high) / 2
        excess = middle - seen + (seen * log(seen / middle) if seen else 0.0)
        low, high = (middle, high) if excess < bar else (low, middle)
    return high
