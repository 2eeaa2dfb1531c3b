"""The policy: all stability patterns around one dependency, in the order that is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypedDict, TypeVar, Unpack

from atoll.kit import sense
from atoll.kit.faults import InvalidPolicy
from atoll.kit.keyed import Keyed
from atoll.kit.pipeline import Pipeline
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
from atoll.kit.resilience.observe import Observer
from atoll.kit.verdict import Classify, Judge
from atoll.kit.verdict import classify as default_classify


class Changes(TypedDict, total=False):
    """What `Policy.replace` can change: the arguments of `Policy`."""

    budget: float | None
    fallback: Fallback | None
    rate: Rate | None
    bulkhead: Bulkhead | Adaptive | None
    retry: Retry | None
    hedge: Hedge | None
    breaker: Breaker | None
    timeout: float | None
    chaos: Chaos | None
    classify: Classify
    judge: Judge | None
    idempotent: bool
    observe: Observer | None


class Policy(Pipeline):
    """
    How to call one dependency.

    The order, outermost first: fallback, budget, rate, bulkhead, retry, hedge, breaker, timeout, chaos. What
    is left out costs nothing. Immutable; make one per dependency and share it.

    Args:
        name: the dependency's; it is in every error, event and metric.
        budget: seconds for the whole call; shortens the ambient deadline.
        fallback: what to answer when the call failed.
        rate: calls per time.
        bulkhead: calls in flight: a fixed `Bulkhead` or an `Adaptive` one.
        retry: further tries.
        hedge: a second request beside a late one; async and idempotent only.
        breaker: when to stop calling.
        timeout: seconds for one attempt; shortens the ambient deadline.
        chaos: trouble on purpose.
        classify: what an error says about the dependency.
        judge: what a returned value says; None where every value is well.
        idempotent: whether sending a call twice does no harm.
        observe: told of every call: `observe(name, seconds, error)`.

    Raises:
        InvalidPolicy: the settings make no sense, alone or together; every problem is listed.

    """

    def __init__(
        self,
        name: str,
        /,
        *,
        budget: float | None = None,
        fallback: Fallback | None = None,
        rate: Rate | None = None,
        bulkhead: Bulkhead | Adaptive | None = None,
        retry: Retry | None = None,
        hedge: Hedge | None = None,
        breaker: Breaker | None = None,
        timeout: float | None = None,
        chaos: Chaos | None = None,
        classify: Classify = default_classify,
        judge: Judge | None = None,
        idempotent: bool = False,
        observe: Observer | None = None,
    ) -> None:
        limits = (_limit(name, "budget", Budget, budget), _limit(name, "timeout", Timeout, timeout))
        given = (fallback, limits[0], rate, bulkhead, retry, hedge, breaker, limits[1], chaos)
        self._assemble(
            name,
            [each for each in given if each is not None],
            classify,
            judge,
            observe,
            idempotent=idempotent,
            keep=(),
        )

    def replace(self, *, name: str | None = None, fresh: bool = False, **changes: Unpack[Changes]) -> Self:
        """
        A policy that differs in `changes`. Parts whose settings stay share their state with this one.

        Args:
            name: of the new policy; a new name is a new dependency, with a state of its own.
            fresh: share nothing.
            changes: any argument of `Policy`; None takes a part out.

        """
        before = self._as_arguments()
        unknown = changes.keys() - before.keys()
        if unknown:
            raise InvalidPolicy(f"policy {self.name}: has no {', '.join(sorted(unknown))}", policy=self.name)
        same_meaning = changes.get("classify", self._classify) is self._classify
        shares = not fresh and same_meaning and name in (None, self.name)
        return self._derived(name or self.name, before | dict(changes), share=lambda _: shares)

    def keyed(self, key: Callable[..., Any], *, max: int = 1024) -> Keyed:  # noqa: A002 - the word everybody knows
        """
        This policy once per key, say per host: each has its own breaker, bulkhead and rate, all share the retry budget.

        Args:
            key: called with the arguments of a call; what it returns is the key.
            max: so many keys at once; the one that was not used for longest is forgotten.

        """
        arguments = self._as_arguments()

        def make(value: object) -> Policy:
            return self._derived(f"{self.name}[{value}]", arguments, share=lambda each: isinstance(each, Retry))

        return Keyed(key, make, max)

    def _derived(self, name: str, arguments: dict[str, Any], *, share: Callable[[Settings], bool]) -> Self:
        values: dict[str, Any] = arguments | {
            "budget": _limit(name, "budget", Budget, arguments["budget"]),
            "timeout": _limit(name, "timeout", Timeout, arguments["timeout"]),
        }
        order = ("fallback", "budget", "rate", "bulkhead", "retry", "hedge", "breaker", "timeout", "chaos")
        made = type(self).__new__(type(self))
        made._assemble(  # noqa: SLF001 - our own, just made
            name,
            [values[each] for each in order if values[each] is not None],
            values["classify"],
            values["judge"],
            values["observe"],
            idempotent=values["idempotent"],
            keep=[(each, part) for each, part in self._pairs if share(each)],
        )
        return made

    def _as_arguments(self) -> dict[str, Any]:
        found = {_ARGUMENT[type(each)]: each for each in self.settings}
        arguments: dict[str, Any] = {each: found.get(each) for each in _ARGUMENT.values()}
        for each in ("budget", "timeout"):
            arguments[each] = arguments[each].seconds if arguments[each] is not None else None
        return arguments | {
            "classify": self._classify,
            "judge": self._judge,
            "idempotent": self.idempotent,
            "observe": self._observe,
        }


_ARGUMENT: dict[type, str] = {each: each.__name__.lower() for each in sense.ORDER} | {Adaptive: "bulkhead"}

L = TypeVar("L", Timeout, Budget)


def _limit(name: str, argument: str, kind: type[L], seconds: float | None) -> L | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidPolicy(f"policy {name}: {argument}={seconds!r} is not a number of seconds", policy=name)
    return kind(seconds)
