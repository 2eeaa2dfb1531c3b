"""Everything the engine works with, put together by `server.build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from atoll.model.system import RuntimeKind
from atoll.plan.design import Host
from atoll.ports import Builder, Comparer, Mesh, Prober, Runtime
from atoll.store.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """
    The engine's collaborators.

    `clock` gives seconds since the epoch; `busy_ports` the TCP ports that somebody listens on at this host.
    """

    store: Store
    builder: Builder
    runtimes: Mapping[RuntimeKind, Runtime]
    mesh: Mesh
    prober: Prober
    comparer: Comparer
    host: Host
    clock: Callable[[], float]
    busy_ports: Callable[[], frozenset[int]]
