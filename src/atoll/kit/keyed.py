"""One policy per key: per host, per tenant, per shard."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar, cast

from atoll.kit.faults import InvalidPolicy
from atoll.kit.forks import renew_in_child
from atoll.kit.pipeline import Pipeline

P = ParamSpec("P")
R = TypeVar("R")


class Keyed:
    """
    Policies by key, made when first needed and forgotten when `max` others were used since.

    Args:
        key: called with a call's arguments.
        make: the policy for a key.
        max: how many are kept.

    """

    def __init__(self, key: Callable[..., Hashable], make: Callable[[object], Pipeline], max: int) -> None:  # noqa: A002 - as in Policy.keyed
        if max < 1:
            raise InvalidPolicy(f"keyed: max={max} is below 1")
        self._key = key
        self._make = make
        self._max = max
        self._lock = Lock()
        self._policies: OrderedDict[Hashable, Pipeline] = OrderedDict()
        renew_in_child(self)

    def __getitem__(self, key: Hashable) -> Pipeline:
        """The policy for `key`."""
        with self._lock:
            policy = self._policies.get(key)
            if policy is None:
                policy = self._policies[key] = self._make(key)
                if len(self._policies) > self._max:
                    self._policies.popitem(last=False)
            else:
                self._policies.move_to_end(key)
            return policy

    def __len__(self) -> int:
        return len(self._policies)

    async def call(self, f: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """`await f(...)` under the policy of its key."""
        return await self[self._key(*args, **kwargs)].call(f, *args, **kwargs)

    def run(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """`f(...)` under the policy of its key."""
        return self[self._key(*args, **kwargs)].run(f, *args, **kwargs)

    def __call__(self, f: Callable[P, R], /) -> Callable[P, R]:
        """
        Puts the policies around `f`, a function or an async function.

        Raises:
            InvalidPolicy: `f` is a generator function.

        """
        if inspect.isasyncgenfunction(f) or inspect.isgeneratorfunction(f):
            raise InvalidPolicy(f"keyed: {f.__qualname__} is a generator function: take the policy of a key instead")
        if inspect.iscoroutinefunction(f):

            @wraps(f)
            async def by_key(*args: Any, **kwargs: Any) -> Any:
                return await self[self._key(*args, **kwargs)].call(f, *args, **kwargs)

            return cast("Callable[P, R]", by_key)

        @wraps(f)
        def run_by_key(*args: P.args, **kwargs: P.kwargs) -> R:
            return self[self._key(*args, **kwargs)].run(f, *args, **kwargs)

        return run_by_key

    def renew(self) -> None:
        """In a forked child."""
        self._lock = Lock()
