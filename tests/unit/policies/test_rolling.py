from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.system import Gateway, Health, Service, System
from atoll.plan.blueprint import Address, Failure, Instance, Stage, Workload
from atoll.plan.decisions import Pin
from atoll.plan.observed import MeshSeen, Observed, Phase, Seen
from atoll.plan.recipes import recipe
from atoll.policies.rolling import judge
from atoll.policies.verdict import Outcome

SERVICE = Service("orders", source="orders", instances=2, health=Health(startup=5.0))
RECIPE = recipe(System("shop", Gateway(), {}, ""), SERVICE, artifact="x", argv=("run",))
OLD, NEW = replace(RECIPE, release=1), replace(RECIPE, release=2)
PIN = Pin(OLD, NEW)


def instance(serial, what=NEW, stage=Stage.SERVE, **fields):
    name = f"orders-{serial}"
    return Instance(name, what, serial, serial, Address("10.0.0.1", serial), (), (), stage, 100.0, **fields)


def verdict(*instances, accepted=None, failures=(), pin=PIN):
    workload = Workload("orders", SERVICE.runtime, instances, (), (), (), SERVICE.health.ready, failures=failures)
    taken = {i.name: i.stage for i in instances} if accepted is None else accepted
    seen = {i.name: Seen(i.name, "orders", Phase.RUNNING, 1, 95.0) for i in instances}
    return judge(SERVICE, pin, workload, Observed(100.0, {"orders": seen}, mesh=MeshSeen(1, taken)))


def test_nothing_is_going_on():
    assert judge(SERVICE, Pin(OLD), None, Observed(0.0)).outcome is Outcome.DONE


def test_it_is_done_when_all_serve_in_the_proxies_and_nothing_older_is_left():
    assert verdict(instance(1), instance(2)).outcome is Outcome.DONE


def test_it_goes_on_while_the_proxies_do_not_know():
    assert verdict(instance(1), instance(2), accepted={}).outcome is Outcome.GOING
    assert verdict(instance(1), instance(2), accepted={"orders-1": Stage.SERVE}).outcome is Outcome.GOING


def test_it_goes_on_while_an_old_one_drains():
    found = verdict(instance(1, OLD, Stage.DRAIN), instance(2), instance(3))
    assert (found.outcome, found.reason) == (Outcome.GOING, "2 of 2 serve release 2, 1 older to stop")


def test_it_goes_on_before_there_is_anything():
    assert judge(SERVICE, PIN, None, Observed(0.0)).outcome is Outcome.GOING


@pytest.mark.parametrize(("since", "outcome"), [(95.1, Outcome.GOING), (95.0, Outcome.FAILED)])
def test_one_that_served_and_stays_unready_ends_the_release(since, outcome):
    lost = replace(instance(1, stage=Stage.START, served=90.0, reason="no answer"), since=since)
    assert verdict(instance(2, OLD), lost).outcome is outcome


@pytest.mark.parametrize(("crashes", "outcome"), [(2, Outcome.GOING), (3, Outcome.FAILED)])
def test_three_crashes_in_a_row_are_enough(crashes, outcome):
    found = verdict(instance(1, stage=Stage.START, crashes=crashes, reason="it exited with code 1"))
    assert found.outcome is outcome
    kept = verdict(failures=(Failure(2, crashes, "it exited with code 1"),))
    assert kept.outcome is outcome


def test_crashes_of_the_old_release_do_not_count():
    assert verdict(instance(1, OLD, crashes=9), failures=(Failure(1, 9, ""),)).outcome is Outcome.GOING


def test_a_start_that_took_too_long_has_failed():
    late = instance(1, stage=Stage.STOP, reason="not ready within 5 s")
    assert verdict(late) == replace(verdict(late), outcome=Outcome.FAILED, reason="not ready within 5 s")


def test_a_start_that_was_broken_off_has_not():
    early = replace(instance(1, stage=Stage.STOP, reason="it is no longer wanted"), since=97.0)
    assert verdict(early).outcome is Outcome.GOING
