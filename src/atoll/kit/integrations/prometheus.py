"""The state of all policies for Prometheus, read when it scrapes."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry

from atoll.kit.pipeline import policies


class Policies(Collector):
    """Yields one gauge, `atoll_kit_state`, with the labels policy, part and value, and the phase of breakers as 0/1."""

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
        yield gauge
        yield phase


def register(registry: CollectorRegistry = REGISTRY) -> Policies:
    """Has `registry` show all policies; unregister what is returned to end it."""
    collector = Policies()
    registry.register(collector)
    return collector
