"""What a release is made of, and whether two releases are the same in all that a process can notice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atoll.model.system import Health, RuntimeKind, Service, System
from atoll.plan.blueprint import Recipe
from atoll.values.names import FLAG_VARIABLES, FLAGS, ITSELF

PROXY = "http://127.0.0.1:80"
AROUND_PROXY = ("NO_PROXY", "no_proxy", "no_grpc_proxy")
"""Variables that follow from the callees, as their addresses do."""


def recipe(system: System, service: Service, *, artifact: str, argv: tuple[str, ...]) -> Recipe:
    """
    The recipe of a new release of *service*; its number is 0 until the store gives it one.

    What the build adds to the environment belongs to the artifact and joins it when an instance is started.
    """
    return Recipe(
        service=service.name,
        release=0,
        artifact=artifact,
        argv=argv,
        env=environment(system, service),
        runtime=service.runtime,
        resources=service.resources,
        health=service.health,
        drain=service.rollout.drain,
        grace=service.rollout.grace,
        hosts=tuple(sorted((*system.services, FLAGS))),
        calls=service.calls,
    )


def environment(system: System, service: Service) -> tuple[tuple[str, str], ...]:
    """The variables that the file gives every instance of a release, sorted by name; the file's `env` wins."""
    env = {"ATOLL_SYSTEM": system.name, "ATOLL_SERVICE": service.name}
    # A plain process finds its callees on ports of its own, which replace these: what counts here is that another
    # callee makes another release, as a process that runs has no outlet for it.
    env |= {url_variable(call.service): f"http://{call.service}" for call in service.calls}
    if service.flags:
        env |= dict.fromkeys(FLAG_VARIABLES, f"http://{FLAGS}")
    if service.runtime is RuntimeKind.SANDBOX:
        env |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), PROXY)
        env |= dict(_around_the_proxy([call.service for call in service.calls]))
    return tuple(sorted((env | dict(service.env)).items()))


def _around_the_proxy(callees: Sequence[str]) -> Iterator[tuple[str, str]]:
    """
    Variables that keep a client from asking the proxy for a tunnel (CONNECT) to what it may call.

    Only port 80 of a callee is reached directly: the outlet is there. Any other port would be the caller's own server,
    so a client that writes one goes by the proxy and is told. C-core gRPC and grpc-js look at names without ports.
    """
    local = sorted(ITSELF)
    without = ",".join((*local, *(f"{name}:80" for name in callees)))
    yield from zip(AROUND_PROXY, (without, without, ",".join((*local, *callees))), strict=True)


def url_variable(service: str) -> str:
    """The name of the variable that holds a callee's address: `orders-db` gives `ORDERS_DB_URL`."""
    return service.upper().replace("-", "_") + "_URL"


def same_content(one: Recipe, other: Recipe) -> bool:
    """
    Whether an instance of *one* may stay where *other* is wanted.

    What is run in it belongs to an artifact. So does its health check to a release, as it decides whether that is good,
    and whom it may call; drain times act without a restart.
    """
    return _content(one) == _content(other) and same_callees(one, other)


def same_callees(one: Recipe, other: Recipe) -> bool:
    """Whether both may call the same services, as far as that was written down; how they do is not the release's."""
    if one.calls is None or other.calls is None:
        return True
    return {call.service for call in one.calls} == {call.service for call in other.calls}


def _content(one: Recipe) -> tuple[object, ...]:
    return one.artifact, one.env, one.runtime, one.resources, checks(one.health)


def checks(health: Health) -> tuple[object, ...]:
    """What a health check does; whether the file says it or it is the default makes no difference."""
    return health.ready, health.live, health.startup
