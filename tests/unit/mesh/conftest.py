"""Blueprints for the mesh's tests: from a system file, with two instances of each service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.mesh.translate.blueprint import Topology
from atoll.model.load import loads
from atoll.model.system import RuntimeKind, Service
from atoll.plan.blueprint import Address, Blueprint, Instance, Outlet, Recipe, Shadow, Split, Stage, Workload
from atoll.values.network import instance_address

FABRIC = "/run/fabric"


def workload(service: Service, first: int) -> Workload:
    """One instance that serves and one that drains; and where releases are compared, one that is."""
    recipe = Recipe(
        service.name, 1, "digest", ("serve",), (), service.runtime, service.resources, service.health, 10.0, 10.0
    )
    stages = (Stage.SERVE, Stage.DRAIN)
    instances = tuple(_instance(service, recipe, number, stage) for number, stage in enumerate(stages, start=first))
    made = Workload(
        service.name,
        service.runtime,
        instances,
        service.routes,
        service.calls,
        service.egress,
        service.health.ready,
        flags=bool(service.flags),
    )
    if service.compare is None:
        return made
    shadow = Shadow(2, service.compare.share, service.compare.concurrency)
    beside = _instance(service, replace(recipe, release=2), first + 100, Stage.SERVE)
    stands = replace(
        made, split=Split(1, 2, 0, check=service.health.ready), shadow=shadow, safe=service.compare.safe, guarded=(2,)
    )
    return replace(stands, instances=(*instances, beside))


def _instance(service: Service, recipe: Recipe, number: int, stage: Stage) -> Instance:
    name = f"{service.name}-r{recipe.release}-{number}"
    if service.runtime is RuntimeKind.SANDBOX:
        address = Address(instance_address(number), 8080)
        outlets: tuple[Outlet, ...] = (Outlet(Address("127.0.0.1", 80), netns=f"/run/netns/{name}"),)
    else:
        address = Address("127.0.0.1", 20000 + number)
        callees = [c.service for c in service.calls] + ["flags"] * bool(service.flags)
        outlets = tuple(
            Outlet(Address("127.0.0.1", 21000 + number + 100 * at), callee) for at, callee in enumerate(callees)
        )
    return Instance(name, recipe, number, number, address, outlets, (), stage, 0.0)


def blueprint_of(text: str) -> Blueprint:
    system = loads(text, file="atoll.yaml", directory="/srv")
    services = system.services.values()
    workloads = {s.name: workload(s, 1 + 2 * position) for position, s in enumerate(services)}
    return Blueprint(system.name, 1, system.gateway, workloads)


def namespaces_of(blueprint: Blueprint) -> frozenset[str]:
    instances = [i for w in blueprint.workloads.values() for i in w.instances]
    return frozenset(o.netns for i in instances for o in i.outlets if o.netns)


@pytest.fixture
def blueprint() -> Callable[[str], Blueprint]:
    return blueprint_of


@pytest.fixture
def namespaces() -> Callable[[Blueprint], frozenset[str]]:
    return namespaces_of


@pytest.fixture
def topology() -> Callable[..., Topology]:
    def make(*, fabric: str | None = FABRIC, extra_hop: bool = False) -> Topology:
        sockets = (f"/run/{name}.sock" for name in ("ingress", "egress", "flags", "copies", "shadow"))
        return Topology(fabric, extra_hop, *sockets)

    return make


@pytest.fixture
def golden() -> Path:
    return Path(__file__).parents[2] / "golden" / "mesh"
