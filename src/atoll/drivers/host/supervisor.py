"""
The life of instances, the same for every kind of runtime; what differs is a `Place`.

The truth is the processes. Records say what was begun, so that a control plane that was killed between any two steps
finds everything again: what is recorded is adopted, and what carries this system's marker without a record is ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atoll.drivers.host import cgroups, logs, proc, sessions
from atoll.drivers.host.records import Ledger, Process, Record
from atoll.drivers.host.watch import Watch
from atoll.errors import AtollError, Conflict, Failed, Unavailable
from atoll.plan.blueprint import Instance
from atoll.plan.observed import Exit, Phase, Seen
from atoll.ports import Artifact, Usage
from atoll.unforeseen import persist

AGAIN = 0.02
"""Seconds until the next look at an instance that is ending."""
LAST_WORD = 1.0
"""Seconds that the process which knows the exit code has to write it down."""
BETWEEN_CHECKS = 5.0
"""Seconds between two looks at what somebody may have changed behind our back."""
BUSY = 2.0
"""Seconds that a control group may still look busy after its last process."""
BETWEEN_TRIES = 5.0
"""Seconds until what could not be removed is tried again: a process that hangs in the kernel may end at last."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to be run: `env` and `argv` are complete but for `{app}`; `log` is a descriptor."""

    instance: Instance
    artifact: Artifact
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: int
    marker: str
    group: cgroups.Group


@dataclass(frozen=True, slots=True)
class Launched:
    """The processes of a program that runs, see `records.Record`."""

    main: Process
    keeper: Process | None = None
    watcher: Process | None = None


class Place(Protocol):
    """Where and how one kind of runtime runs a program. The methods block for milliseconds."""

    @property
    def kind(self) -> str:
        """The runtime's name, as in the file."""
        ...

    def make(self, instance: Instance) -> None:
        """Make the place of an instance. Raises `errors.AtollError`."""
        ...

    def launch(self, launch: Launch) -> Launched:
        """Run the program. Raises `errors.AtollError`; nothing runs then."""
        ...

    def recover(self, record: Record, marker: str, /) -> Launched | None:
        """What runs of a launch that was interrupted before it was recorded."""
        ...

    def ended(self, record: Record, status: int | None, /) -> tuple[int | None, int | None]:
        """The exit code or the signal; *status* is the main process's wait status where it was our child."""
        ...

    def damage(self, record: Record, /) -> str:
        """What is broken about the place, in words."""
        ...

    def clear(self, record: Record) -> None:
        """Remove the place, as far as it is there."""
        ...

    def names(self) -> set[str]:
        """The instances, known or not, of which a place is there."""
        ...

    def discard(self, name: str) -> None:
        """Remove the place of one of which only the name is known. Raises `errors.AtollError` or `OSError`."""
        ...

    def notes(self, limits: cgroups.Tree) -> tuple[str, ...]:
        """What weakens a promise here."""
        ...


class Supervisor:
    """Meets `ports.Runtime` for one kind of place."""

    def __init__(self, place: Place, *, run_dir: Path, log_dir: Path, system: str) -> None:
        self._place = place
        self._log_dir = log_dir
        self._system = system
        self._ledger = Ledger(run_dir / "instances", place.kind)
        self._making: set[str] = set()
        self._tree = cgroups.host_tree()
        self._watch = Watch()
        self._newest = 0
        self._statuses: dict[str, int] = {}
        self._last_words: dict[str, float] = {}
        self._ending: set[str] = set()
        self._checked: dict[str, tuple[float, str]] = {}
        self._killed: dict[str, int] = {}
        self._resisting: dict[str, str] = {}
        self._tidying: asyncio.Task[None] | None = None
        self._clearing = asyncio.Lock()
        self._changed: Callable[[], None] = lambda: None

    async def prepare(self, changed: Callable[[], None]) -> None:
        """
        Adopt what is recorded, end what is marked as ours and is not recorded.

        What cannot be removed keeps nobody from going on: `notes` tell of it, and it is tried again.
        """
        self._changed = changed
        try:
            self._ledger.load()
        except OSError as error:
            raise Unavailable(f"the records of the instances cannot be read: {error}") from error
        for name, record in list(self._ledger.records.items()):
            self._newest = max(self._newest, record.generation)
            if not record.made:
                await self._take_back(name)
                continue
            await asyncio.to_thread(self._adopt, record)
            self._follow(name)
        strays = await asyncio.to_thread(self._end_strays)
        until = time.monotonic() + BUSY  # for all of them together: a disk that hangs may hold many
        for name in strays:
            await self._take_back(name, until)

    async def create(self, instance: Instance, generation: int) -> None:
        """Make its place and its control group."""
        self._fence(generation, instance.name)
        async with self._clearing:  # what is being cleared may go by that name
            record = self._ledger.records.get(instance.name)
            if record is not None and record.made:
                return
            self._ledger.write(_record(self._place.kind, instance, generation))
            self._making.add(instance.name)
        try:
            await asyncio.to_thread(self._make, instance)
            self._ledger.change(instance.name, made=True)
        except Exception:
            await self._take_back(instance.name)
            raise
        finally:
            self._making.discard(instance.name)

    async def start(self, instance: Instance, artifact: Artifact, generation: int) -> None:
        """Run it in its place."""
        self._fence(generation, instance.name)
        record = self._ledger.records.get(instance.name)
        if record is None or not record.made:
            raise Failed(f"{instance.name} has no place to run in yet")
        if record.launching:
            return
        record = self._ledger.change(instance.name, launching=time.time(), generation=generation)
        try:
            launched = await asyncio.to_thread(self._launch, instance, artifact)
        except Exception as error:
            if not isinstance(error, AtollError | OSError):  # nobody foresaw it: the program may run
                await asyncio.to_thread(self._kill_launch, record)
            self._ledger.keep(instance.name, launching=0.0)
            raise
        self._ledger.keep(instance.name, main=launched.main, keeper=launched.keeper, watcher=launched.watcher)
        self._follow(instance.name)

    async def stop(self, name: str, grace: float, generation: int) -> None:
        """SIGTERM to the program and its process group; SIGKILL to everything in its place after *grace* seconds."""
        self._fence(generation, name)
        record = self._ledger.records.get(name)
        if record is None or record.main is None or record.exit is not None:
            return
        kill_at = proc.uptime() + grace
        if record.kill_at and record.kill_at <= kill_at:
            return
        record = self._ledger.keep(name, kill_at=kill_at, generation=generation)  # a full disk keeps nobody alive
        _terminate(record)
        asyncio.get_running_loop().call_later(grace, self._advance, name)

    async def remove(self, name: str, generation: int) -> None:
        """Forget an instance that has ended, or was never started."""
        self._fence(generation, name)
        record = self._ledger.records.get(name)
        if record is None:
            return
        if record.launching and record.exit is None:  # also while it is being started: its process would be nobody's
            raise Conflict(f"{name} still runs", hint="stop it first")
        await self._unmake(record)
        for memory in (self._statuses, self._last_words, self._checked, self._killed):
            memory.pop(name, None)
        await asyncio.to_thread(logs.prune, self._log_dir, record.service, self._ledger.known())

    async def observe(self) -> Mapping[str, Seen]:
        """Every instance, by name. Also the moment at which logs are rotated and limits are looked at."""
        full = [self.log(name) for name in self._ledger.records if logs.is_full(self.log(name))]
        if full:
            await asyncio.to_thread(_rotate, full)
        states = {record.name: _state(record) for record in self._ledger.records.values()}
        for name in [name for name, state in states.items() if not state or self._ledger.records[name].kill_at]:
            self._advance(name)
        # A place that is half made is neither there nor damaged: it shows when it is whole, or is taken back by us.
        whole = (r for r in self._ledger.records.values() if r.made)
        return {record.name: self._seen(record, states[record.name]) for record in whole}

    async def usage(self) -> Mapping[str, Usage]:
        """What each running instance uses: as its control group counts, else as its processes show."""
        running = [r for r in self._ledger.records.values() if r.main is not None and r.exit is None]
        return await asyncio.to_thread(self._usages, running)

    def notes(self) -> tuple[str, ...]:
        """What weakens a promise on this host, and what could not be removed so far."""
        words = "cannot be removed so far, and it is tried again"
        left = (f"what is left of {name} {words}: {why}" for name, why in self._resisting.items())
        return (*self._place.notes(self._tree), *sessions.notes(), *left)

    def log(self, name: str) -> Path:
        """Where the instance's output goes."""
        return self._log_dir / f"{name}.log"

    def listening(self, ip: str, port: int) -> tuple[tuple[str, int], ...] | None:
        """What the instance with that address listens on; None where there is none."""
        for record in self._ledger.records.values():
            if (record.ip, record.port) == (ip, port) and record.main is not None and record.exit is None:
                return proc.listening(record.main.pid, among=self._members(record))
        return None

    async def close(self) -> None:
        """Let go; all instances go on."""
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.wait({self._tidying})
        self._watch.close()
        self._changed = lambda: None

    # --- a step each --------------------------------------------------------------------------------------------

    def _fence(self, generation: int, name: str) -> None:
        if generation < self._newest:
            raise Conflict(
                f"{name}: this order belongs to generation {generation}, and generation {self._newest} is in force",
                hint="look again: another control plane or a newer change has taken over",
            )
        self._newest = generation

    def _marker(self, name: str) -> str:
        return f"{self._system}/{name}"

    def _group(self, name: str) -> cgroups.Group:
        return cgroups.group(self._tree, self._system, name)

    def _make(self, instance: Instance) -> None:
        cgroups.create(self._tree, self._system, instance.name, instance.recipe.resources)
        self._place.make(instance)

    async def _unmake(self, record: Record) -> None:
        """Take its place away, then forget it. What is slow happens beside the loop, the records belong to the loop."""
        await asyncio.to_thread(self._clear, record)
        self._ledger.forget(record.name)
        if not self._ledger.records:
            await asyncio.to_thread(cgroups.clear, self._tree, self._system)

    def _clear(self, record: Record) -> None:
        self._place.clear(record)
        _remove_group(self._group(record.name), time.monotonic() + BUSY)

    def _launch(self, instance: Instance, artifact: Artifact) -> Launched:
        recipe = instance.recipe
        try:
            log = logs.open_log(self.log(instance.name))
        except OSError as error:
            raise Unavailable(
                f"the log of {instance.name} cannot be opened: {error.strerror}",
                hint=f"make room and allow writing in {self._log_dir}",
            ) from error
        try:
            env = dict(artifact.env) | dict(recipe.env) | dict(instance.env)
            group = self._group(instance.name)
            launch = Launch(instance, artifact, recipe.argv, env, log, self._marker(instance.name), group)
            return self._place.launch(launch)
        finally:
            os.close(log)

    def _adopt(self, record: Record) -> None:
        if not record.launching or record.main is not None:
            return
        found = self._place.recover(record, self._marker(record.name))
        if found is not None:
            self._ledger.keep(record.name, main=found.main, keeper=found.keeper, watcher=found.watcher)
        else:
            self._kill_launch(record)
            self._ledger.keep(record.name, launching=0.0)

    async def _take_back(self, name: str, until: float = 0.0) -> None:
        """
        Remove what there is of half an instance, or of a stray, whose group may be busy *until* then.

        What resists is kept in mind, see `_tidy`.
        """
        record = self._ledger.records.get(name)
        try:
            if record is None:
                await asyncio.to_thread(self._clear_stray, name, until)
            else:
                await asyncio.to_thread(self._kill, record)
                await self._unmake(record)
        except (AtollError, OSError) as error:
            self._resisting[name] = str(error)
            if self._tidying is None or self._tidying.done():
                self._tidying = asyncio.create_task(persist("removing what is left of instances", self._tidy))
        else:
            self._resisting.pop(name, None)

    async def _tidy(self) -> None:
        """Try again what could not be removed until nothing is left of it."""
        while self._resisting:
            await asyncio.sleep(BETWEEN_TRIES)
            for name in list(self._resisting):
                async with self._clearing:
                    await self._try_again(name)

    async def _try_again(self, name: str) -> None:
        record = self._ledger.records.get(name)
        if record is not None and record.made:
            del self._resisting[name]  # an instance has that name again: it is removed as they all are
        elif name not in self._making:
            await self._take_back(name)

    def _clear_stray(self, name: str, until: float) -> None:
        group = self._group(name)
        group.kill()
        _remove_group(group, until)
        self._place.discard(name)

    def _end_strays(self) -> set[str]:
        """Kill what is ours and belongs to no instance; the names of those of which something has to be removed."""
        known = self._ledger.known()
        for pid, marker in proc.marked(proc.INSTANCE).items():
            system, _, name = marker.partition("/")
            if system == self._system and name not in known:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        strays = (cgroups.names(self._tree, self._system) | self._place.names()) - known
        for name in strays:  # all of them, before one is waited for
            self._group(name).kill()
        return strays

    # --- from running to ended ----------------------------------------------------------------------------------

    def _follow(self, name: str) -> None:
        """Hear of the end of its processes, and keep the promise to end it that an earlier control plane made."""
        record = self._ledger.records.get(name)
        if record is None or record.main is None or record.exit is not None:
            return
        for process in (record.main, record.keeper, record.watcher):
            if process is not None:
                self._watch.add(process, lambda status, process=process: self._heard(name, process, status))  # type: ignore[misc]  # the default binds it
        if record.kill_at:
            _terminate(record)
            asyncio.get_running_loop().call_later(max(0.0, record.kill_at - proc.uptime()), self._advance, name)

    def _heard(self, name: str, process: Process, status: int | None) -> None:
        record = self._ledger.records.get(name)
        if record is not None and process == record.main and status is not None:
            self._statuses[name] = status
        self._advance(name)

    def _advance(self, name: str) -> None:
        """Take an instance as far towards its end as it is: main process, its last word, what it left behind."""
        record = self._ledger.records.get(name)
        if record is None or record.main is None or record.exit is not None:
            return
        overdue = record.kill_at and proc.uptime() >= record.kill_at
        if _alive(record.main) and not overdue:
            return
        if not _alive(record.main) and _alive(record.watcher):
            since = self._last_words.setdefault(name, time.monotonic())
            if time.monotonic() < since + LAST_WORD:
                self._again(name)
                return
        if _alive(record.main):
            with suppress(OSError):
                os.kill(record.main.pid, signal.SIGKILL)  # alone at first, so that its end is written down
            self._again(name)
        elif self._left(record):
            if overdue or not record.kill_at:
                self._kill(record)
            self._again(name)
        else:
            self._end(record)

    def _again(self, name: str) -> None:
        """Look again soon; once, however many ask for it."""
        if name not in self._ending:
            self._ending.add(name)
            asyncio.get_running_loop().call_later(AGAIN, self._look_again, name)

    def _look_again(self, name: str) -> None:
        self._ending.discard(name)
        self._advance(name)

    def _end(self, record: Record) -> None:
        status = self._statuses.pop(record.name, None)
        if status is None and record.main is not None:
            status = self._watch.collect(record.main)
        code, number = self._place.ended(record, status)
        oom = code != 0 and not record.kill_at and self._group(record.name).oom_kills() > 0
        last = logs.last_lines(self.log(record.name))
        self._ledger.keep(record.name, exit=Exit(time.time(), code, number, oom, last))
        self._changed()

    def _left(self, record: Record) -> bool:
        if record.keeper is not None:
            return _alive(record.keeper)
        return bool(self._members(record))

    def _kill(self, record: Record) -> None:
        if record.keeper is not None and _alive(record.keeper):
            with suppress(OSError):
                os.kill(record.keeper.pid, signal.SIGKILL)
        self._group(record.name).kill()
        for pid in self._members(record):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _kill_launch(self, record: Record) -> None:
        """End what a start that broke off may have left. It is marked from the first, and in its group soon after."""
        wanted = self._marker(record.name)
        for pid, marker in proc.marked(proc.INSTANCE).items():
            if marker == wanted:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self._kill(record)

    def _members(self, record: Record) -> tuple[int, ...]:
        """Its processes: the members of its control group; without one its session, and all that carry its marker."""
        group = self._group(record.name)
        if group.directories:
            return tuple(pid for pid in group.members() if proc.start_time(pid) is not None)
        wanted = self._marker(record.name)
        found = {pid for pid, marker in proc.marked(proc.INSTANCE).items() if marker == wanted}
        if record.main is not None and proc.start_time(record.main.pid) in {None, record.main.started}:
            found |= set(proc.session(record.main.pid))
        return tuple(found)

    # --- looking ------------------------------------------------------------------------------------------------

    def _seen(self, record: Record, state: str) -> Seen:
        pid = record.main.pid if record.main is not None else 0
        phase, altered = _phase(record), ""
        if phase is Phase.RUNNING:
            altered = "it was stopped (SIGSTOP)" if state in proc.STOPPED else self._check(record)
        elif phase is Phase.CREATED:
            altered = self._check(record)
        killed = self._killed.get(record.name, 0) if phase is Phase.RUNNING else 0
        return Seen(record.name, record.service, phase, pid, record.launching, record.exit, altered, killed)

    def _check(self, record: Record) -> str:
        now = time.monotonic()
        at, word = self._checked.get(record.name, (-BETWEEN_CHECKS, ""))
        if now >= at + BETWEEN_CHECKS:
            group = self._group(record.name)
            word = group.drifted(record.resources) or self._place.damage(record)
            self._checked[record.name] = (now, word)
            self._killed[record.name] = group.oom_kills() if _alive(record.main) else 0  # else it is how it ended
        return word

    def _usages(self, running: list[Record]) -> dict[str, Usage]:
        marked: dict[str, list[int]] = {}
        if self._tree.missing():
            for pid, marker in proc.marked(proc.INSTANCE).items():
                marked.setdefault(marker, []).append(pid)
        return {record.name: self._usage(record, marked.get(self._marker(record.name), [])) for record in running}

    def _usage(self, record: Record, marked: list[int]) -> Usage:
        """As its control group counts, and what that does not count as its marked processes show."""
        counted = self._group(record.name).usage()
        if None not in (counted.cpu, counted.memory, counted.pids):
            return counted
        shown = proc.consumption(marked)
        return Usage(
            counted.cpu if counted.cpu is not None else shown.cpu,
            counted.memory if counted.memory is not None else shown.memory,
            counted.pids if counted.pids is not None else shown.threads,
        )


def process(pid: int) -> Process:
    """The process of that number as it is now; one that has ended already began at 0 and is never alive."""
    return Process(pid, proc.start_time(pid) or 0)


def _record(kind: str, instance: Instance, generation: int) -> Record:
    return Record(
        kind=kind,
        name=instance.name,
        service=instance.recipe.service,
        generation=generation,
        ip=instance.address.ip,
        port=instance.address.port,
        resources=instance.recipe.resources,
        netns=next((outlet.netns for outlet in instance.outlets if outlet.netns), ""),
        network=instance.network,
    )


def _phase(record: Record) -> Phase:
    if record.exit is not None:
        return Phase.EXITED
    if record.main is None:
        return Phase.CREATED
    return Phase.STOPPING if record.kill_at else Phase.RUNNING


def _state(record: Record) -> str:
    """The state of its main process, empty where none runs."""
    main = record.main
    return proc.state(main.pid, main.started) if main is not None and record.exit is None else ""


def _alive(process_: Process | None) -> bool:
    return process_ is not None and proc.alive(process_.pid, process_.started)


def _terminate(record: Record) -> None:
    """
    SIGTERM to the whole process group, as systemd does: a shell that started the program does not pass it on.

    SIGCONT after it, as a stopped process hears nothing.
    """
    if record.main is None or not _alive(record.main):
        return
    with suppress(OSError):
        group = os.getpgid(record.main.pid)
        for number in (signal.SIGTERM, signal.SIGCONT):
            os.killpg(group, number)


def _remove_group(group: cgroups.Group, until: float) -> None:
    """The kernel lets go of a group a moment after its last process. Raises `errors.Failed` if not *until* then."""
    while True:
        try:
            group.remove()
        except Failed:
            if time.monotonic() > until:
                raise
            time.sleep(AGAIN)
        else:
            return


def _rotate(paths: list[Path]) -> None:
    for path in paths:
        logs.rotate(path)
