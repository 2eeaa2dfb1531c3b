"""What the API and the dashboard are allowed to see of the control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from atoll import wire
from atoll.operations.changes import Desk
from atoll.operations.flags import FlagDesk
from atoll.operations.snapshot import Snapshot
from atoll.store.store import Store


@dataclass(frozen=True, slots=True)
class Surface:
    """
    Handed in by `server.build`.

    `snapshot` looks at everything now; `comparison` gives the newest parallel run of a service, None where there is
    none; `follow` yields events as they are written, after those since a number; `lines` yields log lines of a service
    (None: all), and goes on when it is to follow; `end` makes the control plane end once the answer is out.
    """

    identity: wire.Identity
    desk: Desk
    flags: FlagDesk
    store: Store
    snapshot: Callable[[], Awaitable[Snapshot]]
    comparison: Callable[[str], wire.ComparisonView | None]
    follow: Callable[[int], AsyncIterator[wire.Event]]
    lines: Callable[[str | None, int, bool], AsyncIterator[wire.LogLine]]
    end: Callable[[], None]
