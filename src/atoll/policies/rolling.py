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
from atoll.plan.restarts import GOOD_RUN
from atoll.policies.verdict import Outcome, Verdict

CRASHES = 3
"""Failed runs in a row, of one new instance, after which a release is given up."""


def judge(service: Service, pin: Pin, workload: Workload | None, observed: Observed) -> Verdict:
    """
    Say whether the target of *pin* has replaced everything else, has failed, or is still going on.

    It has failed when one of its instances crashed `CRASHES` times in a row, did not become ready in its start-up
    time, or was ready once and has not been for as long. It is done when the declared number serves, acknowledged by
    the proxies, and nothing older is left.
    """
    if pin.target is None:
        return Verdict(Outcome.DONE)
    release = pin.target.release
    instances = workload.instances if workload is not None else ()
    new = [i for i in instances if i.recipe.release == release]
    failures = workload.failures if workload is not None else ()
    given_up = [_too_many(f.crashes, f.reason) for f in failures if f.release == release]
    given_up += [_failure(i, observed) for i in new]
    reason = next(filter(None, given_up), "")
    if reason:
        return Verdict(Outcome.FAILED, reason)
    serving = sum(accepted(i, observed) for i in new)
    old = sum(i.recipe.release != release for i in instances)
    if serving >= service.instances and not old:
        return Verdict(Outcome.DONE)
    return Verdict(Outcome.GOING, f"{serving} of {service.instances} serve release {release}, {old} older to stop")


def _too_many(crashes: int, reason: str) -> str:
    return f"{crashes} runs in a row failed: {reason}" if crashes >= CRASHES else ""


def _failure(instance: Instance, observed: Observed) -> str:
    """Why this instance says that its release has failed; empty where it does not."""
    startup = instance.recipe.health.startup
    if _never_ready(instance, observed):
        return instance.reason
    # It served and lost its readiness: it has its start-up time to find it again, a rollout must not wait for ever.
    if instance.stage is Stage.START and instance.served and observed.at >= instance.since + startup:
        return f"{instance.name} was ready, but has not been for {startup:g} s: {instance.reason}"
    well = instance.served and observed.at >= instance.served + GOOD_RUN
    return "" if well else _too_many(instance.crashes, instance.reason)


def _never_ready(instance: Instance, observed: Observed) -> bool:
    """It was given up for its start-up time, not retired or tampered with in the middle of its start."""
    seen = observed.instances.get(instance.recipe.service, {}).get(instance.name)
    if seen is None or instance.stage is not Stage.STOP or instance.served:
        return False
    return instance.since >= seen.started_at + instance.recipe.health.startup


def accepted(instance: Instance, observed: Observed) -> bool:
    """Whether it serves and every proxy sends to it."""
    return instance.stage is Stage.SERVE and observed.mesh.accepted.get(instance.name) == Stage.SERVE
