"""Parts in an order, as one function: what `Policy` is made of, and for those who need another order."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import update_wrapper
from math import inf
from typing import Any, Never, ParamSpec, Self, TypeVar, cast
from weakref import WeakSet

from atoll.kit import sense
from atoll.kit.attempts import Attempts, Terms
from atoll.kit.explain import explain
from atoll.kit.faults import InvalidPolicy, PolicyWarning
from atoll.kit.generate import Generated, Guard, Shape, generate
from atoll.kit.policy import (
    Adaptive,
    Breaker,
    Budget,
    Bulkhead,
    Chaos,
    Fallback,
    Hedge,
    Rate,
    Retry,
    Settings,
    Timeout,
)
from atoll.kit.resilience.adaptive import AdaptiveLimiter
from atoll.kit.resilience.breaker import CircuitBreaker
from atoll.kit.resilience.bulkhead import Compartment
from atoll.kit.resilience.chaos import Disturbance
from atoll.kit.resilience.fallback import LastResort
from atoll.kit.resilience.hedge import Hedging
from atoll.kit.resilience.observe import Observer, Watch
from atoll.kit.resilience.rate import RateLimiter
from atoll.kit.resilience.retry import Retrying
from atoll.kit.resilience.timeout import TimeLimit
from atoll.kit.signature import ANYTHING, Signature, mirror
from atoll.kit.streams import async_stream, sync_stream
from atoll.kit.verdict import Classify, Judge, with_results
from atoll.kit.verdict import classify as default_classify
from atoll.kit.weave import Part, State

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NOT_IN_A_BLOCK = frozenset({"fallback", "retry", "hedge"})  # a block cannot be run again or answered for

_live: WeakSet[Pipeline] = WeakSet()


def policies() -> tuple[Pipeline, ...]:
    """Every policy and pipeline alive in this process, by name: for health pages and telemetry."""
    return tuple(sorted(_live, key=lambda each: each.name))


_MAKERS: dict[type[Settings], Callable[[str, Any, Classify], Part]] = {
    Timeout: lambda name, settings, _: TimeLimit(name, settings.seconds, "timeout"),
    Budget: lambda name, settings, _: TimeLimit(name, settings.seconds, "budget"),
    Bulkhead: lambda name, settings, _: Compartment(name, settings),
    Adaptive: AdaptiveLimiter,
    Rate: lambda name, settings, _: RateLimiter(name, settings),
    Retry: Retrying,
    Hedge: lambda name, settings, _: Hedging(name, settings),
    Breaker: CircuitBreaker,
    Fallback: lambda name, settings, _: LastResort(name, settings),
    Chaos: lambda name, settings, _: Disturbance(name, settings),
}


class Pipeline:
    """
    Stability patterns around calls to one dependency, in the order given, outermost first.

    `Policy` has the order that is right nearly always; this is for the rest. Immutable; safe to share between
    threads, event loops and, by its settings, processes.

    Args:
        name: the dependency's.
        settings: the parts, outermost first.
        classify: what an error says about the dependency.
        judge: what a returned value says; None where every value is well.
        idempotent: whether sending a call twice does no harm.
        observe: told of every call: `observe(name, seconds, error)`.

    Raises:
        InvalidPolicy: the settings make no sense; every problem is listed.

    Warns:
        PolicyWarning: the order is known to work badly.

    """

    def __init__(
        self,
        name: str,
        /,
        *settings: Settings,
        classify: Classify = default_classify,
        judge: Judge | None = None,
        idempotent: bool = False,
        observe: Observer | None = None,
    ) -> None:
        self._assemble(name, settings, classify, judge, observe, idempotent=idempotent, keep=())

    def _assemble(
        self,
        name: str,
        settings: Sequence[Settings],
        classify: Classify,
        judge: Judge | None,
        observe: Observer | None,
        *,
        idempotent: bool,
        keep: Iterable[tuple[Settings, Part]],
    ) -> None:
        strangers = [each for each in settings if not isinstance(each, Settings)]
        if strangers or not isinstance(name, str) or not name:
            what = ", ".join(map(repr, strangers)) or f"name={name!r}"
            raise InvalidPolicy(f"{what}: not a setting of atoll.kit.policy, or no name", policy=str(name))
        wrong = list(sense.problems(settings, idempotent=idempotent))
        if wrong:
            raise InvalidPolicy(f"policy {name}: " + "; ".join(wrong), policy=name)
        for doubt in sense.doubts(settings):
            warnings.warn(f"policy {name}: {doubt}", PolicyWarning, stacklevel=4)
        full = with_results(classify)
        left = list(keep)
        pairs = [(each, _taken(left, each) or _MAKERS[type(each)](name, each, full)) for each in settings]
        parts = [each for _, each in pairs]
        if observe is not None:
            parts.insert(0, Watch(name, observe))
        self.__dict__.update(
            name=name,
            settings=tuple(settings),
            idempotent=idempotent,
            parts=tuple(parts),
            _pairs=tuple(pairs),
            _classify=classify,
            _judge=judge,
            _observe=observe,
        )
        _live.add(self)

    name: str
    settings: tuple[Settings, ...]
    idempotent: bool
    parts: tuple[Part, ...]
    _pairs: tuple[tuple[Settings, Part], ...]
    _classify: Classify
    _judge: Judge | None
    _observe: Observer | None

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"a policy cannot be changed, so that it can be shared: use replace({name}=...)")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"a policy cannot be changed, so that it can be shared: {name} stays")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} [{' > '.join(each.kind for each in self.parts)}]>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # one name is one dependency: a copy of what uses it still talks to the same one

    def __reduce__(self) -> tuple[Callable[..., Pipeline], tuple[object, ...]]:
        options = {
            "classify": self._classify,
            "judge": self._judge,
            "idempotent": self.idempotent,
            "observe": self._observe,
        }
        return _restore, (type(self), self.name, self.settings, options)

    # Calling.

    def __call__(self, f: Callable[P, R], /) -> Callable[P, R]:
        """
        Puts the policy around `f`: a function, an async function or a generator function, with its signature kept.

        Raises:
            InvalidPolicy: `f` is none of these, or cannot have one of the parts.

        """
        if isinstance(f, staticmethod | classmethod | property):
            raise InvalidPolicy(
                f"{self.name}: a {type(f).__name__} is not a function: put the policy below it", policy=self.name
            )
        if not callable(f):
            raise InvalidPolicy(f"{self.name}: {f!r} cannot be called", policy=self.name)
        called = f if inspect.isroutine(f) else getattr(f, "__call__", f)  # noqa: B004 - an object may have an async __call__
        if inspect.isasyncgenfunction(f) or inspect.isasyncgenfunction(called):
            admission, step = self._stream_halves(asynchronous=True)
            wrapper: Callable[..., Any] = async_stream(cast("Any", f), admission, step, self._find(Retrying))
        elif inspect.isgeneratorfunction(f) or inspect.isgeneratorfunction(called):
            admission, step = self._stream_halves(asynchronous=False)
            wrapper = sync_stream(cast("Any", f), admission, step, self._find(Retrying))
        else:
            asynchronous = inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(called)
            wrapper = self._generate("wrap", asynchronous=asynchronous, signature=mirror(f)).function(f)
        return cast("Callable[P, R]", update_wrapper(wrapper, f))

    async def call(self, f: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        `await f(*args, **kwargs)` under the policy.

        Raises:
            Unavailable: the policy gave up or refused; else whatever `f` raises, unchanged.

        """
        generated = self.__dict__["call"] = self._generate("call", asynchronous=True).function
        return cast("R", await generated(f, *args, **kwargs))

    def run(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """
        `f(*args, **kwargs)` under the policy, in this thread.

        Raises:
            Unavailable: the policy gave up or refused; else whatever `f` raises, unchanged.

        """
        generated = self.__dict__["run"] = self._generate("call", asynchronous=False).function
        return cast("R", generated(f, *args, **kwargs))

    def guard(self) -> GuardedBlock:
        """
        The policy around a block, for `with` and `async with`: all but retry, hedge and fallback.

        The block gets a `Guard`, on which it can say `fail()` or `ignore()`.
        """
        return GuardedBlock(self._block)

    def attempts(self) -> Attempts:
        """
        The tries of a block, for `for` and `async for`.

            async for attempt in policy.attempts():
                async with attempt:
                    ...

        Each try is guarded as by `guard()`; hedge and fallback do not apply.
        """
        budget = self._find(TimeLimit, "budget")
        terms = Terms(
            self.name,
            lambda: self._block("budget", asynchronous=False),
            lambda: self._block("budget", asynchronous=True),
            self._find(Retrying),
            budget.seconds if budget is not None else inf,
        )
        return Attempts(terms)

    # Looking.

    def state(self) -> dict[str, State]:
        """What each part has counted, by its kind. Pulled when asked for: calls pay nothing."""
        return {each.kind: each.state() for each in self.parts if each.kind not in ("timeout", "budget")}

    def worst_case(self) -> float:
        """The longest time a call may take, in seconds; infinite where nothing bounds it."""
        return sense.worst_case(self.settings)

    def explain(self) -> str:
        """What the policy amounts to: its order, the arithmetic of the worst case, and the generated functions."""
        return explain(self.name, self.settings, self._sources())

    @property
    def breaker(self) -> CircuitBreaker:
        """
        The breaker, to be forced open or closed and reset by hand.

        Raises:
            InvalidPolicy: there is none.

        """
        found = self._find(CircuitBreaker)
        if found is None:
            raise InvalidPolicy(f"{self.name}: has no breaker", policy=self.name)
        return found

    # Making.

    def _generate(self, shape: Shape, *, asynchronous: bool, signature: Signature = ANYTHING) -> Generated:
        if not asynchronous:
            for each in self.parts:
                if each.concurrent:
                    raise InvalidPolicy(
                        f"{self.name}: a {each.kind} needs an event loop, and this is not an async function",
                        policy=self.name,
                        hint="make the function async, or take the part out with replace()",
                    )
        return generate(self.name, self.parts, self._judge, shape, asynchronous=asynchronous, signature=signature)

    def _block(self, *without: str, asynchronous: bool) -> Any:
        key = f"_block{without}{asynchronous}"
        made = self.__dict__.get(key)
        if made is None:
            parts = [each for each in self.parts if each.kind not in _NOT_IN_A_BLOCK.union(without)]
            generated = generate(self.name, parts, None, "guard", asynchronous=asynchronous).function
            made = self.__dict__[key] = (asynccontextmanager if asynchronous else contextmanager)(generated)
        return made(Guard())

    def _stream_halves(self, *, asynchronous: bool) -> tuple[Callable[[], Any], Callable[..., Any]]:
        limits = [each for each in self.parts if each.kind == "timeout"]
        step = generate(self.name, limits, None, "call", asynchronous=asynchronous).function
        return (lambda: self._block("budget", "timeout", asynchronous=asynchronous)), step

    def _find(self, kind: type[T], name: str | None = None) -> T | None:
        return next((each for each in self.parts if isinstance(each, kind) and name in (None, each.kind)), None)

    def _sources(self) -> dict[str, str]:
        sources = {"async": self._generate("call", asynchronous=True).source}
        if not any(each.concurrent for each in self.parts):
            sources["sync"] = self._generate("call", asynchronous=False).source
        return sources


class GuardedBlock:
    """What `guard()` returns: enter it once, with `with` or `async with`."""

    __slots__ = ("_entered", "_make")

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._entered: Any = None

    def __enter__(self) -> Guard:
        self._entered = self._make(asynchronous=False)
        return cast("Guard", self._entered.__enter__())

    def __exit__(self, *outcome: object) -> bool:
        return bool(self._entered.__exit__(*outcome))

    async def __aenter__(self) -> Guard:
        self._entered = self._make(asynchronous=True)
        return cast("Guard", await self._entered.__aenter__())

    async def __aexit__(self, *outcome: object) -> bool:
        return bool(await self._entered.__aexit__(*outcome))


def _taken(left: list[tuple[Settings, Part]], settings: Settings) -> Part | None:
    for at, (each, kept) in enumerate(left):
        if each == settings:
            del left[at]
            return kept
    return None


def _restore(cls: type[Pipeline], name: str, settings: tuple[Settings, ...], options: dict[str, Any]) -> Pipeline:
    made = cls.__new__(cls)
    made._assemble(name, settings, keep=(), **options)  # noqa: SLF001 - our own, just made
    return made
