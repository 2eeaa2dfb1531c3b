"""The gate of a parallel run on whole runs of many fields: who is let through, and who is sent back."""

from __future__ import annotations

import json
from math import log
from random import Random

from atoll.model.system import Compare
from atoll.policies.comparing.canonical import Contract, Reply
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.gate import FAIL, PASS, UNDECIDED, rule
from atoll.policies.comparing.messages import Findings
from atoll.policies.comparing.oddone import MOST_FIELDS, REST, Comparison, Count, Profile, compared
from atoll.policies.comparing.run import Run, heard
from atoll.policies.comparing.samples import Answer, Sample, sample

NOISE = {"at": 0.3, "rank": 0.1, "stock": 0.02, "views": 0.5, "total": 0.0, "name": 0.0}
"""How often one instance deviates from the others in a field."""
COMPARE = Compare(samples=200, least=1)
LOOK = 25


def outcome(seed: int, regression: dict[str, float], requests: int = 600) -> str:
    """The first verdict that decides, looked at every few samples; undecided at the end."""
    random = Random(seed)
    run, profile = Run("a", 2, 1, 0.0, 0.0), Profile()
    for number in range(requests // LOOK):
        samples = tuple(Sample("GET /", drawn(random, regression), (0.01, 0.01, 0.01)) for _ in range(LOOK))
        run = heard(run, Findings("a", 0.0, samples), float(number), profile)
        kind = rule(run, COMPARE, profile, -10.0, float(number)).kind
        if kind in {PASS, FAIL}:
            return kind
    return UNDECIDED


def drawn(random: Random, regression: dict[str, float]) -> dict[str, Odd]:
    found = {}
    for field, noise in NOISE.items():
        primary, secondary = random.random() < noise, random.random() < noise
        candidate = random.random() < noise or random.random() < regression.get(field, 0.0)
        if primary + secondary + candidate > 1:
            found[field] = Odd.ALL
        elif primary or secondary or candidate:
            found[field] = Odd.CANDIDATE if candidate else Odd.PRIMARY if primary else Odd.SECONDARY
    return found


def answer(random: Random) -> Answer:
    """Twenty ids, and three fields after them of which one in twenty is another."""
    fields = {f"a{n:02}": random.random() for n in range(20)} | {f"z{n}": random.random() < 0.05 for n in range(3)}
    return Answer(Reply(200, {}, json.dumps(fields).encode()), 0.01)


def outcome_of_answers(seed: int) -> str:
    random, run = Random(seed), Run("a", 2, 1, 0.0, 0.0)
    for number in range(COMPARE.samples):
        found = sample("GET /", [answer(random) for _ in range(3)], Contract(), b"")
        run = heard(run, Findings("a", 0.0, (found,)), float(number), Profile())
        if number % LOOK == 0 and rule(run, COMPARE, Profile(), -10.0, float(number)).kind == FAIL:
            return FAIL
    return rule(run, COMPARE, Profile(), -10.0, 10.0).kind


def test_the_same_program_is_let_through_where_more_fields_are_noisy_than_are_told():
    outcomes = [outcome_of_answers(seed) for seed in range(8)]
    assert outcomes.count(FAIL) <= 1
    assert outcomes.count(PASS) >= 7


def test_many_noisy_fields_of_one_sample_are_one_piece_of_evidence():
    full = Comparison({}, {("GET /", f"k{n}"): Count() for n in range(MOST_FIELDS)})
    failed = 0
    for seed in range(100):
        random, run = Random(seed), full
        for number in range(200):
            who = random.choice((Odd.CANDIDATE, Odd.PRIMARY, Odd.SECONDARY))  # and all new fields are its doing
            run = compared(run, "GET /", {f"{number}-{n}": who for n in range(5)}, 0.0, Profile())
        assert len(run.counts) == MOST_FIELDS + 1
        failed += run.counts["GET /", REST].peak >= log(1 / Profile().alpha)
    assert failed <= 3


def test_the_same_program_is_let_through_whatever_the_noise():
    outcomes = [outcome(seed, {}) for seed in range(120)]
    assert outcomes.count(FAIL) <= 2
    assert outcomes.count(PASS) >= 114


def test_one_answer_of_twenty_in_a_quiet_field_is_not_let_through():
    outcomes = [outcome(seed, {"total": 0.05}) for seed in range(120)]
    assert outcomes.count(PASS) <= 7
    assert outcomes.count(FAIL) >= 108


def test_one_answer_of_seven_in_a_field_with_some_noise_is_not_let_through():
    outcomes = [outcome(seed, {"stock": 0.15}) for seed in range(200)]
    assert outcomes.count(PASS) <= 10
