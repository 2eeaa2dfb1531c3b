"""The server's side of a deadline: take the work only if it can be done in time."""

from __future__ import annotations

from atoll.kit.faults import DeadlineExceeded
from atoll.kit.latency import Latency

_ENOUGH = 20  # requests before the median means something


class Admission:
    """
    Refuses work whose caller will have gone before half of such work is usually done.

    Args:
        share: the quantile of this server's own latency that must fit; 0 refuses only what is already late.

    """

    def __init__(self, share: float = 0.5) -> None:
        self._share = share
        self._latency = Latency()
        self.refused = 0

    def check(self, left: float) -> None:
        """
        Lets work pass for which `left` seconds are enough.

        Raises:
            DeadlineExceeded: they are not.

        """
        needed = self._latency.quantile(self._share) if self._share and self._latency.count >= _ENOUGH else 0.0
        if left <= needed:
            self.refused += 1
            raise DeadlineExceeded(
                f"{left:.3f} s are left and this usually takes {needed:.3f} s", scopes=(f"caller ({left:.3g} s)",)
            )

    def record(self, seconds: float) -> None:
        """Notes how long a request took that was answered."""
        self._latency.record(seconds)
