"""Keeps a document fresh, in a daemon thread: reads it, listens for changes, begins again when something breaks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from threading import Event, Lock, Thread, current_thread
from typing import Any, Literal

from atoll.kit import clock
from atoll.kit.flags.cache import Cache
from atoll.kit.flags.document import InvalidFlags, unchanged
from atoll.kit.flags.evaluation import Context, Evaluation, Flags
from atoll.kit.flags.source import Source
from atoll.kit.forks import renew_in_child
from atoll.kit.http import classify_http
from atoll.kit.policy import Retry, RetryBudget
from atoll.kit.resilience.retry import Retrying
from atoll.kit.verdict import RETRY, Verdict

_EVER = 2**31
_JOIN = 1.0  # seconds; a thread that still connects then ends by itself


@dataclass(frozen=True, slots=True)
class Notice:
    """
    Something that happened to the flags of a client.

    `ready`: there is a document, or it is fresh again. `changed`: another one, which differs in `keys`. `stale`: it was
    not confirmed for too long. `problem`: the source or a document failed, as `message` says.
    """

    kind: Literal["ready", "changed", "stale", "problem"]
    keys: tuple[str, ...] = ()
    message: str = ""


Listener = Callable[[Notice], None]


class Keeper:
    """
    The current flags of one source.

    Args:
        source: where the document comes from.
        cache: where the last good one is kept; None for nowhere.
        max_age: after how many seconds without confirmation the flags are stale.
        retry: how to wait between attempts; how many there are is not limited.

    """

    def __init__(self, source: Source, cache: Cache | None, max_age: float, retry: Retry) -> None:
        self.max_age = max_age
        self.flags: Flags | None = None
        self.evaluate: Callable[[str, Context | None, Any], Evaluation[Any]] = _not_ready
        self.confirmed = -inf
        self.problem = ""
        self.ready = Event()
        self.counts: dict[str, dict[str | None, int]] = _tallies()
        self.listeners: tuple[Listener, ...] = ()
        self._source = source
        self._cache = cache
        self._retrying = _endless(retry)
        self._settled = retry.cap
        self._etag = ""  # of what the source said last, which may have been refused
        self._sound = True  # it was not
        self._told_stale = False
        self._stopped = Event()
        self._lock = Lock()
        self._thread: Thread | None = None
        renew_in_child(self)

    def start(self) -> None:
        """Takes what was kept on disk and begins to follow the source."""
        self._restore()
        self._begin()

    def stop(self) -> None:
        """Ends the thread. The flags stay as they are."""
        self._stopped.set()
        self._source.stop()
        thread = self._thread
        if thread is not None and thread is not current_thread():
            thread.join(_JOIN)

    def renew(self) -> None:
        """In a forked child: the thread is the parent's, and so are the counts. The first question starts another."""
        self.counts = _tallies()
        self._lock = Lock()
        self._thread = None
        self._source.renew()
        ready, self.ready = self.ready.is_set(), Event()
        if ready:
            self.ready.set()
        stopped, self._stopped = self._stopped.is_set(), Event()
        if stopped:
            self._stopped.set()
        else:
            self.evaluate = self._first_in_child

    def tell(self, kind: Literal["ready", "changed", "stale", "problem"], *keys: str, message: str = "") -> None:
        """Tells every listener; what one raises is kept as the problem."""
        for listener in self.listeners:
            try:
                listener(Notice(kind, keys, message))
            except Exception as error:  # noqa: BLE001 - watching must not break what is watched
                self.problem = f"a listener failed: {error!r}"

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = Thread(target=self._follow, name="atoll-flags", daemon=True)
                self._thread.start()

    def _first_in_child(self, key: str, context: Context | None, default: Any) -> Evaluation[Any]:
        self.evaluate = self.flags.evaluate if self.flags is not None else _not_ready
        self._begin()
        return self.evaluate(key, context, default)

    def _restore(self) -> None:
        if self._cache is None:
            return
        try:
            kept = self._cache.load()
            if kept is not None:
                self._install(Flags.load(kept.text), kept.etag, clock.now() - kept.age)
        except (OSError, ValueError) as error:
            self._note(f"what was kept on disk is of no use: {error}")

    def _follow(self) -> None:
        tries = 0
        while not self._stopped.is_set():
            began = clock.now()
            try:
                self._refresh()
                for etag in self._source.changes():
                    self._hear(etag)
                raise ConnectionError("the stream of changes ended")  # noqa: TRY301 - as if it had broken
            except Exception as error:  # noqa: BLE001 - whatever it was, this thread goes on
                if self._stopped.is_set():
                    return
                self._note(f"{type(error).__name__}: {error}")
                tries = 0 if clock.now() - began > self._settled else tries
                delay = self._retrying.delay(error, tries)
                tries += 1
            self._wait(self._settled if delay is None else delay)

    def _hear(self, etag: str | None) -> None:
        if etag is None or etag == self._etag:
            self._confirm()
        else:
            self._refresh()
        self._warn()

    def _refresh(self) -> None:
        fetched = self._source.fetch(self._etag)
        if fetched is None:
            self._confirm()
            return
        self._etag, self._sound = fetched.etag, False
        try:
            flags = Flags.load(fetched.text, self.flags)
        except InvalidFlags as error:
            self._note(f"a document was refused: {error!s:.2000}")
            return
        self._install(flags, fetched.etag, clock.now())
        if self._cache is not None:
            try:
                self._cache.store(fetched.text, fetched.etag)
            except OSError as error:
                self._note(f"the document could not be kept on disk: {error}")

    def _install(self, flags: Flags, etag: str, confirmed: float) -> None:
        before, self.flags = self.flags, flags
        self.evaluate = flags.evaluate
        self.confirmed = confirmed
        self.problem = ""
        self._etag, self._sound = etag, True
        self.ready.set()
        if before is None:
            self.tell("ready")
        else:
            same = unchanged(before.document, flags.document)
            self.tell("changed", *sorted({*before, *flags} - same))
            self._freshen()

    def _confirm(self) -> None:
        if self._sound and self.flags is not None:
            self.confirmed = clock.now()
            self.problem = ""
            if self._cache is not None:
                self._cache.confirm()
            self._freshen()

    def _freshen(self) -> None:
        if self._told_stale:
            self._told_stale = False
            self.tell("ready")

    def _warn(self) -> None:
        if self.flags is not None and not self._told_stale and clock.now() - self.confirmed > self.max_age:
            self._told_stale = True
            self.tell("stale", message=self.problem)

    def _wait(self, seconds: float) -> None:
        """Waits, and says on the way when the flags become stale."""
        until_stale = self.confirmed + self.max_age - clock.now()
        if 0 <= until_stale < seconds:
            self._stopped.wait(until_stale)
            self._warn()
            seconds -= until_stale
        self._stopped.wait(seconds)
        self._warn()

    def _note(self, problem: str) -> None:
        self.problem = problem
        self.tell("problem", message=problem)


def _not_ready(_key: str, _context: Context | None, default: Any) -> Evaluation[Any]:
    return Evaluation(default, None, "ERROR", "PROVIDER_NOT_READY", message="no document was read yet")


def _tallies() -> dict[str, dict[str | None, int]]:
    return defaultdict(lambda: defaultdict(int))


def _endless(retry: Retry) -> Retrying:
    settings = replace(retry, retries=_EVER, patience=inf, budget=RetryBudget(floor=_EVER))
    return Retrying("flags", settings, _classify)


def _classify(error: Exception) -> Verdict:
    """Every failure is worth another try; who asks for patience gets it."""
    verdict = classify_http(error)
    return verdict if verdict.kind == "throttled" else RETRY
