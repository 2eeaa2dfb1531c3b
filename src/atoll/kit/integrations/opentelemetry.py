"""The state of all policies and experiments for OpenTelemetry, and the rare events."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from atoll.kit.events import Event, subscribe
from atoll.kit.pipeline import policies
from atoll.kit.trials import experiments


def instrument(provider: MeterProvider | None = None) -> Callable[[], None]:
    """
    Shows all policies as `atoll.kit.state` (observed when collected) and counts events as `atoll.kit.events`.

    Attributes are `atoll.policy`, `atoll.part`, `atoll.value` and `atoll.event`. Experiments are `atoll.kit.experiment`
    with `atoll.experiment` and `atoll.value`. Returns what ends the counting.
    """
    meter = (provider or metrics.get_meter_provider()).get_meter("atoll.kit")
    meter.create_observable_gauge("atoll.kit.state", [_observe], description="What the parts of each policy count")
    meter.create_observable_gauge("atoll.kit.experiment", [_observe_trials], description="What each experiment counts")
    counter = meter.create_counter("atoll.kit.events", description="Retries, state changes, refusals and the like")

    def count(event: Event) -> None:
        counter.add(1, {"atoll.policy": event.policy, "atoll.event": event.kind})

    return subscribe(count)


def _observe(_options: CallbackOptions) -> Iterable[Observation]:
    for policy in policies():
        for part, state in policy.state().items():
            for name, value in state.items():
                if not isinstance(value, str):
                    yield Observation(value, {"atoll.policy": policy.name, "atoll.part": part, "atoll.value": name})


def _observe_trials(_options: CallbackOptions) -> Iterable[Observation]:
    for experiment in experiments():
        for name, value in experiment.state().items():
            if not isinstance(value, str):
                yield Observation(value, {"atoll.experiment": experiment.name, "atoll.value": name})
