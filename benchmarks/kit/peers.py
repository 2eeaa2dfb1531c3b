"""The peers of the benchmark: how each library says the same thing. A library that is not installed is left out."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Callable
from typing import Any

from atoll.kit import Adaptive, Breaker, Bulkhead, Hedge, Policy, Rate, Retry, experiment

Decorator = Callable[[Any], Any]
HERE = "atoll.kit"


def present(name: str) -> bool:
    """Whether a library can be imported."""
    return importlib.util.find_spec(name) is not None


def _ours() -> dict[str, Decorator]:
    return {
        "breaker": Policy("b", breaker=Breaker(consecutive=None, rate=0.5)),
        "retry": Policy("r", retry=Retry()),
        "timeout": Policy("t", timeout=5.0),
        "bulkhead": Policy("k", bulkhead=Bulkhead()),
        "rate": Policy("l", rate=Rate(1e9, burst=10**9)),
        "adaptive": Policy("a", bulkhead=Adaptive()),
        "hedge": Policy("h", hedge=Hedge(), idempotent=True),
        "pipeline": Policy("p", bulkhead=Bulkhead(), retry=Retry(), breaker=Breaker(rate=0.5), timeout=5.0),
        "sync pipeline": Policy("s", bulkhead=Bulkhead(), retry=Retry(), breaker=Breaker(rate=0.5)),
        "sync breaker": Policy("b", breaker=Breaker(consecutive=None, rate=0.5)),
        "sync retry": Policy("r", retry=Retry()),
        "sync bulkhead": Policy("k", bulkhead=Bulkhead()),
        "sync experiment": experiment("e", candidate=_nothing, queue=10**9),
    }


def _nothing() -> None:
    """The other way to do nothing."""


def _nopanic() -> dict[str, Decorator]:
    import nopanic as np  # noqa: PLC0415 - optional

    return {
        "breaker": np.circuit_breaker(),
        "retry": np.retry(3, budget=np.RetryBudget()),
        "timeout": np.timeout(5.0),
        "bulkhead": np.bulkhead(1024),
        "rate": np.rate_limit(1e9, burst=10**9),
        "hedge": np.hedge(delay=5.0),
        "pipeline": np.compose(
            np.bulkhead(1024), np.retry(3, budget=np.RetryBudget()), np.circuit_breaker(), np.timeout(5.0)
        ),
        "sync pipeline": np.compose(np.bulkhead(1024), np.retry(3, budget=np.RetryBudget()), np.circuit_breaker()),
        "sync breaker": np.circuit_breaker(),
        "sync retry": np.retry(3, budget=np.RetryBudget()),
        "sync bulkhead": np.bulkhead(1024),
    }


def _resilix() -> dict[str, Decorator]:
    from resilix import CircuitBreaker, protect  # noqa: PLC0415 - optional

    def stacked(f: Any) -> Any:
        inner = CircuitBreaker(failures=5)(protect.timeout(5.0)(f))
        return protect.bulkhead(1024)(protect.when(OSError, retry=3)(inner))

    return {
        "breaker": CircuitBreaker(failures=5),
        "retry": protect.when(OSError, retry=3),
        "timeout": protect.timeout(5.0),
        "bulkhead": protect.bulkhead(1024),
        "pipeline": stacked,
        "sync breaker": CircuitBreaker(failures=5),
        "sync retry": protect.when(OSError, retry=3),
    }


def _grit() -> dict[str, Decorator]:
    import grit  # noqa: PLC0415 - optional

    return {
        "breaker": grit.breaker(),
        "retry": grit.retry(),
        "timeout": grit.timeout(5.0),
        "bulkhead": grit.bulkhead(1024),
        "rate": grit.limiter(1e9, burst=10**9),
        "hedge": grit.hedge(5.0),
        "pipeline": grit.policy(grit.bulkhead(1024), grit.retry(), grit.breaker(), grit.timeout(5.0)),
        "sync pipeline": grit.policy(grit.bulkhead(1024), grit.retry(), grit.breaker()),
        "sync breaker": grit.breaker(),
        "sync retry": grit.retry(),
        "sync bulkhead": grit.bulkhead(1024),
    }


def _pyresilience() -> dict[str, Decorator]:
    import pyresilience as pr  # noqa: PLC0415 - optional

    retry, breaker = pr.RetryConfig(), pr.CircuitBreakerConfig()
    timeout, bulkhead = pr.TimeoutConfig(seconds=5.0), pr.BulkheadConfig(max_concurrent=1024)
    return {
        "breaker": pr.resilient(circuit_breaker=breaker),
        "retry": pr.resilient(retry=retry),
        "timeout": pr.resilient(timeout=timeout),
        "bulkhead": pr.resilient(bulkhead=bulkhead),
        "pipeline": pr.resilient(retry=retry, circuit_breaker=breaker, timeout=timeout, bulkhead=bulkhead),
        "sync pipeline": pr.resilient(retry=retry, circuit_breaker=breaker, bulkhead=bulkhead),
        "sync breaker": pr.resilient(circuit_breaker=breaker),
        "sync retry": pr.resilient(retry=retry),
        "sync bulkhead": pr.resilient(bulkhead=bulkhead),
    }


def _hyx() -> dict[str, Decorator]:
    from hyx.bulkhead import bulkhead  # noqa: PLC0415 - optional
    from hyx.circuitbreaker import consecutive_breaker  # noqa: PLC0415 - optional
    from hyx.retry import retry  # noqa: PLC0415 - optional
    from hyx.timeout import timeout  # noqa: PLC0415 - optional

    def make() -> list[Decorator]:
        limit = bulkhead(max_concurrency=1024, max_capacity=2048)
        return [limit, retry(attempts=3), consecutive_breaker(exceptions=(OSError,)), timeout(5.0)]

    def stacked(f: Any) -> Any:
        for each in reversed(make()):
            f = each(f)
        return f

    return dict(zip(("bulkhead", "retry", "breaker", "timeout"), make(), strict=True)) | {"pipeline": stacked}


def _interlock() -> dict[str, Decorator]:
    from interlock import CircuitBreaker  # noqa: PLC0415 - optional

    return {"breaker": CircuitBreaker(name="b"), "sync breaker": CircuitBreaker(name="s")}


def _tenacity_and_purgatory() -> dict[str, Decorator]:
    import tenacity  # noqa: PLC0415 - optional
    from purgatory import AsyncCircuitBreakerFactory  # noqa: PLC0415 - optional

    retry = tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)

    def breaker(f: Any) -> Any:
        return AsyncCircuitBreakerFactory()("b")(f)

    def stacked(f: Any) -> Any:
        limit = asyncio.Semaphore(1024)
        guarded = breaker(f)

        async def timed(*args: Any, **kwargs: Any) -> Any:
            async with asyncio.timeout(5):
                return await guarded(*args, **kwargs)

        retried = retry(timed)

        async def whole(*args: Any, **kwargs: Any) -> Any:
            async with limit:
                return await retried(*args, **kwargs)

        return whole

    return {"retry": retry, "breaker": breaker, "pipeline": stacked}


def _circuitbreaker() -> dict[str, Decorator]:
    from circuitbreaker import CircuitBreaker  # noqa: PLC0415 - optional

    return {"breaker": CircuitBreaker(), "sync breaker": CircuitBreaker()}


def _tenacity_and_pybreaker() -> dict[str, Decorator]:
    import pybreaker  # noqa: PLC0415 - optional
    import tenacity  # noqa: PLC0415 - optional

    retry = tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)

    def stacked(f: Any) -> Any:
        limit = threading.BoundedSemaphore(1024)
        retried = retry(pybreaker.CircuitBreaker()(f))

        def whole(*args: Any, **kwargs: Any) -> Any:
            with limit:
                return retried(*args, **kwargs)

        return whole

    # Its async form is for Tornado's coroutines only.
    return {"sync retry": retry, "sync breaker": pybreaker.CircuitBreaker(), "sync pipeline": stacked}


def _laboratory() -> dict[str, Decorator]:
    from laboratory import Experiment  # noqa: PLC0415 - optional

    return {"sync experiment": Experiment.decorator(_nothing)}


def _stamina() -> dict[str, Decorator]:
    import stamina  # noqa: PLC0415 - optional

    return {"retry": stamina.retry(on=OSError), "sync retry": stamina.retry(on=OSError)}


LIBRARIES: dict[str, tuple[tuple[str, ...], Callable[[], dict[str, Decorator]]]] = {
    HERE: (("atoll",), _ours),
    "nopanic": (("nopanic",), _nopanic),
    "resilix": (("resilix",), _resilix),
    "grit-toolkit": (("grit",), _grit),
    "pyresilience": (("pyresilience",), _pyresilience),
    "hyx": (("hyx",), _hyx),
    "interlock-cb": (("interlock",), _interlock),
    "tenacity + purgatory": (("tenacity", "purgatory"), _tenacity_and_purgatory),
    "tenacity + pybreaker": (("tenacity", "pybreaker"), _tenacity_and_pybreaker),
    "circuitbreaker": (("circuitbreaker",), _circuitbreaker),
    "laboratory": (("laboratory",), _laboratory),
    "stamina": (("stamina",), _stamina),
}


def breakers(seconds: float) -> dict[str, Callable[[], tuple[Decorator, int]]]:
    """Breakers that open soon and for `seconds`, one probe at a time, with how many failures open them."""
    found: dict[str, Callable[[], tuple[Decorator, int]]] = {
        HERE: lambda: (Policy("p", breaker=Breaker(consecutive=2, open=seconds)), 2)
    }
    if present("nopanic"):
        from nopanic import circuit_breaker  # noqa: PLC0415 - optional

        found["nopanic"] = lambda: (
            circuit_breaker(min_calls=2, failure_threshold=0.5, reset_timeout=seconds, half_open_max_calls=1),
            2,
        )
    if present("resilix"):
        from resilix import CircuitBreaker as Resilix  # noqa: PLC0415 - optional

        found["resilix"] = lambda: (Resilix(failures=2, reset_timeout=seconds), 2)
    if present("grit"):
        from grit import breaker  # noqa: PLC0415 - optional

        found["grit-toolkit"] = lambda: (breaker(fails=2, reset_after=seconds), 2)
    if present("pyresilience"):
        import pyresilience as pr  # noqa: PLC0415 - optional

        config = pr.CircuitBreakerConfig(failure_threshold=2, recovery_timeout=seconds, success_threshold=1)
        found["pyresilience"] = lambda: (pr.resilient(circuit_breaker=config), 2)
    if present("hyx"):
        from hyx.circuitbreaker import consecutive_breaker  # noqa: PLC0415 - optional

        found["hyx"] = lambda: (
            consecutive_breaker(
                exceptions=(OSError,), failure_threshold=2, recovery_time_secs=seconds, recovery_threshold=1
            ),
            2,
        )
    if present("interlock"):
        from interlock import CircuitBreaker as Interlock  # noqa: PLC0415 - optional
        from interlock import Config  # noqa: PLC0415 - optional

        config_2 = Config(
            minimum_number_of_calls=2, wait_duration_in_open=seconds, permitted_calls_in_half_open=1, window_size=2
        )
        found["interlock-cb"] = lambda: (Interlock(name="p", config=config_2), 2)
    if present("purgatory"):
        from purgatory import AsyncCircuitBreakerFactory  # noqa: PLC0415 - optional

        found["tenacity + purgatory"] = lambda: (AsyncCircuitBreakerFactory(2, seconds)("p"), 2)
    if present("circuitbreaker"):
        from circuitbreaker import CircuitBreaker  # noqa: PLC0415 - optional

        found["circuitbreaker"] = lambda: (CircuitBreaker(failure_threshold=2, recovery_timeout=seconds), 2)
    return found
