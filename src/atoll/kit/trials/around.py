"""An experiment around a function: it answers as it always did, and something else is tried beside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import copy_context
from functools import wraps
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast
from weakref import WeakSet

from atoll.kit import clock
from atoll.kit.faults import InvalidPolicy
from atoll.kit.forks import renew_in_child
from atoll.kit.trials.judging import Judge
from atoll.kit.trials.outcome import Example, Observation, Trial
from atoll.kit.trials.running import Loops, Threads
from atoll.kit.trials.tally import Place, Tally
from atoll.kit.weave import State

P = ParamSpec("P")
R = TypeVar("R")
Mode = Literal["after", "concurrent"]

_live: WeakSet[Experiment[Any]] = WeakSet()


def experiments() -> tuple[Experiment[Any], ...]:
    """Every experiment alive in this process, by name: for health pages and telemetry."""
    return tuple(sorted(_live, key=lambda each: each.name))


class Experiment(Generic[P]):
    """
    What `experiment(...)` returns: put it around the control. It lives as long as the functions it was put around.

    Args:
        judge: what is asked about the outcomes.
        candidate: the other way.
        run_if: whether a call is part of the experiment.
        snapshot: copies what is changed later.
        mode: when the candidate runs.
        queue: how many candidates may wait or run at once.
        parallel: how many may run at once.

    """

    def __init__(
        self,
        judge: Judge,
        candidate: Callable[P, object],
        run_if: Callable[P, bool] | bool,
        snapshot: Callable[[Any], Any] | None,
        mode: Mode,
        queue: int,
        parallel: int,
    ) -> None:
        self.name = judge.name
        self._asynchronous = _is_async(candidate)
        self._run_if = run_if
        self._snapshot = snapshot
        self._concurrent = mode == "concurrent"
        self._tally = Tally(queue)
        runner = Loops if self._asynchronous else Threads
        self._runner: Loops | Threads = runner(judge, candidate, self._tally, parallel)
        renew_in_child(self)
        _live.add(self)

    def __call__(self, control: Callable[P, R], /) -> Callable[P, R]:
        """
        Puts the experiment around `control`, with its signature kept.

        Raises:
            InvalidPolicy: it is a generator function, or not async where the candidate is, or the other way round.

        """
        if inspect.isgeneratorfunction(control) or inspect.isasyncgenfunction(control):
            raise InvalidPolicy(
                f"experiment {self.name}: the control is a generator function: compare what it is made of"
            )
        if _is_async(control) is not self._asynchronous:
            raise InvalidPolicy(
                f"experiment {self.name}: one of control and candidate is an async function and the other is not: "
                "make both the same"
            )
        return cast("Callable[P, R]", self._async(control) if self._asynchronous else self._sync(control))

    def state(self) -> State:
        """
        What was counted: `calls`, and how they ended.

        `skipped` (`run_if` said no), `dropped` (no room, or the loop ended), `cancelled` (the control was interrupted),
        `match`, `mismatch`, `ignored`, `timeout`; `outstanding` candidates; `faults` of the experiment itself with the
        last one as `problem`; and the seconds that both sides took where they were compared.
        """
        return self._tally.state()

    @property
    def example(self) -> Example | None:
        """The last call for which the two differed, as short texts."""
        return self._tally.example

    def drain(self, timeout: float = 5.0) -> bool:
        """
        Waits until no candidate is on its way, for tests and before a program ends. False where it takes too long.

        In a coroutine: `await asyncio.to_thread(pricing.drain)`.
        """
        return self._tally.wait(timeout)

    def renew(self) -> None:
        """In a forked child: the candidates on their way are the parent's."""
        self._tally.renew()
        self._runner.renew()

    def _sync(self, control: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(control)
        def both(*args: Any, **kwargs: Any) -> Any:
            trial = self._begin(args, kwargs)
            if trial is None:
                return control(*args, **kwargs)
            began = clock.now()
            try:
                value = control(*args, **kwargs)
            except Exception as error:
                self._end(trial, None, error, began)
                raise
            except BaseException:
                self._give_up(trial, "cancelled")
                raise
            self._end(trial, value, None, began)
            return value

        return both

    def _async(self, control: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(control)
        async def both(*args: Any, **kwargs: Any) -> Any:
            trial = self._begin(args, kwargs)
            if trial is None:
                return await control(*args, **kwargs)
            began = clock.now()
            try:
                value = await control(*args, **kwargs)
            except Exception as error:
                self._end(trial, None, error, began)
                raise
            except BaseException:
                self._give_up(trial, "cancelled")
                raise
            self._end(trial, value, None, began)
            return value

        return both

    # Nothing below may raise, or wait: the caller is in it.

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trial | None:
        place: Place = "run_if"
        entered = False
        try:
            wanted = self._run_if(*args, **kwargs) if callable(self._run_if) else self._run_if
            if not wanted:
                self._tally.skip()
                return None
            entered = self._tally.enter()
            if not entered:
                self._runner.sweep()
                return None
            if self._snapshot is not None:
                place = "snapshot"
                args, kwargs = self._snapshot((args, kwargs))
            place = "start"
            trial = Trial(args, kwargs, copy_context())
            if self._concurrent:
                trial.job = self._runner.start(trial)
                trial.started = True
        except Exception as error:  # noqa: BLE001 - an experiment must not fail what it watches
            self._tally.fault(place, error)
            if entered:
                self._tally.leave(None)
            else:
                self._tally.skip()
            return None
        return trial

    def _end(self, trial: Trial, value: object, error: Exception | None, began: float) -> None:
        seconds = clock.now() - began
        place: Place = "snapshot"
        try:
            if self._snapshot is not None and error is None:
                value = self._snapshot(value)
            place = "start"
            seen = Observation(value, error, seconds)
            candidate = self._tally.control_done(trial, seen)
            if not self._concurrent:
                self._runner.start(trial)
            elif candidate is not None:
                self._runner.conclude(trial, seen, candidate)
        except Exception as problem:  # noqa: BLE001 - an experiment must not fail what it watches
            self._tally.fault(place, problem)
            self._give_up(trial, None)

    def _give_up(self, trial: Trial, how: Literal["cancelled"] | None) -> None:
        if self._tally.give_up(trial, how):
            self._runner.stop(trial.job)
            trial.job = None


def _is_async(f: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(getattr(f, "__call__", f))  # noqa: B004 - an object may have an async __call__
