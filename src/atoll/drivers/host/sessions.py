"""
Whether what runs here outlives the log-out of its user.

What a session started goes on. But the control groups that an ordinary user may write to are those of the user's own
systemd, which ends with the last session and ends all that is in them; unless the user lingers: loginctl(1).
"""

from __future__ import annotations

import pwd
import re
from contextlib import suppress
from pathlib import Path

LINGERING = Path("/var/lib/systemd/linger")
MEND = "loginctl enable-linger"
_MANAGER = re.compile(r"/user@(\d+)\.service(?:/|$)", re.MULTILINE)


def ending_with() -> str:
    """The user with whose last session this process ends, and all that it starts; empty where there is none."""
    with suppress(OSError):
        return user_of(Path("/proc/self/cgroup").read_text(), LINGERING)
    return ""


def user_of(groups: str, lingering: Path) -> str:
    """`ending_with` of a process whose `/proc/PID/cgroup` is *groups*; *lingering* has a file for each who lingers."""
    found = _MANAGER.search(groups)
    if found is None:
        return ""
    name = _name(int(found[1]))
    return "" if (lingering / name).exists() else name


def notes() -> tuple[str, ...]:
    """What is said about it, one sentence; nothing where all is well."""
    user = ending_with()
    return (f"all this ends when {user} logs out ({MEND})",) if user else ()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
