"""How much traffic there is to judge by, and what the judge says of it."""

from __future__ import annotations

from dataclasses import replace

from atoll.engine.judging import Flows, heard
from atoll.plan.releasing import Progress, State
from atoll.policies.judge.counters import Reading, Snapshot
from atoll.policies.judge.evidence import Arm
from atoll.values.judging import ERRORS, JudgePolicy

POLICY = JudgePolicy(metrics=(ERRORS,))
CANARY = Progress(2, State.CANARY, weight=10, size=1)


def old(success, error):
    return Reading("mesh", "old", Arm.STABLE, success, error)


def new(success, error):
    return Reading("mesh", "new", Arm.CANARY, success, error)


def test_what_can_be_found_depends_on_how_much_stable_is_asked():
    flows = Flows()
    assert flows.prospect("orders", CANARY, POLICY, (1, 4), 600) == "how much it is called is not known yet"
    for second in range(5):
        flows.measure("orders", float(second), (old(100 + 20 * second, second), new(7 * second, 0)))
    assert flows.seconds("orders") == 4.0
    prospect = flows.prospect("orders", CANARY, POLICY, (1, 4), 600)
    assert prospect.startswith("21 rps, 10 % of them on 1 of 5 instances, for 10m: can tell errors of ")
    flows.keep(())
    assert flows.seconds("orders") == 0.0


def test_who_started_anew_is_measured_anew_and_who_is_not_asked_is_said():
    flows = Flows()
    for second, total in enumerate((1000, 1050, 3, 3)):
        flows.measure("orders", float(second), (old(total, 0),))
    assert flows.seconds("orders") == 1.0
    assert flows.prospect("orders", CANARY, POLICY, (1, 4), 600).startswith("nobody calls it")


def test_what_the_judge_has_seen_and_said_is_kept_with_the_release():
    progress = CANARY
    for second in range(30):
        readings = (old(100 * second, 0), new(10 * second, 0))
        progress, verdict = heard(progress, Snapshot(100.0 + second, readings, 0.1), POLICY)
    assert progress.said.startswith("canary 0 of 290 bad, stable 0 of 2,900")
    again, _ = heard(progress, Snapshot(131.0, (old(3100, 0), new(310, 0)), 0.1), POLICY)
    assert "canary 0 of 310 bad" in again.said
    assert verdict.exposed
    assert not again.paused


def test_what_the_old_one_fails_is_known_at_any_moment_of_the_last_minute():
    flows = Flows()
    for second in range(300):
        flows.measure("orders", float(second), (old(90 * second, 10 * second),))
        assert flows.usual("orders", CANARY) == (0.1 if second else 0.0)
    assert flows.seconds("orders") == 60.0


def test_after_a_restart_what_the_judge_remembers_of_the_old_one_counts():
    progress = CANARY
    for second in range(30):
        readings = (old(90 * second, 10 * second), new(10 * second, 0))
        progress, _ = heard(progress, Snapshot(100.0 + second, readings, 0.1), POLICY)
    flows = Flows()
    assert flows.usual("orders", progress) == 0.1
    for second in range(3):
        flows.measure("orders", float(second), (old(100 * second, 0),))
    assert flows.usual("orders", progress) == 0.1
    assert flows.usual("orders", replace(progress, judge="of another version")) == 0.0
