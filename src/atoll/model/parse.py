"""A tree to a System: the shapes of the file, section by section. What values mean together is for `check`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from atoll.model.calls import read_calls, read_retry
from atoll.model.comparing import read_compare
from atoll.model.fields import known
from atoll.model.judge import read_judge, usual_judge
from atoll.model.problems import Place
from atoll.model.reading import Notes, Section
from atoll.model.source import Entries, Scalar, Tree
from atoll.model.system import (
    CAREFUL,
    EVERY_FLAG,
    IN_STEPS,
    ROUTE_POLICY,
    SHADOW_THEN_CANARY,
    Call,
    Check,
    Compare,
    Egress,
    Gateway,
    Health,
    Origin,
    Resources,
    Rollout,
    Route,
    RuntimeKind,
    Service,
    Step,
    System,
)
from atoll.values.names import is_host, is_variable, port_number, wrong_name
from atoll.values.paths import NEVER, normal
from atoll.values.protocols import Protocol
from atoll.values.quantities import show_duration

SMALLEST_MEMORY = 4 * 2**20
LONGEST_VARIABLE = 128 * 2**10
"""Bytes of an environment variable, its name and the zero at its end included (MAX_ARG_STRLEN of Linux)."""
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
    number = port_number(written)
    if number is None or (colon and not _is_address(host)):
        hint = "write a port (8443) or an IPv4 address and a port (127.0.0.1:8443)"
        section.notes.problem(section.place_of("listen"), f"gateway.listen: {text!r} is nothing to listen on", hint)
        return Gateway()
    return Gateway(number, host or Gateway().host)


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
    if section.silent_on("source", "run", "function", "image"):
        hint = "add `source:` with its directory, or `run:` with a command"
        section.notes.problem(section.notes.places[section.path], f"{name} has nothing to run", hint)
    outgoing = tuple(read_calls(section))
    instances = _instances(section)
    compare = read_compare(section.section("compare", "compare"))
    rollout = _rollout(section.section("release", "release"), section, compare, instances)
    if rollout.strategy == SHADOW_THEN_CANARY:
        compare = compare or Compare()
        _in_time(section, compare, rollout)
    return Service(
        name=name,
        source=section.text("source"),
        run=section.text("run"),
        runtime=RuntimeKind(section.choice("runtime")),
        instances=instances,
        resources=_resources(section.section("resources", "resources")),
        health=_health(section),
        protocol=Protocol(section.choice("protocol")),
        env=dict(_env(section)),
        routes=tuple(_routes(section)),
        calls=tuple(c for c in outgoing if isinstance(c, Call)),
        egress=tuple(c for c in outgoing if isinstance(c, Egress)),
        flags=tuple(_flags(section)),
        rollout=rollout,
        compare=compare,
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
    direct, ready = _check(section), _inner_check(section, "ready")
    if ready is not None and not section.silent_on(*known("check")):
        hint = "keep `ready:` or what stands beside it"
        section.notes.problem(section.place_of("ready"), f"{section.path} says twice what ready means", hint)
    return Health(
        ready=ready or direct,
        live=_inner_check(section, "live"),
        startup=section.duration("startup", least=0.1, most=3600),
        declared=True,
    )


def _inner_check(health: Section, key: str) -> Check | None:
    tree = health.tree(key)
    if tree is None:
        return None
    path = f"{health.path}.{key}"
    if not isinstance(tree, Scalar):
        return _check(Section(health.notes, path, "check", tree, health.place))
    _health_path(health, tree.place, key, tree.text)
    health.notes.set_at(f"{path}.path", tree.place)
    health.notes.defaults_in(path, "check")
    return Check(tree.text)


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


def _route_path(notes: Notes, at: str, place: Place, path: str) -> None:
    if _ROUTE_PATH.fullmatch(path) and not NEVER.search(path) and path == normal(path):
        return
    arrives = normal(path)
    if NEVER.search(path):
        wrong, hint = "never arrives", "the gateway refuses paths with %2F, %5C or %00; write what stands above it"
    elif path.startswith("/") and _ROUTE_PATH.fullmatch(arrives):
        wrong, hint = "never arrives in this form", f"write {arrives}: that is what the gateway makes of it"
    else:
        wrong, hint = "is not a path to route", "write one such as /api/orders; every path below it comes here as well"
    notes.problem(place, f"{at}: {path!r} {wrong}", hint)


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
            hint = "write letters, digits and _, and no digit first"
            section.notes.problem(key.place, f"{key.text!r} cannot be the name of a variable", hint)
        elif key.text == "PORT" or key.text.startswith("ATOLL_"):
            section.notes.problem(key.place, f"{key.text} is set by Atoll", "take it out")
        if not isinstance(value, Scalar):
            section.notes.problem(value.place, f"{section.path}.env.{key.text} has to be text", "quote it")
        elif "\0" in value.text:
            section.notes.problem(value.place, f"{section.path}.env.{key.text} holds a zero byte")
        elif len(f"{key.text}={value.text}".encode()) >= LONGEST_VARIABLE:
            words = f"{section.path}.env.{key.text} is longer than Linux hands to a program (128 KiB with its name)"
            section.notes.problem(value.place, words, "keep it in a file of the source")
        else:
            section.notes.set_at(f"{section.path}.env.{key.text}", key.place)
            yield key.text, "" if value.is_null else value.text


def _routes(service: Section) -> Iterator[Route]:
    for path, item in service.items("routes", "a path or a mapping"):
        service.notes.set_at(path, item.place)
        if isinstance(item, Scalar):
            _route_path(service.notes, path, item.place, item.text)
            service.notes.set_at(f"{path}.path", item.place)
            service.notes.defaults_in(path, "route")
            yield Route(item.text)
            continue
        section = Section(service.notes, path, "route", item, service.place)
        prefix = section.text("path")
        if prefix is not None:
            _route_path(section.notes, path, section.place_of("path"), prefix)
        route = Route(
            path=prefix or "/",
            hosts=tuple(_hosts(section)),
            policy=replace(ROUTE_POLICY, timeout=section.duration("timeout", most=3600), retry=read_retry(section)),
        )
        if prefix is not None:
            yield route


def _hosts(section: Section) -> Iterator[str]:
    for item in section.texts("hosts", "a host name"):
        host = item.text.lower()
        if not is_host(host.removeprefix("*.")):
            section.notes.problem(item.place, f"{item.text!r} is not a host name", "write shop.example.org")
        yield host


def _flags(service: Section) -> Iterator[str]:
    names = list(service.texts("flags", "the name of a flag", "flags: [new-checkout], or flags: all"))
    seen: set[str] = set()
    for name in names:
        if name.is_null or not name.text or not name.text.isprintable():
            service.notes.problem(name.place, f"{service.path}.flags: {name.text!r} is not the name of a flag")
        elif name.text in seen:
            service.notes.problem(name.place, f"{service.path}.flags: {name.text} is listed twice", "keep one of them")
        elif (name.text,) == EVERY_FLAG and len(names) > 1:
            hint = "write `flags: all`, or the names without it"
            service.notes.problem(
                name.place, f"{service.path}.flags: all is every flag, and others stand beside it", hint
            )
        else:
            seen.add(name.text)
            yield name.text


_APART = ("most", "bake", "key", "rollback")
"""What only a release has that gets traffic before it replaces anything."""


def _rollout(section: Section | None, service: Section, compare: Compare | None, instances: int) -> Rollout:
    if section is None:
        judge = usual_judge(instances)
        return Rollout(_compared(service), steps=CAREFUL, judge=judge) if compare is not None else Rollout()
    strategy = section.choice("strategy")
    if compare is not None and section.silent_on("strategy"):
        strategy = _compared(service)
    elif compare is not None and strategy != SHADOW_THEN_CANARY:
        hint = f"strategy: {SHADOW_THEN_CANARY}; or take `compare` out"
        words = f"{service.path}: answers are compared before a release gets users, and {strategy} does not wait"
        section.notes.problem(section.place_of("strategy"), words, hint)
    steps = tuple(_steps(section))
    if steps and strategy not in IN_STEPS:
        section.notes.problem(section.place_of("steps"), f"{section.path}: only a canary has steps", "strategy: canary")
    if strategy not in IN_STEPS and section.tree("judge") is not None:
        section.notes.problem(section.place_of("judge"), f"{section.path}: only a canary is judged", "strategy: canary")
    if strategy == "rolling":
        for key in _APART:
            if section.tree(key) is not None:
                words = f"{section.path}: rolling has no `{key}`: no release of it serves beside another"
                section.notes.problem(section.place_of(key), words, "strategy: canary or blue-green, or take it out")
    judge, counts = read_judge(section, instances)
    return Rollout(
        strategy=strategy,
        surge=section.count("surge", least=1, most=1000),
        drain=section.duration("drain", least=0, most=3600),
        grace=section.duration("grace", least=0, most=3600),
        steps=steps or (CAREFUL if strategy in IN_STEPS else ()),
        most=section.duration("most", least=1, most=86400),
        bake=section.duration("bake", least=1, most=86400),
        key=_key(section),
        rollback=section.choice("rollback"),
        judge=judge,
        counts=counts,
    )


def _in_time(service: Section, compare: Compare, rollout: Rollout) -> None:
    if compare.least >= rollout.most:
        most, path = show_duration(rollout.most), f"{service.path}.compare.for"
        places = (path, f"{service.path}.release.most", service.path)
        place = next(service.notes.places[known] for known in places if known in service.notes.places)
        words = f"{path} is {show_duration(compare.least)}, but after {most} (release.most) it holds, and never passes"
        service.notes.problem(place, words, f"write less than {most}, or more under release.most")


def _compared(service: Section) -> str:
    """The strategy where only `compare` was written."""
    service.notes.origins[f"{service.path}.release.strategy"] = Origin(reason="answers are compared: see `compare`")
    return SHADOW_THEN_CANARY


def _steps(release: Section) -> Iterator[Step]:
    before = 0
    for path, item in release.items("steps", "a percentage or a mapping"):
        release.notes.set_at(path, item.place)
        tree = (
            Entries(((Scalar("weight", quoted=False, place=item.place), item),), item.place)
            if isinstance(item, Scalar)
            else item
        )
        section = Section(release.notes, path, "step", tree, release.place)
        share, least = section.percent("weight"), section.duration("for", least=0.1, most=86400)
        if share is None:
            continue
        weight = round(share * 100)
        if not before < weight < 100 or abs(weight - share * 100) > 1e-6:  # noqa: PLR2004 - all of it
            hint = "write whole percentages that grow and stay below 100%; all of it follows the last step by itself"
            release.notes.problem(
                item.place, f"{path}: {share * 100:.4g}% of the traffic after {before}% cannot be", hint
            )
        before = max(before, weight)
        yield Step(weight, least)


def _key(release: Section) -> str:
    key = release.text("key") or ""
    if key and not re.fullmatch(r"[A-Za-z0-9-]+", key):
        release.notes.problem(
            release.place_of("key"), f"{key!r} is not the name of a header", "write one such as x-user-id"
        )
    return key.lower()
