"""The bulkhead: so many calls in flight, so many waiting, everybody else is told at once."""

from __future__ import annotations

from atoll.kit.permits import Permits
from atoll.kit.policy import Bulkhead
from atoll.kit.weave import Inner, Site, State, block

_WOVEN = """\
try: {take}()
except IndexError:
    {wait}{enter}{arguments}
    now = clock.now()
try:
{inner}
finally:
    {give}(None)
    if {waiters}: {permits}.hand_over()
"""


class Compartment:
    """
    A fixed number of permits.

    Args:
        policy: the policy's name, for errors.
        settings: see `Bulkhead`.

    """

    kind = "bulkhead"
    concurrent = False

    def __init__(self, policy: str, settings: Bulkhead) -> None:
        self.permits = Permits(policy, settings.limit, settings.queue, settings.wait)

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        permits = site.bind("permits", self.permits)
        words = {
            "take": site.bind("take", self.permits.free.pop),
            "give": site.bind("give", self.permits.free.append),
            "waiters": site.bind("waiters", self.permits.waiters),
            "permits": permits,
            "wait": site.wait,
            "enter": site.bind("enter", site.runtime.enter if site.asynchronous else self.permits.enter),
            "arguments": f"({permits})" if site.asynchronous else "()",
        }
        return _WOVEN.format(**words, inner=block(inner()))

    def state(self) -> State:
        """See `Part`."""
        permits = self.permits
        return {
            "limit": permits.limit,
            "in_flight": permits.in_flight,
            "waiting": len(permits.waiters),
            "rejected": permits.rejected,
        }
