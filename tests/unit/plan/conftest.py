from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from atoll.model.system import Call, Gateway, Health, Rollout, RuntimeKind, Service, System
from atoll.plan.blueprint import Blueprint, Instance, Recipe, Stage
from atoll.plan.decisions import Pin
from atoll.plan.design import Host, design
from atoll.plan.observed import Exit, MeshSeen, Observed, Phase, Readiness, Seen
from atoll.plan.recipes import recipe

ALL = frozenset({"runtime", "probes", "mesh"})


class Desk:
    """One service on paper: what is declared, pinned and seen, and the blueprint that follows. No time but `now`."""

    def __init__(self, *, instances: int = 2, runtime: RuntimeKind = RuntimeKind.SANDBOX, calls: tuple[str, ...] = ()):
        self.now = 100.0
        self.service = Service(
            "orders",
            source="orders",
            runtime=runtime,
            instances=instances,
            health=Health(startup=5.0),
            rollout=Rollout(drain=3.0, grace=2.0),
            calls=tuple(Call(c) for c in calls),
        )
        self.pin = Pin(target=self.recipe(1))
        self.blueprint = Blueprint("shop", 0, Gateway(), {})
        self.seen: dict[str, Seen] = {}
        self.ready: dict[str, Readiness] = {}
        self.accepted: dict[str, str] = {}
        self.outlets: set[str] = set()
        self.active: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.answered = ALL
        self.busy: frozenset[int] = frozenset()

    def recipe(self, release: int) -> Recipe:
        one = recipe(System("shop", Gateway(), {}, ""), self.service, artifact=f"v{release}", argv=("run",))
        return replace(one, release=release)

    @property
    def system(self) -> System:
        return System("shop", Gateway(), {"orders": self.service}, "")

    @property
    def observed(self) -> Observed:
        return Observed(
            at=self.now,
            instances={"orders": self.seen} if self.seen else {},
            readiness={"orders": self.ready} if self.ready else {},
            mesh=MeshSeen(self.blueprint.generation, self.accepted, frozenset(self.outlets), self.active),
            busy_ports=self.busy,
            failed=self.failed,
            answered=self.answered,
        )

    @property
    def instances(self) -> tuple[Instance, ...]:
        workload = self.blueprint.workloads.get("orders")
        return workload.instances if workload is not None else ()

    @property
    def stages(self) -> dict[str, Stage]:
        return {i.name: i.stage for i in self.instances}

    def design(self, *, gone: bool = False) -> Blueprint:
        system = replace(self.system, services={}) if gone else self.system
        pins = {} if gone else {"orders": self.pin}
        self.blueprint = design(system, pins, self.observed, self.blueprint, Host("/run/x"))
        return self.blueprint

    def created(self, name: str, *, altered: str = "") -> None:
        self.seen = self.seen | {name: Seen(name, "orders", Phase.CREATED, 0, 0.0, altered=altered)}

    def running(self, name: str, *, altered: str = "") -> None:
        self.seen = self.seen | {name: Seen(name, "orders", Phase.RUNNING, 7, self.now, altered=altered)}

    def ended(self, name: str, code: int = 1) -> None:
        self.seen = self.seen | {name: Seen(name, "orders", Phase.EXITED, 7, 0.0, Exit(self.now, code))}
        self.ready = {n: r for n, r in self.ready.items() if n != name}

    def word(self, name: str, *, ready: bool, live: bool = True) -> None:
        self.ready = self.ready | {name: Readiness(ready, self.now, "" if ready else "answered 503", live)}

    def serving(self) -> None:
        """Everything that is wanted runs, is ready, and is accepted."""
        self.design()
        for instance in self.instances:
            self.running(instance.name)
            self.word(instance.name, ready=True)
        self.design()
        self.accept()
        self.design()

    def accept(self) -> None:
        shown = {Stage.SERVE, Stage.DRAIN}
        self.accepted = {i.name: i.stage for i in self.instances if i.stage in shown}
        self.outlets = {i.name for i in self.instances if i.name in self.seen}


@pytest.fixture
def desk() -> Callable[..., Desk]:
    return Desk
