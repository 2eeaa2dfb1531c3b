"""Trouble on purpose, inside the policy, so that its other parts can be seen to work."""

from __future__ import annotations

from random import Random

from atoll.kit import clock, events
from atoll.kit.faults import ChaosFault
from atoll.kit.policy import Chaos
from atoll.kit.weave import Inner, Site, State

_WOVEN = """\
if {chaos}.strikes():
    {wait}pause({latency})
    {chaos}.fail()
    now = clock.now()
{inner}"""


class Disturbance:
    """
    Delays and fails a share of the calls.

    Args:
        policy: the policy's name, for events.
        settings: see `Chaos`.

    """

    kind = "chaos"
    concurrent = False

    def __init__(self, policy: str, settings: Chaos) -> None:
        self._policy = policy
        self._settings = settings
        self._random = Random(settings.seed)  # noqa: S311 - repeatable on purpose
        self.struck = 0

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        if self._settings.when is None:
            return inner()
        site.names["pause"] = site.runtime.sleep if site.asynchronous else _pause
        words = {"chaos": site.bind("chaos", self), "wait": site.wait, "latency": repr(float(self._settings.latency))}
        return _WOVEN.format(**words, inner=inner())

    def state(self) -> State:
        """See `Part`."""
        return {"struck": self.struck}

    def strikes(self) -> bool:
        """Whether this call is disturbed."""
        when = self._settings.when
        struck = when is not None and when() and self._random.random() < self._settings.rate
        if struck:
            self.struck += 1
            events.emit(self._policy, "chaos", "", self._settings.latency)
        return struck

    def fail(self) -> None:
        """Raises the fault; `ChaosFault` where neither a fault nor a latency was asked for."""
        if self._settings.fault is not None:
            raise self._settings.fault()
        if not self._settings.latency:
            raise ChaosFault(f"{self._policy}: failed on purpose", policy=self._policy)


def _pause(seconds: float) -> None:
    clock.pause(seconds)
