"""
The rolling release: replace instance by instance, never fewer ready than declared, give up on evidence.

How many of each release run is arithmetic and stands in `plan.design`; here is only the judgement whether the new
release is in place, or is not going to be.
"""

from __future__ import annotations

from atoll.model.system import Service
from atoll.plan.blueprint import Instance, Stage, Workload
from atoll.plan.decisions import Pin
from atoll.plan.observed import Observed
from atoll.policies.verdict import Outcome, Verdict

CRASHES = 3
"""Failed runs in a row, of one new instance, after which a release is given up."""


def judge(service: Service, pin: Pin, workload: Workload | None, observed: Observed) -> Verdict:
    """
    Say whether the target of *pin* has replaced everything else, has failed, or is still going on.

    It has failed when one of its instances crashed `CRASHES` times in a row or did not become ready in its start-up
    time. It is done when the declared number serves, acknowledged by the proxies, and nothing older is left.
    """
    if pin.target is None:
        return Verdict(Outcome.DONE)
    release = pin.target.release
    instances = workload.instances if workload is not None else ()
    new = [i for i in instances if i.recipe.release == release]
    for failure in workload.failures if workload is not None else ():
        if failure.release == release and failure.crashes >= CRASHES:
            return Verdict(Outcome.FAILED, f"{failure.crashes} runs in a row failed: {failure.reason}")
    for instance in new:
        if instance.crashes >= CRASHES:
            return Verdict(Outcome.FAILED, f"{instance.crashes} runs in a row failed: {instance.reason}")
        if _never_ready(instance, service, observed):
            return Verdict(Outcome.FAILED, instance.reason)
    serving = sum(_accepted(i, observed) for i in new)
    old = sum(i.recipe.release != release for i in instances)
    if serving >= service.instances and not old:
        return Verdict(Outcome.DONE)
    return Verdict(Outcome.GOING, f"{serving} of {service.instances} serve release {release}, {old} older to stop")


def _never_ready(instance: Instance, service: Service, observed: Observed) -> bool:
    """It was given up for its start-up time, not retired or tampered with in the middle of its start."""
    seen = observed.instances.get(service.name, {}).get(instance.name)
    if seen is None or instance.stage is not Stage.STOP or instance.served:
        return False
    return instance.since >= seen.started_at + service.health.startup


def _accepted(instance: Instance, observed: Observed) -> bool:
    return instance.stage is Stage.SERVE and observed.mesh.accepted.get(instance.name) == Stage.SERVE
