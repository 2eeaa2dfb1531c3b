"""Instances as plain processes: no isolation, no privileges needed; for development and hosts without namespaces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from atoll.drivers.host import cgroups, proc, rlimits
from atoll.drivers.host.records import Record
from atoll.drivers.host.spawn import spawn
from atoll.drivers.host.supervisor import Launch, Launched, Supervisor, process
from atoll.errors import Unavailable
from atoll.model.system import RuntimeKind
from atoll.plan.blueprint import Instance


class ProcessRuntime(Supervisor):
    """
    Runs instances as plain processes. Meets `ports.Runtime`.

    Each is the leader of its own session, in a control group where one can be written, with an empty environment but
    for what it is given. Without a control group its processes are those of its session and those with its marker in
    their environment: one that gets rid of both is lost.

    Args:
        run_dir: where records and the instances' home directories are kept; does not survive a reboot.
        log_dir: where `<instance>.log` is written.
        system: names the system on this machine, in markers and control groups.

    """

    def __init__(self, *, run_dir: Path, log_dir: Path, system: str) -> None:
        super().__init__(Processes(run_dir / "homes"), run_dir=run_dir, log_dir=log_dir, system=system)


class Processes:
    """Plain processes as places of instances. Meets `drivers.host.supervisor.Place`."""

    kind = RuntimeKind.PROCESS.value

    def __init__(self, homes: Path) -> None:
        self._homes = homes

    def make(self, instance: Instance) -> None:
        """Make its home, which is also where its temporary files go."""
        try:
            (self._homes / instance.name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Unavailable(
                f"the home of {instance.name} cannot be made: {error.strerror}",
                hint=f"make room and allow writing in {self._homes}",
            ) from error

    def launch(self, launch: Launch) -> Launched:
        """Run it."""
        app, home = launch.artifact.path, str(self._homes / launch.instance.name)
        base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
        env = base | {name: value.replace("{app}", app) for name, value in launch.env.items()}
        bounds = rlimits.bounded(launch.instance.recipe.resources, launch.group, alone=False)
        pid = spawn(
            [*bounds, *(one.replace("{app}", app) for one in launch.argv)],
            env=env | {proc.INSTANCE: launch.marker},
            log=launch.log,
            entrances=launch.group.entrances,
            directory=app,
        )
        return Launched(process(pid))

    def recover(self, _record: Record, marker: str) -> Launched | None:
        """The leader of the session that carries the marker."""
        found = (pid for pid, value in proc.marked(proc.INSTANCE).items() if value == marker)
        return next((Launched(process(pid)) for pid in found if pid in proc.session(pid)), None)

    def ended(self, _record: Record, status: int | None) -> tuple[int | None, int | None]:
        """How it ended, where it was our child; nobody knows where an earlier control plane started it."""
        if status is None:
            return None, None
        code = os.waitstatus_to_exitcode(status)
        return (code, None) if code >= 0 else (None, -code)

    def damage(self, _record: Record) -> str:
        """There is nothing to break."""
        return ""

    def clear(self, record: Record) -> None:
        """Remove its home."""
        shutil.rmtree(self._homes / record.name, ignore_errors=True)

    def names(self) -> set[str]:
        """Whose homes are there."""
        return {path.name for path in self._homes.iterdir()} if self._homes.is_dir() else set()

    def discard(self, name: str) -> None:
        """Remove a home."""
        shutil.rmtree(self._homes / name, ignore_errors=True)

    def notes(self, limits: cgroups.Tree) -> tuple[str, ...]:
        """What is weaker here than promised."""
        return rlimits.notes(limits, alone=False)
