"""What an experiment is made of, and settings that make no sense."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from math import inf
from typing import Any, ParamSpec

from atoll.kit.faults import InvalidPolicy
from atoll.kit.trials.around import Experiment, Mode
from atoll.kit.trials.judging import Judge
from atoll.kit.trials.outcome import Observation, Result, same, same_errors

P = ParamSpec("P")


def experiment(
    name: str,
    *,
    candidate: Callable[P, object],
    compare: Callable[[Any, Any], bool] = same,
    compare_errors: Callable[[Any, Any], bool] = same_errors,
    ignore: Callable[[Observation, Observation], bool] | None = None,
    clean: Callable[[Any], Any] | None = None,
    run_if: Callable[P, bool] | bool = True,
    snapshot: Callable[[Any], Any] | None = None,
    timeout: float = 5.0,
    mode: Mode = "after",
    queue: int = 100,
    parallel: int = 1,
    publish: Callable[[Result], object] | None = None,
) -> Experiment[P]:
    """
    Tries another way to do something on real calls, and compares. The caller gets what it always got.

        pricing = experiment("pricing", candidate=new_price)

        @pricing
        def price(item: str) -> int: ...

    The control runs where and as it always did; what it returns or raises is the answer. The candidate runs where
    nobody waits for it, in a copy of the caller's context but not under its deadline, and its errors stay inside. It
    must change nothing: what it writes is written.

    Args:
        name: of the experiment.
        candidate: the other way; an async function where the control is one.
        compare: whether two answers are the same; `==` unless said otherwise.
        compare_errors: whether two errors are; the same type and message unless said otherwise.
        ignore: asked about two different outcomes: whether that does not matter.
        clean: makes of an answer what may be published and kept.
        run_if: whether a call is part of the experiment, asked with its arguments: a flag.
        snapshot: copies arguments and answer (`copy.deepcopy`) where they are changed later; in the caller's time.
        timeout: seconds for the candidate. An async one is cancelled; both see it as their deadline.
        mode: `after` the control, or `concurrent` with it.
        queue: how many candidates may wait or run at once; more are dropped and counted.
        parallel: how many may run at once, in threads or tasks.
        publish: told of every `Result`, in the candidate's thread or loop.

    Raises:
        InvalidPolicy: the settings make no sense; every problem is listed.

    """
    wrong = list(_problems(candidate, name, timeout, mode, {"queue": queue, "parallel": parallel}))
    if wrong:
        raise InvalidPolicy(f"experiment {name}: " + "; ".join(wrong))
    judge = Judge(name, timeout, compare, compare_errors, ignore, clean, publish)
    return Experiment(judge, candidate, run_if, snapshot, mode, queue, parallel)


def _problems(
    candidate: object, name: object, timeout: object, mode: object, sizes: dict[str, object]
) -> Iterator[str]:
    if not isinstance(name, str) or not name:
        yield "it has no name"
    if not callable(candidate) or inspect.isgeneratorfunction(candidate) or inspect.isasyncgenfunction(candidate):
        yield f"candidate={candidate!r} is not a function or an async function"
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < inf:
        yield f"timeout={timeout!r} is not a number of seconds above 0"
    if mode not in ("after", "concurrent"):
        yield f'mode={mode!r} is neither "after" nor "concurrent"'
    for each, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            yield f"{each}={size!r} is not a number from 1"
