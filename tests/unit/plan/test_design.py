from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from atoll.errors import Failed
from atoll.model.system import Check, Compare, Health, Operation, Route, RuntimeKind
from atoll.plan.actions import Remove
from atoll.plan.blueprint import Shadow, Split, Stage
from atoll.plan.decisions import Pin
from atoll.plan.design import FIRST_PORT, PORTS, Host, design, wake_at
from atoll.plan.diff import diff
from atoll.plan.releasing import COMPARED, Progress, State


def stable(desk):
    desk.pin = Pin(desk.recipe(1))
    desk.serving()
    return desk


def test_the_declared_number_is_started(desk):
    one = desk(instances=3)
    one.design()
    assert one.stages == dict.fromkeys(("orders-r1-1", "orders-r1-2", "orders-r1-3"), Stage.START)
    assert one.blueprint.generation == 1


def test_addresses_are_chosen_here_and_differ(desk):
    one = desk(instances=2)
    one.design()
    first, second = one.instances
    assert (first.address.ip, first.network) == ("10.201.0.6", 1)
    assert (second.address.ip, second.network) == ("10.201.0.10", 2)
    assert first.outlets[0].netns == "/run/x/netns/orders-r1-1"
    assert dict(first.env) == {"ATOLL_INSTANCE_NAME": "orders-r1-1", "HOST": "0.0.0.0", "PORT": "8080"}


def test_a_plain_process_has_a_port_and_one_for_each_callee(desk):
    one = desk(instances=1, runtime=RuntimeKind.PROCESS, calls=("payments",))
    one.busy = frozenset({FIRST_PORT + 1})
    one.design()
    (instance,) = one.instances
    assert instance.address.port == FIRST_PORT + 2
    assert dict(instance.env)["PAYMENTS_URL"] == f"http://127.0.0.1:{FIRST_PORT + 3}"
    assert instance.outlets[0].callee == "payments"


def test_a_plain_process_has_a_port_for_flags_where_it_may_ask_for_them(desk):
    one = desk(instances=1, runtime=RuntimeKind.PROCESS, calls=("payments",))
    one.service = replace(one.service, flags=("new-checkout",))
    assert one.design().workloads["orders"].flags
    (instance,) = one.instances
    assert [o.callee for o in instance.outlets] == ["payments", "flags"]
    env = dict(instance.env)
    assert env["FLAGS_URL"] == env["OFREP_ENDPOINT"] == f"http://127.0.0.1:{instance.outlets[1].address.port}"


def test_a_machine_without_a_free_port_says_so(desk):
    one = desk(instances=1, runtime=RuntimeKind.PROCESS)
    one.busy = frozenset(range(FIRST_PORT + 1, FIRST_PORT + PORTS + 1))
    with pytest.raises(Failed, match="ports for instances are in use"):
        one.design()


def test_it_serves_only_when_its_health_check_passes(desk):
    one = desk(instances=1)
    one.design()
    one.created("orders-r1-1")
    one.word("orders-r1-1", ready=True)
    assert one.design().workloads["orders"].instances[0].stage is Stage.START
    one.running("orders-r1-1")
    assert one.design().workloads["orders"].instances[0].stage is Stage.SERVE


def test_a_system_at_rest_is_the_same_object(desk):
    one = stable(desk())
    blueprint = one.blueprint
    assert one.design() is blueprint
    assert blueprint.workloads["orders"].basis is not None


def test_a_silent_runtime_decides_nothing(desk):
    one = stable(desk())
    blueprint = one.blueprint
    one.answered = frozenset({"mesh", "probes"})
    one.seen, one.service = {}, replace(one.service, instances=5)
    assert one.design() is blueprint


def test_what_is_not_ready_gets_no_traffic_and_is_not_replaced(desk):
    one = stable(desk())
    one.word("orders-r1-1", ready=False)
    one.design()
    assert one.stages == {"orders-r1-1": Stage.START, "orders-r1-2": Stage.SERVE}
    assert one.instances[0].reason == "answered 503"


@pytest.mark.parametrize("trouble", ["dead", "altered"])
def test_what_hangs_is_stopped_and_replaced(desk, trouble):
    one = stable(desk())
    if trouble == "dead":
        one.word("orders-r1-1", ready=False, live=False)
    else:
        one.running("orders-r1-1", altered="somebody stopped it")
    one.design()
    assert one.stages == {"orders-r1-1": Stage.STOP, "orders-r1-2": Stage.SERVE, "orders-r1-3": Stage.START}


def test_what_is_damaged_before_it_begins_is_taken_away_and_replaced(desk):
    """There is nothing to stop: what is told to end and does not run would stay for ever."""
    one = desk(instances=1)
    one.design()
    one.created("orders-r1-1", altered="its namespace is gone")
    one.design()
    (second,) = one.instances
    assert (second.name, second.stage, second.reason) == ("orders-r1-2", Stage.START, "its namespace is gone")
    assert Remove("orders-r1-1", "orders", "it has ended") in diff(one.blueprint, one.observed)


def test_a_crash_is_replaced_at_once_and_the_next_one_later(desk):
    one = stable(desk(instances=1))
    one.ended("orders-r1-1")
    one.design()
    (first,) = one.instances
    assert (first.name, first.crashes, first.not_before) == ("orders-r1-2", 1, one.now)
    assert first.reason == "it exited with code 1"
    one.ended("orders-r1-2")
    one.design()
    (second,) = one.instances
    assert second.crashes == 2
    assert one.blueprint.workloads["orders"].failed_runs == ((1, 2),)
    assert one.now + 0.25 <= second.not_before <= one.now + 0.5


def test_the_crashes_of_a_release_go_with_it(desk):
    one = stable(desk(instances=1))
    one.ended("orders-r1-1")
    one.pin = Pin(one.recipe(1), one.recipe(2))
    one.design()
    for serial in (3, 4):
        one.ended(f"orders-r2-{serial}")
        one.design()
    assert one.blueprint.workloads["orders"].failed_runs == ((1, 1), (2, 2))
    given_up, promoted = Pin(one.recipe(1)), Pin(one.recipe(2))
    for pin, left in ((given_up, ((1, 1),)), (promoted, ((2, 2),))):
        other = copy(one)
        other.pin = pin
        other.design()
        assert other.blueprint.workloads["orders"].failed_runs == left


def test_a_good_run_pays_for_crashes_before(desk):
    one = stable(desk(instances=1))
    one.now += 60
    one.ended("orders-r1-1")
    one.design()
    assert one.instances[0].crashes == 0


def test_what_cannot_start_is_replaced(desk):
    one = desk(instances=1)
    one.design()
    one.failed = {"orders-r1-1": "no such file"}
    one.design()
    assert one.instances[0].name == "orders-r1-2"
    assert one.instances[0].reason == "no such file"


def test_a_start_is_given_up_after_its_time_with_the_last_word(desk):
    one = desk(instances=1)
    one.design()
    one.running("orders-r1-1")
    one.now += 6
    assert one.design().workloads["orders"].instances[0].stage is Stage.START, "its health was not asked yet"
    one.word("orders-r1-1", ready=False)
    one.design()
    assert one.instances[0].stage is Stage.STOP
    assert one.instances[0].reason == "not ready within 5 s: answered 503"


def test_fewer_drains_the_youngest(desk):
    one = stable(desk(instances=3))
    one.service = replace(one.service, instances=1)
    one.design()
    assert one.stages == {"orders-r1-1": Stage.SERVE, "orders-r1-2": Stage.DRAIN, "orders-r1-3": Stage.DRAIN}


def test_nobody_goes_before_it_is_known_who_would_be_left(desk):
    one = stable(desk(instances=2))
    words, one.ready = one.ready, {"orders-r1-2": one.ready["orders-r1-2"]}
    one.service = replace(one.service, instances=1)
    one.design()
    assert Stage.DRAIN not in one.stages.values()
    one.ready = words
    one.design()
    assert one.stages["orders-r1-2"] is Stage.DRAIN


def test_a_drain_ends_when_the_proxies_know_it_and_nothing_is_open(desk):
    one = stable(desk(instances=1))
    one.service = replace(one.service, instances=0)
    one.design()
    one.active = {"orders-r1-1": 0}
    one.design()
    assert one.stages == {"orders-r1-1": Stage.DRAIN}, "not acknowledged"
    one.accept()
    one.active = {"orders-r1-1": 1}
    one.design()
    assert one.stages == {"orders-r1-1": Stage.DRAIN}, "a request is open"
    one.active = {"orders-r1-1": 0}
    one.design()
    assert one.stages == {"orders-r1-1": Stage.STOP}


def test_a_drain_ends_when_its_time_is_over(desk):
    one = stable(desk(instances=1))
    one.service = replace(one.service, instances=0)
    one.design()
    assert wake_at(one.blueprint, one.observed) == one.now + 3
    one.now += 3
    one.design()
    assert one.instances[0].stage is Stage.STOP
    assert "drain time is over" in one.instances[0].reason


def test_a_removed_service_drains_and_goes(desk):
    one = stable(desk(instances=1))
    one.design(gone=True)
    assert one.stages == {"orders-r1-1": Stage.DRAIN}
    assert one.instances[0].reason == "the system goes down"  # nothing is left of it
    assert one.blueprint.workloads["orders"].routes == ()
    one.seen = {}
    one.design(gone=True)
    assert one.blueprint.workloads == {}


def test_a_service_that_is_removed_from_others_says_so(desk):
    one = stable(desk(instances=1))
    others = replace(one.system, services={"web": replace(one.service, name="web")})
    after = design(others, {}, one.observed, one.blueprint, Host("/run/x"))
    assert after.workloads["orders"].instances[0].reason == "the service was removed"


def test_a_rollout_adds_the_surge_and_takes_what_the_proxies_have_replaced(desk):
    one = stable(desk(instances=2))
    one.pin = Pin(one.recipe(1), one.recipe(2))
    one.design()
    assert one.stages["orders-r2-3"] is Stage.START
    assert len(one.instances) == 3
    one.running("orders-r2-3")
    one.word("orders-r2-3", ready=True)
    one.design()
    assert list(one.stages.values()) == [Stage.SERVE] * 3, "ready, but not yet in the proxies"
    one.accept()
    one.design()
    assert one.stages["orders-r1-2"] is Stage.DRAIN
    assert one.stages["orders-r2-4"] is Stage.START


def test_silent_proxies_change_no_counts_in_the_middle_of_a_rollout(desk):
    one = stable(desk(instances=2))
    one.pin = Pin(one.recipe(1), one.recipe(2))
    one.design()
    one.running("orders-r2-3")
    one.word("orders-r2-3", ready=True)
    one.design()
    before, one.accepted = one.stages, {}
    one.design()
    assert one.stages == before


def test_an_aborted_release_leaves_as_carefully_as_it_came(desk):
    one = stable(desk(instances=1))
    one.pin = Pin(one.recipe(1), one.recipe(2))
    one.design()
    one.running("orders-r2-2")
    one.word("orders-r2-2", ready=True)
    one.design()
    one.accept()
    one.design()
    one.seen = {"orders-r2-2": one.seen["orders-r2-2"]}
    one.pin = Pin(one.recipe(1))
    one.design()
    assert one.stages == {"orders-r2-2": Stage.SERVE, "orders-r1-3": Stage.START}


def test_a_failure_is_remembered_until_there_is_room_for_its_replacement(desk):
    one = stable(desk(instances=2))
    one.pin = Pin(one.recipe(1), one.recipe(2))
    one.design()
    one.running("orders-r2-3")
    one.word("orders-r2-3", ready=True)
    one.design()
    one.accept()
    one.design()
    one.running("orders-r2-4")
    one.ended("orders-r2-3")
    one.ended("orders-r2-4")
    one.design()
    workload = one.blueprint.workloads["orders"]
    counts = [i.crashes for i in workload.instances if i.recipe.release == 2] + [f.crashes for f in workload.failures]
    assert counts == [1, 1]


def test_a_policy_acts_without_a_restart(desk):
    one = stable(desk())
    names = list(one.stages)
    one.service = replace(one.service, routes=(Route("/"),))
    one.design()
    assert list(one.stages) == names
    assert one.blueprint.workloads["orders"].routes == (Route("/"),)


def test_wake_at_is_the_end_of_a_back_off_or_of_a_start(desk):
    one = desk(instances=1)
    one.design()
    assert wake_at(one.blueprint, one.observed) is None
    one.running("orders-r1-1")
    one.word("orders-r1-1", ready=False)
    one.design()
    assert wake_at(one.blueprint, one.observed) == one.now + 5


def test_what_the_proxies_do_not_know_yet_goes_first(desk):
    one = stable(desk(instances=2))
    one.service = replace(one.service, instances=1)
    one.accepted = {"orders-r1-2": Stage.SERVE}
    one.design()
    assert one.stages == {"orders-r1-1": Stage.DRAIN, "orders-r1-2": Stage.SERVE}


def test_numbers_given_out_in_one_turn_differ_at_the_end_of_the_range(desk):
    one = desk(instances=4, runtime=RuntimeKind.PROCESS)
    one.busy = frozenset(range(FIRST_PORT + 1, FIRST_PORT + PORTS - 3))
    one.design()
    assert len({i.address.port for i in one.instances}) == 4


def test_a_rollout_holds_while_too_few_new_ones_serve(desk):
    one = stable(desk(instances=3))
    one.pin = Pin(one.recipe(1), one.recipe(2))
    one.service = replace(one.service, rollout=replace(one.service.rollout, surge=2))
    one.design()
    one.running("orders-r2-4")
    one.word("orders-r2-4", ready=True)
    one.design()
    one.accept()
    one.design()
    one.accepted = {n: s for n, s in one.accepted.items() if n != "orders-r2-4"}
    before = one.stages
    one.design()
    assert one.stages == before, "the proxies forget one: nothing old comes back for it"


OTHER_CHECK = Health(ready=Check("/other"), startup=9.0)


def asked_otherwise(one, progress=None):
    """A second release with another health check begins."""
    first = one.recipe(1)
    one.serving()
    one.service = replace(one.service, health=OTHER_CHECK)
    one.pin = Pin(first, one.recipe(2), progress)
    one.design()


def check_of(one):
    return one.design().workloads["orders"].check


def test_proxies_ask_by_the_check_of_a_release_and_not_at_all_while_two_differ(desk):
    one = desk(instances=1)
    asked_otherwise(one)
    assert check_of(one) == Check()  # the new one is no endpoint yet
    one.running("orders-r2-2")
    one.word("orders-r2-2", ready=True)
    assert check_of(one) is None
    one.accept()
    one.design()
    assert one.stages == {"orders-r1-1": Stage.DRAIN, "orders-r2-2": Stage.SERVE}
    assert check_of(one) is None  # what drains may still be sent what belongs to it
    one.active = {"orders-r1-1": 0}
    one.accept()
    assert check_of(one) == OTHER_CHECK.ready
    one.ended("orders-r2-2")
    assert check_of(one) == Check()  # nobody is there to be asked, and release 1 is what comes back


def test_each_of_two_releases_side_by_side_is_asked_by_its_own_check(desk):
    one = desk(instances=1)
    asked_otherwise(one, Progress(2, State.CANARY, weight=5))
    one.running("orders-r2-2")
    one.word("orders-r2-2", ready=True)
    made = one.design().workloads["orders"]
    assert one.stages == {"orders-r1-1": Stage.SERVE, "orders-r2-2": Stage.SERVE}
    assert (made.check, made.split.check) == (Check(), OTHER_CHECK.ready)
    one.pin = replace(one.pin, progress=Progress(2, State.BAKING, weight=100))
    made = one.design().workloads["orders"]
    assert (made.check, made.split.check) == (None, OTHER_CHECK.ready)  # both are known as stable's


def test_an_instance_has_the_start_up_time_of_its_own_release(desk):
    one = desk(instances=1)
    asked_otherwise(one)
    one.running("orders-r2-2")
    one.word("orders-r2-2", ready=False)
    one.now += 8.0
    one.design()
    assert one.stages["orders-r2-2"] is Stage.START
    one.now += 1.0
    one.design()
    assert one.stages["orders-r2-2"] is Stage.STOP


def test_a_release_that_is_compared_answers_copies_and_only_then(desk):
    one = desk()
    one.service = replace(one.service, compare=Compare(share=0.5, concurrency=3, safe=(Operation("POST", "/find"),)))
    one.pin = Pin(one.recipe(1), one.recipe(2), Progress(2, State.DARK))
    assert one.design().workloads["orders"].shadow is None
    for state in COMPARED:
        one.pin = replace(one.pin, progress=Progress(2, state))
        made = one.design().workloads["orders"]
        assert made.shadow == Shadow(2, 0.5, 3)
        assert made.safe == (Operation("POST", "/find"),)
        assert made.split == Split(1, 2, 0, check=one.service.health.ready)
    one.pin = replace(one.pin, progress=Progress(2, State.ABORTING))
    assert one.design().workloads["orders"].shadow is None


def compared(desk):
    """A release that is compared, and the service's workload after each change of its progress."""
    one = desk(instances=1)
    one.service = replace(one.service, compare=Compare())
    stable(one)
    one.pin = Pin(one.recipe(1), one.recipe(2), Progress(2, State.SHADOW))
    one.serving()

    def workload(*progress, **pin):
        one.pin = replace(one.pin, progress=Progress(2, *progress) if progress else None, **pin)
        return one.design().workloads["orders"]

    return one, workload


def test_a_release_that_was_rejected_in_the_shadow_may_change_nothing_until_it_is_gone(desk):
    one, workload = compared(desk)
    assert workload(State.SHADOW).guarded == (2,)
    assert workload(State.ABORTING).guarded == (2,)
    made = workload(target=None)
    assert made.guarded == (2,)
    assert made.split is not None
    assert made.split.weight == 0, "its open requests are known to the proxies until they have ended"
    assert one.stages == {"orders-r1-1": Stage.SERVE, "orders-r2-2": Stage.DRAIN}
    one.now += 10
    made = workload(target=None)
    assert (made.split, made.guarded) == (None, (2,))
    assert one.stages["orders-r2-2"] is Stage.STOP
    one.seen = {"orders-r1-1": one.seen["orders-r1-1"]}
    assert workload(target=None).guarded == ()


def test_one_that_is_overtaken_or_compared_no_more_is_guarded_as_well(desk):
    one, workload = compared(desk)
    one.service = replace(one.service, compare=None)
    made = workload(State.SHADOW)
    assert (made.shadow, made.guarded) == (None, (2,))
    one.pin = Pin(one.recipe(1), one.recipe(3), Progress(3, State.STARTING))
    assert one.design().workloads["orders"].guarded == (2,)


def test_one_that_goes_on_is_free_before_it_has_a_user(desk):
    _, workload = compared(desk)
    assert workload(State.GROWING, 0).guarded == ()
    assert workload(State.CANARY, 0, 10).guarded == ()
    assert workload(State.ABORTING).guarded == ()
