"""The native client: flags evaluated in this process, by questions that never wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from weakref import finalize

from atoll.kit import clock
from atoll.kit.flags.cache import Cache
from atoll.kit.flags.evaluation import Context, Evaluation, Flags
from atoll.kit.flags.keeper import Keeper, Listener
from atoll.kit.flags.seen import RELEASING, see
from atoll.kit.flags.source import FileSource, HttpSource, Source
from atoll.kit.policy import Retry

T = TypeVar("T")

_Float = float  # in the class that word is a method
Kind = Literal["boolean", "string", "integer", "float", "object"]

RECONNECT = Retry(base=0.1, cap=2.0)

_QUIET = 30.0  # seconds of silence after which a stream counts as lost
_LOOK = 0.25  # seconds between two looks at a file
_TYPES: dict[Kind, tuple[type, ...]] = {
    "boolean": (bool,),
    "string": (str,),
    "integer": (int,),
    "float": (float, int),
    "object": (dict, list),
}
_KINDS: dict[type, Kind] = {
    bool: "boolean",
    str: "string",
    int: "integer",
    float: "float",
    dict: "object",
    list: "object",
}


class FlagClient:
    """
    The flags of one source, kept fresh by a daemon thread and evaluated here.

    Every question is answered at once from memory, from any thread or coroutine, also while the source is down.
    Keep one client per process; close it, or let it go.

    Args:
        source: `http://`, `https://` or `unix:///` with the two endpoints of `atoll.kit.flags.source`, or a file.
        cache_dir: where the last good document is kept, to start from when the source is down.
        max_age: seconds; details say STALE when the document was not confirmed for longer.
        headers: sent with every request, say for authorization.
        timeout: seconds for connecting, and for reading a document.
        retry: `base` and `cap` of the waits, with full jitter, while the source is down.

    """

    def __init__(
        self,
        source: str | Path,
        *,
        cache_dir: str | Path | None = None,
        max_age: float = 60.0,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        retry: Retry = RECONNECT,
    ) -> None:
        where: Source
        if isinstance(source, Path) or "://" not in source:
            where = FileSource(Path(source), _LOOK)
        else:
            where = HttpSource(source, headers or {}, timeout, min(_QUIET, max_age / 2))
        cache = None if cache_dir is None else Cache(Path(cache_dir), str(source))
        self._keeper = Keeper(where, cache, max_age, retry)
        self._keeper.start()
        # The thread knows the keeper, not the client, so that a client that is let go is closed; also at exit.
        self._close = finalize(self, self._keeper.stop)

    def boolean(self, key: str, default: bool, context: Context | None = None) -> bool:
        """What `context` gets of a flag; `default` where there is no such flag or value. The other kinds likewise."""
        value = self._served(key, context, default).value
        return value if isinstance(value, bool) else default

    def string(self, key: str, default: str, context: Context | None = None) -> str:
        """See `boolean`."""
        value = self._served(key, context, default).value
        return value if isinstance(value, str) else default

    def integer(self, key: str, default: int, context: Context | None = None) -> int:
        """See `boolean`."""
        value = self._served(key, context, default).value
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def float(self, key: str, default: _Float, context: Context | None = None) -> _Float:
        """See `boolean`."""
        value = self._served(key, context, default).value
        return value * 1.0 if isinstance(value, int | float) and not isinstance(value, bool) else default

    def object(
        self, key: str, default: dict[str, Any] | Sequence[Any], context: Context | None = None
    ) -> dict[str, Any] | Sequence[Any]:
        """See `boolean`. A copy, the caller's own."""
        value = self._served(key, context, default).value
        return _copy(value) if isinstance(value, dict | list) else default

    def details(
        self, key: str, default: T, context: Context | None = None, *, kind: Kind | None = None
    ) -> Evaluation[T]:
        """
        What `context` gets of a flag, and why.

        Args:
            key: the flag's.
            default: the value where there is no such flag or value.
            context: what is known of who asks.
            kind: what the value must be; by default what `default` is, and anything where that is None.

        """
        wanted = kind or _KINDS.get(type(default))
        found = self._served(key, context, default)
        if wanted is not None and found.variant is not None:
            if type(found.value) not in _TYPES[wanted]:
                message = f"{key}: the value is a {type(found.value).__name__}, not a {wanted}"
                return Evaluation(default, None, "ERROR", "TYPE_MISMATCH", found.metadata, message)
            if wanted == "float" and isinstance(found.value, int):
                found = found._replace(value=found.value * 1.0)
        return found._replace(reason="STALE") if found.error_code is None and self.stale else found

    @property
    def flags(self) -> Flags | None:
        """The current flags; None as long as no document was read."""
        return self._keeper.flags

    @property
    def age(self) -> _Float:
        """Seconds since the source said that the document is the current one; infinite without one."""
        return clock.now() - self._keeper.confirmed if self._keeper.flags is not None else inf

    @property
    def stale(self) -> bool:
        """Whether that was too long ago."""
        return clock.now() - self._keeper.confirmed > self._keeper.max_age

    @property
    def problem(self) -> str:
        """What is wrong with the source or its document, in a sentence; empty while all is well."""
        return self._keeper.problem

    def ready(self, timeout: _Float | None = None) -> bool:
        """Waits until there is a document; False if there is none after `timeout` seconds."""
        return self._keeper.ready.wait(timeout)

    def counts(self) -> dict[str, dict[str, int]]:
        """How often each variant of each flag was given out by this process; "" is the caller's own default."""
        return {
            key: {variant or "": count for variant, count in list(by_variant.items())}
            for key, by_variant in list(self._keeper.counts.items())
        }

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Has `listener` told of what happens to the flags, in the client's thread. Returns what ends that."""
        keeper = self._keeper
        keeper.listeners = (*keeper.listeners, listener)

        def unsubscribe() -> None:
            keeper.listeners = tuple(each for each in keeper.listeners if each is not listener)

        return unsubscribe

    def close(self) -> None:
        """Stops following the source. Questions are still answered, from the last document."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _served(self, key: str, context: Context | None, default: Any) -> Evaluation[Any]:
        keeper = self._keeper
        found = keeper.evaluate(key, context, default)
        if found.error_code is None:
            keeper.counts[key][found.variant] += 1  # not exact when threads collide, and never in the way
            if RELEASING in found.metadata and found.variant is not None:
                see(key, found.variant)
        return found


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value
