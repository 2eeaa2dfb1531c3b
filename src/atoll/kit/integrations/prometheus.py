"""The state of all policies and experiments for Prometheus, read when it scrapes."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry

from atoll.kit.pipeline import policies
from atoll.kit.trials import experiments


class Policies(Collector):
    """
    Yields three gauges.

    `atoll_kit_state` with the labels policy, part and value; `atoll_kit_breaker_phase` with policy and phase, 0 or 1;
    `atoll_kit_experiment` with experiment and value.
    """

    def collect(self) -> Iterator[Metric]:
        """All values of this moment."""
        gauge = GaugeMetricFamily(
            "atoll_kit_state", "What the parts of each policy count", labels=("policy", "part", "value")
        )
        phase = GaugeMetricFamily(
            "atoll_kit_breaker_phase", "1 for the phase a breaker is in", labels=("policy", "phase")
        )
        for policy in policies():
            for part, state in policy.state().items():
                for name, value in state.items():
                    if isinstance(value, str):
                        for each in ("closed", "open", "half-open"):
                            phase.add_metric((policy.name, each), float(value == each))
                    else:
                        gauge.add_metric((policy.name, part, name), value)
        trials = GaugeMetricFamily(
            "atoll_kit_experiment", "What each experiment counts", labels=("experiment", "value")
        )
        for experiment in experiments():
            for name, value in experiment.state().items():
                if not isinstance(value, str):
                    trials.add_metric((experiment.name, name), value)
        yield gauge
        yield phase
        yield trials


def register(registry: CollectorRegistry = REGISTRY) -> Policies:
    """Has `registry` show all policies; unregister what is returned to end it."""
    collector = Policies()
    registry.register(collector)
    return collector
