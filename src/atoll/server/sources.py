"""What the sources of a system would build to now, or why they cannot be built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from atoll.errors import AtollError, Refused
from atoll.model.system import System
from atoll.ports import Builder


def digests(builder: Builder, system: System) -> Mapping[str, str]:
    """
    The digest of every service's artifact, by service; reads all sources, builds nothing.

    Raises `errors.Refused` that says of every source which cannot be used why, in the words that a build would have:
    nobody could say whether such a source has changed, and to apply it would fail.
    """
    found: dict[str, str] = {}
    unusable: dict[str, AtollError] = {}
    for name, service in system.services.items():
        try:
            found[name] = builder.digest(Path(system.directory, service.source or "."), service.run)
        except AtollError as error:
            unusable[name] = error
    if unusable:
        hints = dict.fromkeys(error.hint for error in unusable.values() if error.hint)
        raise Refused("\n".join(f"{name}: {error.message}" for name, error in unusable.items()), hint="; ".join(hints))
    return found
