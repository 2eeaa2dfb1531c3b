from __future__ import annotations

from dataclasses import replace

from atoll.plan.actions import Create, Publish, Remove, Start, Stop, key
from atoll.plan.decisions import Pin
from atoll.plan.diff import diff
from atoll.plan.observed import MeshSeen, Observed


def actions(desk, **changes):
    return diff(desk.blueprint, replace(desk.observed, **changes))


def kinds(found):
    return [type(a) for a in found]


def test_a_place_is_made_first_then_the_outlet_then_the_process(desk):
    one = desk(instances=1)
    one.design()
    assert kinds(actions(one, mesh=MeshSeen())) == [Create, Publish]
    one.created("orders-r1-1")
    assert kinds(actions(one)) == [Publish]
    one.outlets = {"orders-r1-1"}
    (start,) = actions(one)
    assert isinstance(start, Start)
    assert start.why == "release 1 wants it"


def test_a_start_waits_for_its_back_off(desk):
    one = desk(instances=1)
    one.design()
    one.created("orders-r1-1")
    one.outlets = {"orders-r1-1"}
    assert actions(one, at=one.now - 1) == ()


def test_nothing_is_done_on_the_word_of_a_silent_runtime(desk):
    one = desk()
    one.serving()
    assert actions(one, instances={}, answered=frozenset({"mesh", "probes"})) == ()


def test_what_nobody_wants_is_stopped_and_removed(desk):
    one = desk(instances=1)
    one.pin = Pin(one.recipe(1))
    one.serving()
    one.running("stray")
    assert [a for a in actions(one) if isinstance(a, Stop)] == [Stop("stray", "orders", 5.0, "nobody wants it")]
    one.ended("stray")
    assert [a for a in actions(one) if isinstance(a, Remove)] == [Remove("stray", "orders", "it has ended")]


def test_a_place_is_removed_only_when_the_proxies_have_let_go(desk):
    one = desk(instances=1)
    one.pin = Pin(one.recipe(1))
    one.serving()
    one.ended("stray")
    one.outlets = {*one.outlets, "stray"}
    assert actions(one) == ()
    one.outlets = one.outlets - {"stray"}
    assert actions(one, answered=frozenset({"runtime", "probes"})) == ()
    assert Remove not in kinds(actions(one, mesh=replace(one.observed.mesh, generation=0)))
    assert kinds(actions(one)) == [Remove]


def test_a_system_at_rest_has_nothing_to_do(desk):
    one = desk()
    one.pin = Pin(one.recipe(1))
    one.serving()
    assert actions(one) == ()


def test_an_empty_world_has_nothing_to_do(desk):
    assert diff(desk().blueprint, Observed(1.0, answered=frozenset({"runtime"}))) == ()


def test_a_key_names_what_an_action_is_about(desk):
    one = desk(instances=1)
    one.design()
    (instance,) = one.instances
    assert key(Create(instance, "")) == ("Create", "orders-r1-1")
    assert key(Start(instance, "")) == ("Start", "orders-r1-1")
    assert key(Publish(3, "")) == key(Publish(4, "other"))
    assert key(Stop("x", "orders", 1.0, "")) == ("Stop", "x")
    assert key(Remove("x", "orders", "")) == ("Remove", "x")
