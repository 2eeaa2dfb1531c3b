"""Threads that do what nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from weakref import finalize

Job = Callable[[], None]
Jobs = SimpleQueue[Job | None]


class Crew:
    """
    At most `size` threads, started as work comes, that do jobs in the order they came. A job must not raise.

    They are daemons: what is left when the program ends is not done, and does not keep it from ending. They end with
    the crew.

    Args:
        name: of the threads.
        size: how many jobs may be done at once.

    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: Jobs
        self.renew()

    def put(self, job: Job) -> None:
        """
        Has `job` done.

        Raises:
            RuntimeError: no thread can be started, because the program ends or has too many.

        """
        with self._lock:
            if self._threads < self._size:
                Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True).start()
                self._threads += 1
        self._jobs.put(job)

    def renew(self) -> None:
        """In a forked child: the threads are the parent's, and so are their jobs."""
        self._lock = Lock()
        self._threads = 0
        self._jobs = SimpleQueue()
        finalize(self, self._jobs.put, None).atexit = False


def _work(jobs: Jobs) -> None:
    while (job := jobs.get()) is not None:
        with suppress(KeyboardInterrupt):  # nobody's hand reaches a thread: some code raised it
            job()
        del job  # it holds what was called while this thread waits for the next one
    jobs.put(None)  # for the other threads
