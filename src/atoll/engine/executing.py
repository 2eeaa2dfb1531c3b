"""Carry out actions: each on its own, so that nothing waits for what it does not need; the next turn is the retry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from atoll.engine.parts import Parts
from atoll.errors import AtollError, Failed
from atoll.plan.actions import Action, Create, Publish, Remove, Start, Stop, key
from atoll.plan.blueprint import Blueprint
from atoll.plan.happenings import Happening
from atoll.ports import Runtime
from atoll.unforeseen import described, report
from atoll.values.doubling import doubling

HOLD = 0.5
LONGEST_HOLD = 30.0


class Executor:
    """
    Runs actions as tasks, never two with the same key at a time.

    `failed` holds the instances that could not be created or started, with the reason: the design replaces them.
    An action that failed is held back for a while, longer each time, so that a loop that turns at once cannot spin.
    """

    def __init__(self, parts: Parts, record: Callable[[Happening], None], poke: Callable[[], None]) -> None:
        self._parts = parts
        self._record = record
        self._poke = poke
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._held: dict[tuple[str, str], tuple[float, int]] = {}
        self.failed: dict[str, str] = {}

    def carry_out(self, actions: Iterable[Action], blueprint: Blueprint) -> None:
        """Begin what is not under way yet."""
        names = {i.name for w in blueprint.workloads.values() for i in w.instances} if self.failed else set()
        self.failed = {name: why for name, why in self.failed.items() if name in names}
        now = self._parts.clock()
        self._held = {about: held for about, held in self._held.items() if held[0] + LONGEST_HOLD > now}
        for action in actions:
            about = key(action)
            if about in self._tasks or self._held.get(about, (0.0, 0))[0] > now:
                continue
            self._tasks[about] = asyncio.get_running_loop().create_task(
                self._run(action, blueprint), name=" ".join(about)
            )

    async def close(self) -> None:
        """Wait for what is under way: a half-made namespace is worse than a second of patience."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, action: Action, blueprint: Blueprint) -> None:
        about = key(action)
        try:
            await self._act(action, blueprint)
        except (AtollError, OSError) as error:
            self._fail(action, _words(error))
        except Exception as error:  # noqa: BLE001 - whatever it is: it would be tried anew in every turn
            report(f"{' '.join(about)} broke off", error)
            self._fail(action, described(error))
        else:
            self._held.pop(about, None)
            if not isinstance(action, Publish):  # the proxies' answer is what there is to wait for, and it pokes
                self._poke()
        finally:
            del self._tasks[about]

    async def _act(self, action: Action, blueprint: Blueprint) -> None:
        generation = blueprint.generation
        match action:
            case Create(instance):
                await self._parts.runtimes[instance.recipe.runtime].create(instance, generation)
            case Start(instance):
                artifact = self._parts.builder.find(instance.recipe.artifact)
                if artifact is None:
                    raise Failed(
                        f"the artifact {instance.recipe.artifact[:12]} of release {instance.recipe.release} is gone",
                        hint=f"build it again: atoll deploy {instance.recipe.service}",
                    )
                await self._parts.runtimes[instance.recipe.runtime].start(instance, artifact, generation)
            case Publish():
                await self._parts.mesh.publish(blueprint)
            case Stop(name, _, grace):
                await (await self._where(name)).stop(name, grace, generation)
            case Remove(name):
                await (await self._where(name)).remove(name, generation)

    async def _where(self, name: str) -> Runtime:
        for runtime in self._parts.runtimes.values():
            if name in await runtime.observe():
                return runtime
        raise Failed(f"no runtime knows {name} any more")

    def _fail(self, action: Action, text: str) -> None:
        about = key(action)
        times = self._held.get(about, (0.0, 0))[1] + 1
        self._held[about] = (self._parts.clock() + doubling(times, HOLD, LONGEST_HOLD), times)
        kind, subject = about
        service = ""
        match action:
            case Create(instance) | Start(instance):
                service = instance.recipe.service
                self.failed[instance.name] = text
            case Stop(service=service) | Remove(service=service):
                pass
            case Publish():
                subject = "mesh"
        self._record(Happening("error", f"{kind.lower()}-failed", service, subject, text))
        if isinstance(action, Create | Start):
            self._poke()


def _words(error: AtollError | OSError) -> str:
    if isinstance(error, AtollError):
        return error.message + (f" ({error.hint})" if error.hint else "")
    return str(error)
