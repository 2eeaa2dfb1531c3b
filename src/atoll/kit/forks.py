"""What a forked child must not inherit: locks somebody else holds, permits of calls that run in the parent."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """State of a running process that starts afresh in a forked child."""

    def renew(self) -> None:
        """Forgets everything that belongs to calls in flight."""


_kept: WeakSet[Renewable] = WeakSet()


def renew_in_child(state: Renewable) -> None:
    """Has `state.renew()` called in every child this process forks, as long as `state` lives."""
    _kept.add(state)


def _renew_all() -> None:
    for state in list(_kept):
        state.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_renew_all)
