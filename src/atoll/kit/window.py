"""
Counting over the last seconds, without ever resetting a counter.

The counters only grow, so threads lose nothing when a bucket turns: the sum over the window is the
difference to what was noted when its oldest bucket began. It covers between (buckets-1)/buckets and all of the span.
"""

from __future__ import annotations

from collections import deque
from threading import Lock

BUCKETS = 10


class Window:
    """
    `good`, `bad` and `slow` since the beginning, and over the last `span` seconds.

    The owner adds to the counters directly and calls `rotate` when `now >= turn`: one comparison per call.
    Without a lock an addition is one thread switch away from being lost only on interpreters without a global lock.
    """

    __slots__ = ("_lock", "_marks", "_width", "bad", "good", "slow", "turn")

    def __init__(self, span: float, now: float) -> None:
        self.good = 0
        self.bad = 0
        self.slow = 0
        self._width = span / BUCKETS
        self.turn = now + self._width
        self._marks: deque[tuple[int, int, int]] = deque([(0, 0, 0)], maxlen=BUCKETS)
        self._lock = Lock()

    def rotate(self, now: float) -> None:
        """Begins the buckets that are due at `now`."""
        with self._lock:
            steps = int((now - self.turn) / self._width) + 1
            if now < self.turn:  # another thread was quicker
                return
            mark = (self.good, self.bad, self.slow)
            self._marks.extend([mark] * min(steps, BUCKETS))
            self.turn += steps * self._width

    def recent(self, now: float) -> tuple[int, int, int]:
        """(good, bad, slow) over the window that ends at `now`."""
        if now >= self.turn:
            self.rotate(now)
        good, bad, slow = self._marks[0]
        return self.good - good, self.bad - bad, self.slow - slow

    def forget(self) -> None:
        """Empties the window; the totals stay."""
        with self._lock:
            self._marks.extend([(self.good, self.bad, self.slow)] * BUCKETS)
