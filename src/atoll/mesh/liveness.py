"""Whether a proxy that runs also works: one that hangs is told from one that has much to do, and from a slow host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from atoll.mesh import admin

PERIOD = 1.0  # seconds between looks: Envoy's main thread touches its own watchdog several times in one
PATIENCE = 2.0  # seconds that a proxy has to answer: it does in a few milliseconds
LOOKS = 3
"""So many looks in a row find a proxy stuck before it is killed: who stops it for a moment has that moment."""
STOPPED = "stopped by SIGSTOP"
SILENT = "neither an answer nor a sign of work"
_STATUS = re.compile(
    rb"^State:\t(\w).*^voluntary_ctxt_switches:\t(\d+)\nnonvoluntary_ctxt_switches:\t(\d+)", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Thread:
    """The main thread of a process: its state (proc(5)) and how often it has let go of a processor."""

    state: bytes
    switches: int


def main_thread(pid: int) -> Thread | None:
    """What the kernel tells of it; None where there is no such process."""
    try:
        found = _STATUS.search(Path(f"/proc/{pid}/task/{pid}/status").read_bytes())
    except OSError:
        return None
    return Thread(found[1], int(found[2]) + int(found[3])) if found is not None else None


class Liveness:
    """
    What looks at the proxy find whose admin interface is at *socket*.

    Its threads that move bytes may go on while it hangs, so its main thread is what counts. That one may also be slow
    to answer with a large change to work in: as long as it runs, nothing is asked. One that a debugger holds is left
    alone, and one at whose socket nobody listens yet.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._pid: int | None = None
        self._thread: Thread | None = None
        self._found = ""
        self._looks = 0

    async def look(self, pid: int) -> bool:
        """Look at this process once more; says whether it was found to hang once too often."""
        if pid != self._pid:
            self._pid, self._thread, self._found, self._looks = pid, None, "", 0
        before, self._thread = self._thread, main_thread(pid)
        self._found = await self._trouble(pid, before, self._thread)
        if before != self._thread:  # it ran in between: this is the first look that finds it so
            self._looks = 0
        self._looks = self._looks + 1 if self._found else 0
        return self._looks >= LOOKS

    def stuck(self, pid: int | None) -> str:
        """How this process hangs, for a place in brackets; empty where all is well by the last look at it."""
        return self._found if pid == self._pid else ""

    async def _trouble(self, pid: int, before: Thread | None, now: Thread | None) -> str:
        if now is not None and now.state == b"T":
            return STOPPED
        if now is None or now != before or now.state in {b"R", b"t"} or await admin.answers(self._socket, PATIENCE):
            return ""
        return SILENT if main_thread(pid) == now else ""
