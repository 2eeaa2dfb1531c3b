"""What must be true of a simulated system at every instant, and what only looks wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atoll.model.system import System
from atoll.plan.actions import Action, Remove, Stop
from atoll.plan.blueprint import Blueprint, Instance, Stage
from atoll.plan.decisions import Pin
from atoll.plan.observed import Observed
from atoll.testing.world import Broken, World

LIVE = (Stage.START, Stage.SERVE)
REACTION = 0.5
"""Seconds from a fault to the proxies having acknowledged what follows from it, when every part answers."""


def serving(world: World, blueprint: Blueprint) -> dict[str, set[str]]:
    """By service, the instances that really answer requests, and that nothing under way is about to take away."""
    proxies = world.proxies
    return {
        service: {
            i.name
            for i in workload.instances
            if i.stage is Stage.SERVE
            and proxies.routes.get(i.name) is Stage.SERVE
            and all(offer.routes.get(i.name) is Stage.SERVE for offer in proxies.sent)
            and i.name in world.beings
            and world.beings[i.name].works
        }
        for service, workload in blueprint.workloads.items()
    }


class Watch:
    """Looks at a world after every event and at a control plane around every turn. Raises `Broken`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wrong_since: dict[str, float] = {}
        self._blind_until = 0.0
        self._was_blind = False

    # --- after every event ----------------------------------------------------------------------------------------

    def instant(self, *, blind: bool) -> None:
        """No new request goes to an instance that does not work, for longer than noticing it takes."""
        world = self._world
        if blind or self._was_blind:
            self._blind_until = world.now
        self._was_blind = blind
        routed = {n for n, stage in world.proxies.routes.items() if stage is Stage.SERVE}
        wrong = {n for n in routed if n not in world.beings or not world.beings[n].works}
        self._wrong_since = {n: self._wrong_since.get(n, world.now) for n in sorted(wrong)}
        for name, since in self._wrong_since.items():
            late = world.now - max(since, self._blind_until)
            if late > REACTION + 2 * world.proxies.ack:
                self._fail(f"{name} does not work and has been routed to for {late:.3f} s")

    # --- around a turn --------------------------------------------------------------------------------------------

    def turn(
        self,
        before: Mapping[str, set[str]],
        system: System,
        pins: Mapping[str, Pin],
        target: Blueprint,
        observed: Observed,
    ) -> None:
        """A turn takes nothing away that is needed, and wants no more than was allowed once it knows everybody."""
        after = serving(self._world, target)
        for name, service in system.services.items():
            was, now = before.get(name, set()), after.get(name, set())
            if len(now) < min(len(was), service.instances):
                self._fail(f"{name}: {len(now)} serve after a turn, {len(was)} did before: lost {sorted(was - now)}")
            workload = target.workloads.get(name)
            live = [i for i in workload.instances if i.stage in LIVE] if workload is not None else []
            limit = _limit(live, service.instances, max(1, service.rollout.surge), pins.get(name, Pin()))
            known = {*observed.readiness.get(name, ()), *(i.name for i in live if i.stage is Stage.START)}
            if len(live) > limit and "runtime" in observed.answered and all(i.name in known for i in live):
                self._fail(f"{name}: {len(live)} live instances, {limit} allowed: {sorted(i.name for i in live)}")

    def actions(self, actions: Iterable[Action], target: Blueprint, observed: Observed) -> None:
        """Nothing is ended that the proxies still use, nor on the word of who did not answer."""
        instances = {i.name: i for w in target.workloads.values() for i in w.instances}
        for action in actions:
            if "runtime" not in observed.answered:
                self._fail(f"{action} although the runtime does not answer")
            match action:
                case Stop(name):
                    self._stop(name, instances.get(name))
                case Remove(name) if name in self._world.proxies.outlets:
                    self._fail(f"{name} is removed while the proxies hold its outlet")

    def _stop(self, name: str, instance: Instance | None) -> None:
        world = self._world
        being, stage = world.beings[name], world.proxies.routes.get(name)
        if being.altered or not being.live or (instance is not None and "drain time is over" in instance.reason):
            return
        if stage is Stage.SERVE:
            self._fail(f"{name} is stopped while the proxies send it requests")
        if stage is Stage.DRAIN and world.busy(name):
            self._fail(f"{name} is stopped with open requests before its drain time is over")

    def _fail(self, what: str) -> None:
        raise Broken(f"at {self._world.now:.3f}: {what}")


def _limit(live: Iterable[Instance], declared: int, surge: int, pin: Pin) -> int:
    """With an old one that serves there is the surge; without, nothing to protect and all new ones come at once."""
    wanted = pin.newest.release if pin.newest is not None else None
    others = [i for i in live if i.recipe.release != wanted]
    if any(i.stage is Stage.SERVE for i in others):
        return declared + surge
    return declared + min(declared, len(others))
