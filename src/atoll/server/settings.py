"""Where a control plane keeps what: one state directory per system, one short run directory for sockets."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from atoll.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The places of one system.

    `state` lives beside the system file and holds what must survive a reboot; `run` holds sockets and namespaces,
    has a short path (a socket's may have 107 bytes) and does not survive one.
    """

    state: Path
    run: Path

    @property
    def database(self) -> Path:
        """The state file."""
        return self.state / "state.db"

    @property
    def artifacts(self) -> Path:
        """Built releases."""
        return self.state / "artifacts"

    @property
    def logs(self) -> Path:
        """What instances, proxies and the control plane wrote."""
        return self.state / "logs"

    @property
    def lock(self) -> Path:
        """Held by the one control plane; says who it is."""
        return self.state / "lock"

    @property
    def socket(self) -> Path:
        """The API."""
        return self.run / "api.sock"

    @property
    def flags(self) -> Path:
        """Where the mesh's proxy asks for feature flags."""
        return self.run / "flags.sock"

    @property
    def token(self) -> Path:
        """What a browser must show to see the dashboard."""
        return self.run / "dashboard-token"

    @property
    def identity(self) -> str:
        """Names this system on this machine, in process markers and cgroups."""
        return self.run.name


def settings(state: Path) -> Settings:
    """
    The places that belong to a state directory; the same for everybody who names the same directory.

    Raises `errors.Unavailable` where somebody else could put there what he likes: see `refuse_strangers`.
    """
    whole = state.resolve()
    name = hashlib.sha256(str(whole).encode()).hexdigest()[:10]
    places = Settings(state=whole, run=_run_root() / name)
    refuse_strangers(places.run)
    return places


def refuse_strangers(run: Path) -> None:
    """
    Raise `errors.Unavailable` where the run directory, or the one it is in, is somebody else's, or open to others.

    Its name can be worked out by anybody, and below /tmp anybody can be there first: whoever answers at the socket
    would be told everything that a file says.
    """
    for directory in (run.parent, run):
        try:
            found = directory.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            what = f"{directory} belongs to user {found.st_uid}: somebody else made it"
            raise Unavailable(what, hint="remove it, or set XDG_RUNTIME_DIR to a directory of yours")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Unavailable(f"others may write in {directory}", hint=f"chmod 700 {directory}")


def _run_root() -> Path:
    if os.geteuid() == 0 and not _mapped():
        return Path("/run/atoll")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "atoll" if runtime else Path(f"/tmp/atoll-{_real_uid()}")  # noqa: S108 - 0700, owner checked


def _mapped() -> bool:
    """Whether this is root only inside a user namespace."""
    return _real_uid() != 0


def _real_uid() -> int:
    """The user's number outside of any user namespace that Atoll made for itself."""
    uid, path = os.getuid(), Path("/proc/self/uid_map")
    for line in path.read_text().splitlines() if path.exists() else ():
        inside, outside, length = (int(field) for field in line.split())
        if inside <= uid < inside + length:
            return outside + uid - inside
    return uid
