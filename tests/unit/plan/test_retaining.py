"""What the file has no more, and who may still call it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.system import Call, Gateway, Route, Service, System
from atoll.plan.blueprint import Address, Instance, Stage, Workload
from atoll.plan.decisions import Pin
from atoll.plan.recipes import recipe
from atoll.plan.retaining import callers, dispensable, retain


def service(name, *calls, **more):
    return Service(name, source=name, calls=tuple(map(Call, calls)), **more)


def system(*services, retained=()):
    return System("shop", Gateway(), {one.name: one for one in services}, "", retained=retained)


def release(one, number=1):
    made = recipe(system(one), one, artifact="a" * 64, argv=("run",))
    return replace(made, release=number)


def pins(*services):
    return {one.name: Pin(release(one)) for one in services}


WEB, API, DB = service("web", "api"), service("api", "db", routes=(Route("/api"),)), service("db")
BEFORE = system(WEB, API, DB)


def test_what_something_may_call_stays_without_its_routes():
    wanted = system(service("web"))
    kept = retain(wanted, BEFORE, pins(WEB, API, DB))
    assert kept.retained == ("api", "db")
    assert [*kept.services] == ["web", "api", "db"]
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
    assert dispensable(there, pins(WEB, API, DB), {}) == ()
    assert dispensable(there, pins(service("web"), API, DB), {}) == ("api",)
    assert dispensable(system(service("web"), DB, retained=("db",)), pins(service("web"), DB), {}) == ("db",)


def test_a_circle_goes_together_and_not_while_anybody_calls_into_it():
    one, other, third = service("one", "other"), service("other", "one", "third"), service("third")
    there = system(service("web"), one, other, third, retained=("one", "other", "third"))
    assert dispensable(there, pins(service("web", "one"), one, other, third), {}) == ()
    assert dispensable(there, pins(service("web"), one, other, third), {}) == ("one", "other", "third")


def test_nothing_is_retained_for_itself():
    there = system(service("web"), DB, retained=("db",))
    assert dispensable(there, {"db": Pin(replace(release(DB), calls=(Call("db"),)))}, {}) == ("db",)


def test_an_instance_that_is_there_may_call_until_it_is_gone():
    there = system(service("web"), DB, retained=("db",))
    recipe = release(service("web", "db"))
    old = Instance("web-r1-1", recipe, 1, 1, Address("10.0.0.1", 8080), (), (), Stage.DRAIN, 0.0)
    workload = Workload("web", recipe.runtime, (old,), (), (), ())
    assert dispensable(there, pins(service("web"), DB), {"web": workload}) == ()
    assert callers(there, pins(service("web"), DB), {"web": workload}, "db") == ("web release 1",)
    assert dispensable(there, pins(service("web"), DB), {"web": replace(workload, instances=())}) == ("db",)
