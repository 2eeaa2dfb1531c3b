"""A whole system on real parts, in a directory of the test's own, and nothing of it left afterwards."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from atoll.drivers.host.proc import INSTANCE, marked
from atoll.server.settings import Settings, settings
from ports import free_port

ECHO = Path(__file__).parent / "apps" / "echo"
ATOLL = Path(sys.executable).parent / "atoll"


def until(condition, seconds=20.0, what="the condition"):
    """Wait for a condition with a deadline and return what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"{what} did not come true within {seconds} s")


@dataclass
class System:
    """A system under test."""

    directory: Path
    port: int = field(default_factory=free_port)

    @property
    def file(self) -> Path:
        return self.directory / "atoll.yaml"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def places(self) -> Settings:
        return settings(self.directory / ".atoll")

    def write(self, services: str, head: str = "") -> None:
        self.file.write_text(f"system: test\ngateway: {{listen: {self.port}}}\n{head}services:\n{services}")

    def source(self, name: str = "app", version: str = "1") -> Path:
        target = self.directory / name
        if not target.exists():
            shutil.copytree(ECHO, target)
        main = target / "main.py"
        lines = [f'VERSION = "{version}"' if x.startswith("VERSION = ") else x for x in main.read_text().split("\n")]
        main.write_text("\n".join(lines))
        return target

    def run(self, *arguments: str, ok: bool = True, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        command = [str(ATOLL), *arguments]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=timeout, check=False)
        if ok and done.returncode:
            log = self.places.logs / "control-plane.txt"
            words = log.read_text() if log.exists() else ""
            pytest.fail(
                f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{words[-3000:]}"
            )
        return done

    def json(self, *arguments: str):
        return json.loads(self.run(*arguments, "--json").stdout)

    def status(self, service: str | None = None):
        view = self.json("status")
        return view if service is None else next(s for s in view["services"] if s["name"] == service)

    def instances(self, service: str, state: str = "ready"):
        return [i for i in self.status(service)["instances"] if i["state"] == state]

    def get(self, path: str = "/", **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def control_plane(self) -> int:
        return int(self.places.lock.read_text().split()[1].rstrip(","))

    def kill_control_plane(self) -> None:
        pid = self.control_plane()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists() or _zombie(pid), what="the control plane's end")

    def internal_errors(self) -> list[str]:
        """What the journal says of errors that nobody foresaw; nothing where the state was lost or damaged."""
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(self.places.database)) as state:
            return [text for (text,) in state.execute("SELECT text FROM events WHERE kind = 'internal'")]
        return []

    def left(self) -> list[str]:
        """What of this system is still on the machine."""
        name = self.places.identity
        found = [f"process {pid}" for pid, value in marked(INSTANCE).items() if value.startswith(f"{name}/")]
        found += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if name in line]
        found += [str(p) for p in Path("/sys/fs/cgroup").glob(f"*/atoll/{name}*")]
        found += [str(self.places.run)] if self.places.run.exists() else []
        return found


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
