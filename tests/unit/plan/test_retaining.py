"""What the file has no more, and who may still call it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.system import Call, Gateway, Route, Service, System
from atoll.plan.blueprint import Address, Instance, Stage, Workload
from atoll.plan.decisions import Pin
from atoll.plan.recipes import recipe
from atoll.plan.retaining import dispensable, needs, never_served, retain


def service(name, *calls, **more):
    return Service(name, source=name, calls=tuple(map(Call, calls)), **more)


def system(*services, retained=()):
    return System("shop", Gateway(), {one.name: one for one in services}, "", retained=retained)


def release(one, number=1):
    made = recipe(system(one), one, artifact="a" * 64, argv=("run",))
    return replace(made, release=number)


def pins(*services):
    return {one.name: Pin(release(one)) for one in services}


NONE: frozenset[str] = frozenset()
WEB, API, DB = service("web", "api"), service("api", "db", routes=(Route("/api"),)), service("db")
BEFORE = system(WEB, API, DB)


def test_what_something_may_call_stays_without_its_routes():
    wanted = system(service("web"))
    kept = retain(wanted, BEFORE, pins(WEB, API, DB))
    assert kept.retained == ("api", "db")
    assert [*kept.services] == ["api", "db", "web"]
    assert kept.services["web"] is wanted.services["web"]
    assert kept.services["api"] == replace(API, routes=())


@pytest.mark.parametrize("before", [None, system(service("web"), DB)])
def test_what_nothing_was_made_to_call_goes_at_once(before):
    wanted = system(service("web"))
    assert retain(wanted, before, pins(service("web"), DB)) == wanted


def test_a_release_on_its_way_counts_as_the_one_that_serves():
    on_its_way = Pin(release(service("web")), release(WEB, 2))
    assert retain(system(service("web")), BEFORE, {"web": on_its_way}).retained == ("api",)


def test_what_is_in_the_file_again_is_retained_no_more():
    before = system(service("web"), API, DB, retained=("api", "db"))
    assert retain(system(WEB, API, DB), before, pins(WEB, API, DB)).retained == ()


def test_where_it_was_not_written_down_the_file_says_who_may_call():
    unknown = {"web": Pin(replace(release(WEB), calls=None))}
    assert retain(system(service("web")), system(WEB, API), unknown).retained == ("api",)


def test_who_calls_goes_before_whom_it_calls():
    there = system(service("web"), API, DB, retained=("api", "db"))
    assert dispensable(there, pins(WEB, API, DB), {}, NONE) == ()
    assert dispensable(there, pins(service("web"), API, DB), {}, NONE) == ("api",)
    assert dispensable(system(service("web"), DB, retained=("db",)), pins(service("web"), DB), {}, NONE) == ("db",)


def test_a_circle_goes_together_and_not_while_anybody_calls_into_it():
    one, other, third = service("one", "other"), service("other", "one", "third"), service("third")
    there = system(service("web"), one, other, third, retained=("one", "other", "third"))
    assert dispensable(there, pins(service("web", "one"), one, other, third), {}, NONE) == ()
    assert dispensable(there, pins(service("web"), one, other, third), {}, NONE) == ("one", "other", "third")


def test_nothing_is_retained_for_itself():
    there = system(service("web"), DB, retained=("db",))
    assert dispensable(there, {"db": Pin(replace(release(DB), calls=(Call("db"),)))}, {}, NONE) == ("db",)


def test_an_instance_that_is_there_may_call_until_it_is_gone():
    there = system(service("web"), DB, retained=("db",))
    recipe = release(service("web", "db"))
    old = Instance("web-r1-1", recipe, 1, 1, Address("10.0.0.1", 8080), (), (), Stage.DRAIN, 0.0)
    workload = Workload("web", recipe.runtime, (old,), (), (), ())
    assert dispensable(there, pins(service("web"), DB), {"web": workload}, NONE) == ()
    assert needs(there, pins(service("web"), DB), {"web": workload}, "db") == "web release 1 may call it"
    assert dispensable(there, pins(service("web"), DB), {"web": replace(workload, instances=())}, NONE) == ("db",)


SHOP, STORE = service("shop", routes=(Route("/"), Route("/old"))), service("store", routes=(Route("/"), Route("/new")))


def test_who_answers_at_a_route_stays_until_the_one_that_takes_it_over_has_served():
    before = system(SHOP)
    kept = retain(system(STORE), before, pins(SHOP))
    assert kept.retained == ("shop",)
    assert [route.path for route in kept.services["shop"].routes] == ["/"]
    there = pins(SHOP) | {"store": Pin(target=release(STORE))}
    assert dispensable(kept, there, {}, frozenset({"store"})) == ()
    assert needs(kept, there, {}, "shop") == "store, which takes over /, does not serve yet"
    assert dispensable(kept, pins(SHOP, STORE), {}, NONE) == ("shop",)


def test_nor_has_one_served_whose_first_release_was_given_up():
    kept = retain(system(STORE), system(SHOP, STORE, retained=("shop",)), pins(SHOP, STORE), {"store": 1})
    assert kept.retained == ("shop",)
    assert dispensable(kept, pins(SHOP, STORE), {}, never_served(pins(SHOP, STORE), {"store": 1})) == ()
    assert never_served(pins(SHOP, STORE), {"store": 4}) == NONE, "another one serves since"


def test_a_route_that_goes_to_one_that_serves_already_moves_at_once():
    before = system(SHOP, service("store"))
    assert retain(system(STORE), before, pins(SHOP, service("store"))).retained == ()


def test_a_route_for_another_host_is_another_door():
    other = service("store", routes=(Route("/", ("b.example", "a.example")),))
    assert retain(system(other), system(SHOP), pins(SHOP)).retained == ()
    same = service("shop", routes=(Route("/", ("a.example", "b.example")),))
    assert retain(system(other), system(same), pins(same)).retained == ("shop",)
