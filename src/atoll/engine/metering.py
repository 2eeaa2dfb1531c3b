"""How busy everything is: samples of counters, and the rates between the last two."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll import wire
from atoll.engine.parts import Parts
from atoll.errors import AtollError
from atoll.ports import Traffic, Usage
from atoll.unforeseen import report

FRESH = 1.0
PERIOD = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at one moment."""

    at: float
    usage: Mapping[str, Usage] = field(default_factory=dict)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)


class Meter:
    """Samples at its own slow pace, and at once when somebody looks and the last sample is old."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._old = Sample(0.0)
        self._new = Sample(0.0)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(PERIOD)

    async def sample(self) -> None:
        """Look at the counters, unless that was done a moment ago."""
        now = self._parts.clock()
        if now - self._new.at < FRESH:
            return
        usage: dict[str, Usage] = {}
        traffic: Mapping[str, Traffic] = {}
        try:
            for runtime in self._parts.runtimes.values():
                usage |= await runtime.usage()
            traffic = await self._parts.mesh.traffic()
        except (AtollError, OSError):
            pass  # a look that fails shows as missing figures; the engine reports who does not answer
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing else is to end for want of figures
            report("reading the counters failed", error)
        self._old, self._new = self._new, Sample(now, usage, traffic)

    def rates(self) -> dict[str, wire.Rates]:
        """Traffic by service between the last two samples."""
        seconds = self._new.at - self._old.at
        return {name: _rates(self._old.traffic.get(name), new, seconds) for name, new in self._new.traffic.items()}

    def loads(self) -> dict[str, wire.Load]:
        """Use by instance between the last two samples."""
        seconds = self._new.at - self._old.at
        return {name: _load(self._old.usage.get(name), new, seconds) for name, new in self._new.usage.items()}


def _rates(old: Traffic | None, new: Traffic, seconds: float) -> wire.Rates:
    requests = max(0, new.requests - old.requests) if old is not None else 0
    errors = max(0, new.errors - old.errors) if old is not None else 0
    return wire.Rates(
        rps=requests / seconds if seconds > 0 else 0.0,
        p50=new.p50,
        p99=new.p99,
        errors=errors / requests if requests else 0.0,
    )


def _load(old: Usage | None, new: Usage, seconds: float) -> wire.Load:
    share = None
    if old is not None and old.cpu is not None and new.cpu is not None and seconds > 0:
        share = max(0.0, new.cpu - old.cpu) / seconds
    return wire.Load(share, new.memory)
