"""How the proxies would spread requests over the instances of a service."""

from __future__ import annotations

from collections.abc import Iterator

from atoll.plan.blueprint import Instance, Stage, Workload


def spread(workload: Workload | None, requests: float) -> Iterator[tuple[Instance, bool, int]]:
    """Every instance that serves, whether it is of the release that comes next, and its part of so many requests."""
    serving = [i for i in workload.instances if i.stage is Stage.SERVE] if workload is not None else []
    split = workload.split if workload is not None else None
    for instance in serving:
        is_next = split is not None and instance.recipe.release == split.next
        share = (split.weight if is_next else 100 - split.weight) / 100 if split is not None else 1.0
        peers = sum(i.recipe.release == instance.recipe.release for i in serving)
        yield instance, is_next, round(requests * share / peers)
