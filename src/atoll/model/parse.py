"""A tree to a System: the shapes of the file, section by section. What values mean together is for `check`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from atoll.kit.policy import Breaker, Bulkhead, Retry, RetryBudget
from atoll.model.problems import Place
from atoll.model.reading import LAST_PORT, Notes, Section
from atoll.model.source import Entries, Scalar, Tree
from atoll.model.system import (
    Call,
    CallPolicy,
    Check,
    Egress,
    Gateway,
    Health,
    Origin,
    Resources,
    Rollout,
    Route,
    RuntimeKind,
    Service,
    System,
)
from atoll.values.names import is_host, is_variable, wrong_name

SCHEMES = {"http": 80, "https": 443}
SMALLEST_MEMORY = 4 * 2**20
_SEGMENT = r"(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})"
_ROUTE_PATH = re.compile(rf"/|(?:/{_SEGMENT}+)+/?")
"""RFC 3986, section 3.3, without empty segments: those never arrive, and without `*`: that is a habit from globs."""
_HEALTH_PATH = re.compile(rf"/(?:{_SEGMENT}|[/*?])*")


def parse(tree: Tree, notes: Notes, *, file: str, directory: str) -> System:
    """The system that *tree* describes; what is wrong is left in *notes* and replaced by a default."""
    root = Section(notes, "", "file", tree, Place(file, 1, 1))
    name = root.text("system") or ""
    if name:
        _name(notes, root.place_of("system"), name)
    return System(
        name=name,
        gateway=_gateway(root.section("gateway", "gateway")),
        services=dict(_services(root, notes)),
        directory=directory,
        origins=notes.origins,
    )


def _name(notes: Notes, place: Place, name: str) -> None:
    wrong = wrong_name(name)
    if wrong:
        notes.problem(place, f"{name!r} cannot be a name: {wrong}")


def _gateway(section: Section | None) -> Gateway:
    if section is None:
        return Gateway()
    text = section.text("listen")
    if text is None:
        return Gateway()
    host, colon, written = text.rpartition(":")
    port = _port(written)
    if port is None or (colon and not _is_address(host)):
        hint = "write a port (8443) or an IPv4 address and a port (127.0.0.1:8443)"
        section.notes.problem(section.place_of("listen"), f"gateway.listen: {text!r} is nothing to listen on", hint)
        return Gateway()
    return Gateway(port, host or Gateway().host)


def _port(text: str) -> int | None:
    port = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(LAST_PORT)) else 0
    return port if 1 <= port <= LAST_PORT else None


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _services(root: Section, notes: Notes) -> Iterator[tuple[str, Service]]:
    tree = root.tree("services")
    if tree is None:
        return
    if not isinstance(tree, Entries) or not tree.entries:
        notes.problem(tree.place, "services has to be a mapping of names to services", "services: {web: {source: web}}")
        return
    for key, value in tree.entries:
        if key.text.startswith("x-"):
            continue
        _name(notes, key.place, key.text)
        notes.set_at(f"services.{key.text}", key.place)
        yield key.text, _service(key.text, Section(notes, f"services.{key.text}", "service", value, key.place))


def _service(name: str, section: Section) -> Service:
    outgoing = tuple(_calls(section))
    return Service(
        name=name,
        source=section.text("source"),
        run=section.text("run"),
        runtime=RuntimeKind(section.choice("runtime")),
        instances=_instances(section),
        resources=_resources(section.section("resources", "resources")),
        health=_health(section),
        env=dict(_env(section)),
        routes=tuple(_routes(section)),
        calls=tuple(c for c in outgoing if isinstance(c, Call)),
        egress=tuple(c for c in outgoing if isinstance(c, Egress)),
        rollout=_rollout(section.section("release", "release")),
    )


def _instances(section: Section) -> int:
    tree = section.tree("instances")
    if isinstance(tree, Entries):
        section.notes.problem(
            tree.place, "instances as a mapping (min, max, each) is not there yet", "write a number for now"
        )
        return 1
    return section.count("instances", most=1000)


def _resources(section: Section | None) -> Resources:
    if section is None:
        return Resources()
    return Resources(section.cpu("cpu"), section.size("memory", least=SMALLEST_MEMORY), section.count("pids", least=4))


def _health(service: Section) -> Health:
    tree = service.tree("health")
    if tree is None:
        return Health()
    if isinstance(tree, Scalar):
        _health_path(service, tree.place, "health", tree.text)
        service.notes.set_at(f"{service.path}.health.path", tree.place)
        service.notes.defaults_in(f"{service.path}.health", "health")
        return Health(Check(tree.text), declared=True)
    section = Section(service.notes, f"{service.path}.health", "health", tree, service.place)
    ready, live = section.section("ready", "check"), section.section("live", "check")
    direct = _check(section)
    if ready is not None and any(section.tree(key) is not None for key in ready.fields):
        hint = "keep `ready:` or what stands beside it"
        service.notes.problem(ready.place, f"{ready.path} and {section.path} both say what ready means", hint)
    return Health(
        ready=_check(ready) if ready is not None else direct,
        live=_check(live) if live is not None else None,
        startup=section.duration("startup", least=0.1, most=3600),
        declared=True,
    )


def _check(section: Section) -> Check:
    path, tcp = section.text("path"), section.flag("tcp")
    if path is not None:
        _health_path(section, section.place_of("path"), "path", path)
        if tcp:
            section.notes.problem(section.place_of("tcp"), "a check is either a path or tcp", "take one of them out")
    return Check(
        path=path,
        interval=section.duration("interval", least=0.1, most=3600),
        timeout=section.duration("timeout", least=0.01, most=600),
        failures=section.count("failures", least=1, most=100),
    )


def _health_path(section: Section, place: Place, key: str, path: str) -> None:
    if not _HEALTH_PATH.fullmatch(path):
        section.notes.problem(place, f"{section.path}.{key}: {path!r} is not a path", "write one such as /healthz")


def _route_path(section: Section, place: Place, path: str) -> None:
    if not _ROUTE_PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        hint = "write one such as /api/orders; every path below it comes here as well"
        section.notes.problem(place, f"{section.path}: {path!r} is not a path to route", hint)


def _env(section: Section) -> Iterator[tuple[str, str]]:
    tree = section.tree("env")
    if tree is None:
        return
    if not isinstance(tree, Entries):
        section.notes.problem(tree.place, f"{section.path}.env has to be a mapping", "env: {NAME: value}")
        return
    for key, value in tree.entries:
        if key.text.startswith("x-"):
            continue
        if not is_variable(key.text):
            section.notes.problem(key.place, f"{key.text!r} cannot be the name of a variable", "letters, digits, _")
        elif key.text == "PORT" or key.text.startswith("ATOLL_"):
            section.notes.problem(key.place, f"{key.text} is set by Atoll", "take it out; listen on $PORT")
        if not isinstance(value, Scalar):
            section.notes.problem(value.place, f"{section.path}.env.{key.text} has to be text", "quote it")
        elif "\0" in value.text:
            section.notes.problem(value.place, f"{section.path}.env.{key.text} holds a zero byte")
        else:
            section.notes.set_at(f"{section.path}.env.{key.text}", key.place)
            yield key.text, "" if value.is_null else value.text


def _routes(service: Section) -> Iterator[Route]:
    for path, item in service.items("routes", "paths or mappings"):
        service.notes.set_at(path, item.place)
        if isinstance(item, Scalar):
            _route_path(service, item.place, item.text)
            service.notes.set_at(f"{path}.path", item.place)
            service.notes.defaults_in(path, "route")
            yield Route(item.text)
            continue
        section = Section(service.notes, path, "route", item, service.place)
        prefix = section.text("path")
        if prefix is not None:
            _route_path(section, section.place_of("path"), prefix)
        yield Route(
            path=prefix or "/",
            hosts=tuple(_hosts(section)),
            policy=CallPolicy(timeout=section.duration("timeout", most=3600), retry=_retry(section)),
        )


def _hosts(section: Section) -> Iterator[str]:
    for item in section.texts("hosts", "host names"):
        host = item.text.lower()
        if not is_host(host.removeprefix("*.")):
            section.notes.problem(item.place, f"{item.text!r} is not a host name", "write shop.example.org")
        yield host


def _calls(service: Section) -> Iterator[Call | Egress]:
    tree = service.tree("calls")
    if isinstance(tree, Entries):
        named: Mapping[Scalar, Tree | None] = {k: v for k, v in tree.entries if not k.text.startswith("x-")}
    else:
        named = dict.fromkeys(service.texts("calls", "the name of a service"))
    seen: set[str] = set()
    for key, value in named.items():
        callee = _egress(service, key) if "://" in key.text else Call(key.text)
        if callee is None:
            continue
        name = callee_name(callee)
        if name in seen:
            service.notes.problem(key.place, f"{service.path}.calls: {name} is listed twice", "keep one of them")
            continue
        seen.add(name)
        path = f"{service.path}.calls.{name}"
        service.notes.set_at(path, key.place)
        yield replace(callee, policy=_policy(Section(service.notes, path, "call", value, key.place)))


def callee_name(callee: Call | Egress) -> str:
    """How the file names a callee, in one form: without the port where it is the scheme's own."""
    if isinstance(callee, Call):
        return callee.service
    port = "" if callee.port == SCHEMES[callee.scheme] else f":{callee.port}"
    return f"{callee.scheme}://{callee.host}{port}"


def _egress(service: Section, key: Scalar) -> Egress | None:
    scheme, _, rest = key.text.partition("://")
    host, colon, written = rest.removesuffix("/").partition(":")
    port = _port(written) if colon else SCHEMES.get(scheme)
    if scheme not in SCHEMES or not is_host(host) or port is None:
        hint = "write https://api.example.org or https://host:port, without a path"
        service.notes.problem(key.place, f"{service.path}.calls: {key.text!r} is not a host outside", hint)
        return None
    return Egress(scheme, host, port)


def _policy(section: Section) -> CallPolicy:
    policy = CallPolicy(
        timeout=section.duration("timeout", most=3600),
        per_try=section.optional_duration("per-try", most=3600),
        idle=section.duration("idle", least=1),
        retry=_retry(section),
        bulkhead=Bulkhead(limit=section.count("concurrency", least=1), queue=section.count("queue")),
        breaker=_breaker(section.section("breaker", "breaker")),
    )
    if policy.per_try is not None and policy.per_try > policy.timeout:
        section.notes.problem(
            section.place_of("per-try"), f"{section.path}.per-try is longer than the whole call's timeout"
        )
    return policy


def _retry(policy: Section) -> Retry:
    tree = policy.tree("retries")
    path = f"{policy.path}.retries"
    if not isinstance(tree, Entries):
        if tree is not None:
            policy.notes.set_at(f"{path}.count", policy.place_of("retries"))
        policy.notes.defaults_in(path, "retries")
        return replace(Retry(), retries=policy.count("retries", most=10))
    section = Section(policy.notes, path, "retries", tree, policy.place)
    retry = Retry(
        retries=section.count("count", most=10),
        base=section.duration("base", most=60),
        cap=section.duration("cap", most=600),
        budget=RetryBudget(ratio=section.percent("budget") or 0.0),
    )
    if retry.cap < retry.base:
        section.notes.problem(section.place_of("cap"), f"{section.path}.cap is shorter than its base")
    return retry


def _breaker(section: Section | None) -> Breaker:
    if section is None:
        return Breaker()
    errors = section.percent("errors")
    if errors is not None:
        decided = Origin(reason="`errors` decides in its place")
        section.notes.origins.setdefault(f"{section.path}.consecutive", decided)
    by_row = section.tree("consecutive") is not None or errors is None
    return Breaker(
        consecutive=section.count("consecutive", least=1, most=1000) if by_row else None,
        rate=errors,
        min_calls=section.count("min-calls", least=1),
        window=section.duration("window", least=0.1, most=3600),
        open=section.duration("open", least=0.1, most=3600),
    )


def _rollout(section: Section | None) -> Rollout:
    if section is None:
        return Rollout()
    return Rollout(
        strategy=section.choice("strategy"),
        surge=section.count("surge", least=1, most=1000),
        drain=section.duration("drain", least=0, most=3600),
        grace=section.duration("grace", least=0, most=3600),
    )
