"""Instances in sandboxes: own network namespace with a link to the fabric, bubblewrap, seccomp, a control group."""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from atoll.drivers.host import bubblewrap, cgroups, fabric, logs, proc, rlimits, seccomp
from atoll.drivers.host.commands import PATH
from atoll.drivers.host.records import Record
from atoll.drivers.host.spawn import in_memory, spawn
from atoll.drivers.host.supervisor import Launch, Launched, Supervisor, process
from atoll.drivers.host.syscalls import make_read_only
from atoll.errors import Failed, Unavailable
from atoll.model.system import RuntimeKind
from atoll.plan.blueprint import Instance

BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108 - inside
STARTING = 10.0
"""Seconds bubblewrap has to build the sandbox: it takes milliseconds."""
_TICK = 0.001
_SIGNALS = 128


class SandboxRuntime(Supervisor):
    """
    Runs instances in sandboxes. Meets `ports.Runtime`.

    Args:
        run_dir: where namespaces and records are kept; does not survive a reboot.
        log_dir: where `<instance>.log` is written.
        system: names the system on this machine, in markers and control groups.
        fabric: the path of the fabric's network namespace, see `drivers.host.fabric`.
        rootless: whether this is root only inside a user namespace.

    """

    def __init__(self, *, run_dir: Path, log_dir: Path, system: str, fabric: str, rootless: bool) -> None:
        place = Sandboxes(run_dir, fabric, rootless=rootless)
        super().__init__(place, run_dir=run_dir, log_dir=log_dir, system=system)


class Sandboxes:
    """Sandboxes as places of instances. Meets `drivers.host.supervisor.Place`."""

    kind = RuntimeKind.SANDBOX.value

    def __init__(self, run_dir: Path, fabric_path: str, *, rootless: bool) -> None:
        self._run_dir = run_dir
        self._fabric = fabric_path
        self._rootless = rootless
        self._filter = seccomp.program(platform.machine())

    def make(self, instance: Instance) -> None:
        """Make the network namespace and its link."""
        netns = _netns(instance)
        if Path(netns).exists():  # an interrupted attempt left it, and perhaps the link
            fabric.unlink(instance.network, netns, self._fabric)
        fabric.link(instance.name, instance.network, netns, self._fabric)

    def launch(self, launch: Launch) -> Launched:
        """Run it; returns once the program itself is being executed."""
        name = launch.instance.name
        if self._rootless:
            # bubblewrap stays as the first process inside, as the user whom the file belongs to: by /proc/1/exe the
            # program could make it anybody's.
            make_read_only(bubblewrap.bwrap())
        told, tell = os.pipe()
        with ExitStack() as stack:
            stack.callback(os.close, told)
            with ExitStack() as given:
                given.callback(os.close, tell)
                command, descriptors = self._command(launch, tell, given)
                watcher = spawn(
                    command,
                    env={"PATH": PATH, proc.INSTANCE: launch.marker},
                    log=launch.log,
                    entrances=launch.group.entrances,
                    largest_file=bubblewrap.LARGEST_FILE,
                    descriptors=(tell, *descriptors),
                )
            keeper = _keeper(told)
        main = _main(keeper) if keeper else 0
        if not main:
            _give_up(keeper, watcher)
        if not main and self._code(name) is None:
            last = logs.last_lines(Path(f"/proc/self/fd/{launch.log}"), 1)
            raise Failed(f"the sandbox of {name} could not be made: {' '.join(last) or 'bubblewrap ended'}")
        return Launched(process(main), process(keeper), process(watcher))

    def recover(self, record: Record, marker: str) -> Launched | None:
        """What runs of a launch that was interrupted: bubblewrap wrote down its first process."""
        keeper = self._status(record.name, "child-pid")
        if keeper is None or proc.marker(keeper, proc.INSTANCE) != marker:
            return None
        main = _main(keeper)
        return Launched(process(main), process(keeper)) if main else None

    def ended(self, record: Record, _status: int | None) -> tuple[int | None, int | None]:
        """What bubblewrap wrote down; it adds 128 to the number of a signal."""
        code = self._code(record.name)
        if code is None:
            return None, None
        return (None, code - _SIGNALS) if code > _SIGNALS else (code, None)

    def damage(self, record: Record) -> str:
        """Whether the namespace or the link was taken away."""
        if not _mounted(record.netns):
            return f"its network namespace {record.netns} was unmounted"
        if record.main is not None and "eth0" not in _routes(record.main.pid):
            return f"its link to the fabric (v{record.network}) is gone or down"
        return ""

    def clear(self, record: Record) -> None:
        """Remove the namespace, the link and what bubblewrap wrote."""
        fabric.unlink(record.network, record.netns, self._fabric)
        self._status_file(record.name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Whose namespaces are there."""
        directory = self._run_dir / "netns"
        found = directory.iterdir() if directory.is_dir() else ()
        return {path.name for path in found if str(path) != self._fabric and path.name != fabric.NAME}

    def discard(self, name: str) -> None:
        """Remove a namespace and its link."""
        fabric.cut(str(self._run_dir / "netns" / name))

    def notes(self, limits: cgroups.Tree) -> tuple[str, ...]:
        """What is weaker here than promised."""
        notes = rlimits.notes(limits, alone=True)
        if self._filter is not None:
            return notes
        return (*notes, f"system calls are not filtered on {platform.machine()}: there is no table for it")

    def _command(self, launch: Launch, tell: int, given: ExitStack) -> tuple[list[str], list[int]]:
        box = self._box(launch)
        descriptors: list[int] = []

        def give(name: str, content: bytes) -> int:
            descriptor = in_memory(name, content)
            given.callback(os.close, descriptor)
            descriptors.append(descriptor)
            return descriptor

        files = {path: give(Path(path).name, content.encode()) for path, content in box.files.items()}
        options = list(bubblewrap.arguments(box, files))
        if self._filter is not None:
            options += ["--seccomp", str(give("seccomp", self._filter))]
        status = _open_status(self._status_file(box.name))
        given.callback(os.close, status)
        descriptors.append(status)
        options += ["--json-status-fd", str(status), "--info-fd", str(tell)]
        options_from = give("options", b"\0".join(option.encode() for option in options) + b"\0")
        bounds = rlimits.bounded(launch.instance.recipe.resources, launch.group, alone=True)
        inside = [*bubblewrap.drop(box), *bounds, *(_placed(one) for one in launch.argv)]
        network = ["nsenter", f"--net={_netns(launch.instance)}", "--"]
        return [*network, bubblewrap.bwrap(), "--args", str(options_from), "--", *inside], descriptors

    def _box(self, launch: Launch) -> bubblewrap.Box:
        instance = launch.instance
        user = bubblewrap.USER if self._rootless else bubblewrap.service_user(instance.recipe.service)
        if not self._rootless:
            os.fchown(launch.log, user, -1)  # so that it can open /dev/stdout by that name
        env = BASE | {name: _placed(value) for name, value in launch.env.items()} | {proc.INSTANCE: launch.marker}
        return bubblewrap.Box(
            name=instance.name,
            app=launch.artifact.path,
            mounts=launch.artifact.mounts,
            files=bubblewrap.etc(instance.name, instance.address.ip, instance.recipe.hosts, user),
            env=env,
            user=user,
            rootless=self._rootless,
        )

    def _status_file(self, name: str) -> Path:
        return self._run_dir / "instances" / f"{name}.status"

    def _status(self, name: str, key: str) -> int | None:
        """A number that bubblewrap wrote down: it writes one JSON object a line."""
        with suppress(OSError):
            for line in self._status_file(name).read_text().splitlines():
                with suppress(ValueError):
                    value = json.loads(line).get(key)
                    if isinstance(value, int):
                        return value
        return None

    def _code(self, name: str) -> int | None:
        return self._status(name, "exit-code")


def _netns(instance: Instance) -> str:
    path = next((outlet.netns for outlet in instance.outlets if outlet.netns), None)
    if path is None:
        raise Failed(f"{instance.name} names no network namespace, which a sandbox needs")
    return path


def _placed(text: str) -> str:
    return text.replace("{app}", bubblewrap.APP)


def _open_status(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}", hint="make room on the disk") from error


def _keeper(told: int) -> int:
    """The first process of the new pid namespace, from bubblewrap's `--info-fd`; 0 where it ended before."""
    text = b""
    while data := os.read(told, 4096):
        text += data
        with suppress(ValueError):
            return int(json.loads(text)["child-pid"])
    return 0


def _main(keeper: int) -> int:
    """The program: the keeper's first child. 0 where there never was one."""
    until = time.monotonic() + STARTING
    while proc.start_time(keeper) is not None and time.monotonic() < until:
        found = proc.children(keeper)
        if found:
            return found[0]
        time.sleep(_TICK)
    return 0


def _give_up(keeper: int, watcher: int) -> None:
    """End a sandbox in which no program is seen; one that ran and has ended already is written down by then."""
    if keeper:
        with suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(watcher, 0)


def _mounted(path: str) -> bool:
    """Whether a namespace is mounted there: it is on a file system of its own."""
    with suppress(OSError):
        return Path(path).stat().st_dev != Path(path).parent.stat().st_dev
    return False


def _routes(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/net/route").read_text()
    return "eth0"  # it has just ended: that is another matter
