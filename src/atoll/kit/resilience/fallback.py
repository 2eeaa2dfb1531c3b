"""The fallback: an answer when there is none, if possible the last good one."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any

from atoll.kit import clock, events
from atoll.kit.faults import InvalidPolicy
from atoll.kit.forks import renew_in_child
from atoll.kit.policy import Fallback
from atoll.kit.verdict import Unwelcome
from atoll.kit.weave import Inner, Site, State, block

_WOVEN = """\
try:
{inner}
except Exception as error:
    if not {fallback}.covers(error): raise
    result = {fallback}.answer(error, f, args, kwargs)
{keep}"""

_KEEP = """\
else:
    {fallback}.keep(result, f, args, kwargs)
"""

# What a program does wrong, no answer should hide.
_MISTAKES = (TypeError, AttributeError, NameError, AssertionError, NotImplementedError, SyntaxError)


class LastResort:
    """
    Answers in the dependency's place.

    Args:
        policy: the policy's name, for events.
        settings: see `Fallback`.

    """

    kind = "fallback"
    concurrent = False

    def __init__(self, policy: str, settings: Fallback) -> None:
        self._policy = policy
        self._settings = settings
        self._lock = Lock()
        self._good: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self.served = 0
        self.stale = 0
        renew_in_child(self)

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        fallback = site.bind("fallback", self)
        keep = _KEEP.format(fallback=fallback) if self._settings.stale else ""
        woven = _WOVEN.format(fallback=fallback, inner=block(inner()), keep=keep)
        call = self._settings.call
        if inspect.iscoroutinefunction(call):
            if not site.asynchronous:
                raise InvalidPolicy(
                    f"{self._policy}: the fallback is an async function, so a sync function cannot use it",
                    policy=self._policy,
                )
            site.names["isawaitable"] = inspect.isawaitable
            woven += "if isawaitable(result): result = await result\n"
        return woven

    def state(self) -> State:
        """See `Part`."""
        return {"served": self.served, "stale": self.stale}

    def covers(self, error: Exception) -> bool:
        """Whether `error` is one to answer for."""
        if self._settings.on:
            return isinstance(error, self._settings.on)
        return isinstance(error, Unwelcome) or not isinstance(error, _MISTAKES)

    def keep(self, result: object, f: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remembers a good answer, if its arguments can be compared."""
        key = _key(f, args, kwargs)
        if key is None:
            return
        with self._lock:
            self._good[key] = (clock.now(), result)
            self._good.move_to_end(key)
            if len(self._good) > self._settings.keep:
                self._good.popitem(last=False)

    def answer(self, error: Exception, f: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The last good answer to the same question if it is fresh enough, else the fallback's."""
        self.served += 1
        key = _key(f, args, kwargs) if self._settings.stale else None
        with self._lock:
            at, kept = self._good.get(key, (None, None))
        if at is not None and clock.now() - at <= self._settings.stale:
            self.stale += 1
            events.emit(self._policy, "stale", "", clock.now() - at, error)
            return kept
        if self._settings.call is None and self._settings.stale and self._settings.value is None:
            self.served -= 1
            raise error  # nothing is kept and nothing else was offered
        events.emit(self._policy, "fallback", "", error=error)
        return self._settings.call(*args, **kwargs) if self._settings.call else self._settings.value

    def renew(self) -> None:
        """In a forked child."""
        self._lock = Lock()


def _key(f: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable | None:
    key = (f, args, tuple(sorted(kwargs.items())))
    try:
        hash(key)
    except TypeError:
        return None
    return key
