"""A runtime without processes, for tests of what is above it. It passes the contract tests that the real ones pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from signal import SIGKILL, SIGTERM

from atoll.errors import Conflict, Failed
from atoll.plan.blueprint import Instance
from atoll.plan.observed import Exit, Phase, Seen
from atoll.ports import Artifact, Usage


@dataclass(slots=True)
class FakeMachine:
    """
    Where fake instances live; it outlives the `FakeRuntime`s that work on it, as a machine outlives a control plane.

    `stubborn` names instances that ignore SIGTERM.
    """

    seen: dict[str, Seen] = field(default_factory=dict)
    stubborn: set[str] = field(default_factory=set)
    newest: int = 0
    numbers: count[int] = field(default_factory=lambda: count(1000))


class FakeRuntime:
    """Meets `ports.Runtime`. Instances run until they are stopped, or until a test calls `end`."""

    def __init__(self, machine: FakeMachine, log_dir: Path) -> None:
        self._machine = machine
        self._log_dir = log_dir
        self._changed: Callable[[], None] = lambda: None
        self._timers: list[asyncio.TimerHandle] = []

    def end(self, name: str, exit_: Exit) -> None:
        """Let an instance end by itself, this way."""
        seen = self._machine.seen[name]
        if seen.phase in {Phase.RUNNING, Phase.STOPPING}:
            self._machine.seen[name] = replace(seen, phase=Phase.EXITED, exit=exit_)
            self._changed()

    async def prepare(self, changed: Callable[[], None]) -> None:
        """Adopt what is on the machine."""
        self._changed = changed

    async def create(self, instance: Instance, generation: int) -> None:
        """Note that it has a place."""
        self._fence(generation)
        created = Seen(instance.name, instance.recipe.service, Phase.CREATED, 0, 0.0)
        self._machine.seen.setdefault(instance.name, created)

    async def start(self, instance: Instance, _artifact: Artifact, generation: int) -> None:
        """Note that it runs."""
        self._fence(generation)
        seen = self._machine.seen.get(instance.name)
        if seen is None:
            raise Failed(f"{instance.name} has no place to run in yet")
        if seen.phase is Phase.CREATED:
            pid = next(self._machine.numbers)
            self._machine.seen[instance.name] = replace(seen, phase=Phase.RUNNING, pid=pid, started_at=time.time())

    async def stop(self, name: str, grace: float, generation: int) -> None:
        """Let it end: soon, or after *grace* where it is stubborn."""
        self._fence(generation)
        seen = self._machine.seen.get(name)
        if seen is None or seen.phase is not Phase.RUNNING:
            return
        self._machine.seen[name] = replace(seen, phase=Phase.STOPPING)
        stubborn = name in self._machine.stubborn
        exit_ = Exit(time.time(), signal=SIGKILL if stubborn else SIGTERM)
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(grace if stubborn else 0.0, self.end, name, exit_))

    async def remove(self, name: str, generation: int) -> None:
        """Forget it."""
        self._fence(generation)
        seen = self._machine.seen.get(name)
        if seen is not None and seen.phase in {Phase.RUNNING, Phase.STOPPING}:
            raise Conflict(f"{name} still runs", hint="stop it first")
        self._machine.seen.pop(name, None)

    async def observe(self) -> Mapping[str, Seen]:
        """What is on the machine."""
        return dict(self._machine.seen)

    async def usage(self) -> Mapping[str, Usage]:
        """The same modest use for all that run."""
        running = (name for name, seen in self._machine.seen.items() if seen.phase in {Phase.RUNNING, Phase.STOPPING})
        return {name: Usage(cpu=0.1, memory=1_000_000, pids=1) for name in running}

    def notes(self) -> tuple[str, ...]:
        """Nothing to say."""
        return ()

    def log(self, name: str) -> Path:
        """Where its output would go."""
        return self._log_dir / f"{name}.log"

    async def close(self) -> None:
        """Let go; what runs goes on."""
        for timer in self._timers:
            timer.cancel()
        self._changed = lambda: None

    def _fence(self, generation: int) -> None:
        if generation < self._machine.newest:
            raise Conflict(f"generation {generation} is older than {self._machine.newest}")
        self._machine.newest = generation
