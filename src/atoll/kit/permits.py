"""
Permits for calls in flight, and the line of those who wait for one.

A permit is an item of a deque, whose `pop` and `append` are atomic by contract, so taking and giving one
back needs no lock. Waiters are served in the order they came, from any thread or event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Lock

from atoll.kit import clock, events
from atoll.kit.faults import BulkheadFull
from atoll.kit.forks import renew_in_child
from atoll.kit.scope import scope


class Waiter:
    """One caller in the line. `wake` tells it that the permit is there; false where its event loop is gone."""

    __slots__ = ("granted", "wake")

    def __init__(self, wake: Callable[[], bool]) -> None:
        self.wake = wake
        self.granted = False


class Permits:
    """
    `limit` permits and a line of at most `queue` waiters, each for at most `wait` seconds.

    `free` and `waiters` are public for the generated code, which takes with `free.pop()` and gives with
    `free.append(None)`, then calls `hand_over()` if there are waiters.
    """

    __slots__ = ("__weakref__", "_debt", "_lock", "_policy", "_queue", "_wait", "free", "limit", "rejected", "waiters")

    def __init__(self, policy: str, limit: int, queue: int, wait: float) -> None:
        self._policy = policy
        self._queue = queue
        self._wait = wait
        self._debt = 0  # permits to withdraw as they come back
        self._lock = Lock()
        self.limit = limit
        self.rejected = 0
        self.free: deque[None] = deque([None] * limit)
        self.waiters: deque[Waiter] = deque()
        renew_in_child(self)

    @property
    def in_flight(self) -> int:
        """How many permits are out."""
        return max(0, self.limit + self._debt - len(self.free))

    def join(self, wake: Callable[[], bool]) -> Waiter:
        """
        A place at the end of the line; already granted if a permit came back meanwhile.

        Raises:
            BulkheadFull: there is no place left.

        """
        with self._lock:
            if len(self.waiters) >= self._queue:
                raise self.refusal(f"{self.limit} calls are in flight and {len(self.waiters)} are waiting") from None
            waiter = Waiter(wake)
            self.waiters.append(waiter)
        self.hand_over()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Takes a waiter out of the line who no longer waits. A permit it was given goes to the next."""
        with self._lock:
            granted = waiter.granted
            if not granted:
                self.waiters.remove(waiter)
        if granted:
            self.give()

    def hand_over(self) -> None:
        """Gives free permits to those who wait, first come first served."""
        with self._lock:
            while self.waiters:
                try:
                    self.free.pop()
                except IndexError:
                    return
                waiter = self.waiters.popleft()
                waiter.granted = True
                if not waiter.wake():
                    self.free.append(None)

    def give(self) -> None:
        """Gives one permit back, unless the limit shrank meanwhile."""
        if self._debt:
            with self._lock:
                if self._debt:
                    self._debt -= 1
                    return
        self.free.append(None)
        if self.waiters:
            self.hand_over()

    def resize(self, limit: int) -> None:
        """Makes `limit` the number of permits; those out are withdrawn when they come back."""
        with self._lock:
            change = limit - self.limit
            self.limit = limit
            for _ in range(change):
                if self._debt:
                    self._debt -= 1
                else:
                    self.free.append(None)
            for _ in range(-change):
                try:
                    self.free.pop()
                except IndexError:
                    self._debt += 1
        if self.waiters:
            self.hand_over()

    def patience(self) -> float:
        """How many seconds a caller may stand in the line: the setting, or less if its deadline is nearer."""
        return min(self._wait, scope.get()[0] - clock.now())

    def refusal(self, why: str) -> BulkheadFull:
        """The error for a caller who gets no permit, counted and told."""
        self.rejected += 1
        events.emit(self._policy, "reject", why)
        return BulkheadFull(f"{self._policy}: {why}", policy=self._policy, retry_after=self._wait)

    def enter(self) -> None:
        """
        Waits for a permit in this thread.

        Raises:
            BulkheadFull: the line is full, or the wait was too long.

        """
        bell = Event()

        def wake() -> bool:
            bell.set()
            return True

        waiter = self.join(wake)
        patience = self.patience()
        try:
            came = bell.wait(max(0.0, patience))
        except BaseException:
            self.leave(waiter)
            raise
        if not came:
            self.leave(waiter)
            raise self.refusal(f"no permit within {patience:.3g} s") from None

    def renew(self) -> None:
        """In a forked child: nobody is in flight, nobody waits."""
        self._lock = Lock()
        self._debt = 0
        self.waiters.clear()
        self.free.clear()
        self.free.extend([None] * self.limit)
