"""Watching every call, where somebody asked for it; a policy without an observer has no line of this."""

from __future__ import annotations

from collections.abc import Callable

from atoll.kit.latency import Latency
from atoll.kit.weave import Inner, Site, State, block

Observer = Callable[[str, float, BaseException | None], None]

_WOVEN = """\
{now}{began} = now
try:
{inner}
except BaseException as error:
    {observe}({policy}, clock.now() - {began}, error)
    raise
{observe}({policy}, clock.now() - {began}, None)
"""


class Watch:
    """
    Tells `observer(policy, seconds, error)` how each call went, error None where it went well.

    Args:
        policy: the policy's name.
        observer: what to tell. It must not raise.

    """

    kind = "observe"
    concurrent = False

    def __init__(self, policy: str, observer: Observer) -> None:
        self._policy = policy
        self.observer = observer

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        words = {"began": site.local("began"), "observe": site.bind("observe", self.observer)}
        words |= {"policy": site.bind("policy", self._policy), "now": site.now()}
        return _WOVEN.format(**words, inner=block(inner()))

    def state(self) -> State:
        """See `Part`."""
        if not isinstance(self.observer, Meter):
            return {}
        latency = self.observer.latency
        return {"calls": latency.count, "seconds": latency.total, "errors": self.observer.errors} | {
            f"p{share}": latency.quantile(share / 100) for share in (50, 90, 95, 99)
        }


class Meter:
    """An observer that keeps a histogram: `Policy(..., observe=Meter())`, then `policy.state()["observe"]`."""

    def __init__(self) -> None:
        self.latency = Latency()
        self.errors = 0

    def __call__(self, _policy: str, seconds: float, error: BaseException | None) -> None:
        """Counts one call."""
        self.latency.record(seconds)
        if error is not None:
            self.errors += 1
