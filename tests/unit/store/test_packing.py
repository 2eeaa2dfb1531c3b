"""Whatever is decided comes back from the file as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atoll import wire
from atoll.kit.policy import Breaker, Bulkhead, Retry
from atoll.model.system import (
    Call,
    CallPolicy,
    Check,
    Egress,
    Gateway,
    Health,
    Resources,
    Rollout,
    Route,
    RuntimeKind,
    Service,
    Step,
    System,
)
from atoll.plan.blueprint import Address, Failure, Instance, Outlet, Recipe, Split, Stage, Workload
from atoll.store.packing import Packing
from atoll.values.protocols import Protocol

text = st.text(max_size=8)
name = st.text("abc-1", min_size=1, max_size=8)
number = st.integers(0, 2**40)
seconds = st.floats(0, 1e10)
maybe = st.none() | number
runtime = st.sampled_from(RuntimeKind)
retries = st.builds(Retry, number, seconds, seconds)
breakers = st.builds(Breaker, maybe, st.none() | seconds, number, seconds, seconds)
policies = st.builds(
    CallPolicy, seconds, st.none() | seconds, seconds, retries, st.builds(Bulkhead, number, number, seconds), breakers
)
checks = st.builds(Check, st.none() | text, seconds, seconds, number)
health = st.builds(Health, checks, st.none() | checks, seconds, st.booleans())
resources = st.builds(Resources, maybe, maybe, number)
env = st.dictionaries(text, text, max_size=2)
routes = st.lists(st.builds(Route, text, st.lists(name, max_size=2).map(tuple), policies), max_size=2).map(tuple)
calls = st.lists(st.builds(Call, name, policies), max_size=2).map(tuple)
egress = st.lists(st.builds(Egress, text, text, number, policies), max_size=2).map(tuple)
protocols = st.sampled_from(Protocol)
steps = st.lists(st.builds(Step, number, seconds), max_size=2).map(tuple)
splits = st.builds(Split, number, number, number, text, st.booleans())
words = st.lists(text, max_size=2).map(tuple)
pairs = env.map(lambda e: tuple(e.items()))

services = st.builds(
    Service,
    name,
    st.none() | text,
    st.none() | text,
    runtime,
    number,
    resources,
    health,
    protocols,
    env,
    routes,
    calls,
    egress,
    words,
    st.builds(Rollout, text, number, seconds, seconds, steps, seconds, seconds, text, text),
)
systems = st.builds(System, name, st.builds(Gateway, number, text), st.dictionaries(name, services, max_size=2), text)


def recipes(release: int) -> st.SearchStrategy[Recipe]:
    hosts = st.lists(name, max_size=3).map(tuple)
    return st.builds(
        Recipe, name, st.just(release), text, words, pairs, runtime, resources, health, seconds, seconds, hosts
    )


addresses = st.builds(Address, text, number)
outlets = st.lists(st.builds(Outlet, addresses, st.none() | name, st.none() | text), max_size=2).map(tuple)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    of = {release: draw(recipes(release)) for release in (1, 2)}
    instances = st.builds(
        Instance,
        name,
        st.sampled_from([1, 2]).map(of.__getitem__),
        number,
        number,
        addresses,
        outlets,
        pairs,
        st.sampled_from(Stage),
        seconds,
        text,
        number,
        seconds,
        seconds,
    )
    failures = st.lists(st.builds(Failure, number, number, text), max_size=2).map(tuple)
    return Workload(
        draw(name),
        draw(runtime),
        draw(st.lists(instances, max_size=3).map(tuple)),
        draw(routes),
        draw(calls),
        draw(egress),
        draw(st.none() | checks),
        draw(protocols),
        draw(number),
        draw(failures),
        split=draw(st.none() | splits),
        flags=draw(st.booleans()),
        basis=object(),
    )


@given(workloads())
def test_any_workload_survives_without_its_basis(workload):
    packing = Packing()
    again = packing.workload(packing.workload_row(workload))
    assert again == workload
    assert again.basis is None


@given(recipes(3))
def test_any_recipe_survives(recipe):
    packing = Packing()
    assert packing.recipe(packing.recipe_row(recipe)) == recipe


@given(systems)
def test_any_system_survives(system):
    assert wire.decode(wire.encode(system), System) == system


def test_only_so_many_lists_of_names_are_remembered():
    packing = Packing()
    for count in range(200):
        assert packing._shared(f"a-{count} b") == (f"a-{count}", "b")
    assert len(packing._names) <= 64
