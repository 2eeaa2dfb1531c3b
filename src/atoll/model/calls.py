"""Whom a service calls, and how: callees, and the policies towards them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from atoll.kit.policy import Breaker, Bulkhead, Retry, RetryBudget
from atoll.model.reading import Section
from atoll.model.source import Entries, Scalar, Tree
from atoll.model.system import USUAL_RETRY, Call, CallPolicy, Egress, Origin
from atoll.values.names import is_host, port_number

SCHEMES = {"http": 80, "https": 443}


def read_calls(service: Section) -> Iterator[Call | Egress]:
    """The callees under `calls:`, from a list of names or a mapping of names to policies."""
    tree = service.tree("calls")
    if isinstance(tree, Entries):
        named: list[tuple[Scalar, Tree | None]] = [(k, v) for k, v in tree.entries if not k.text.startswith("x-")]
    else:
        hint = "policies need a mapping of all callees: calls: {payments: {timeout: 1s}, catalog: }"
        named = [(name, None) for name in service.texts("calls", "the name of a service", hint)]
    seen: set[str] = set()
    for key, value in named:
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
    number = port_number(written) if colon else SCHEMES.get(scheme)
    if scheme not in SCHEMES or not is_host(host) or number is None:
        hint = "write https://api.example.org or https://host:port, without a path"
        service.notes.problem(key.place, f"{service.path}.calls: {key.text!r} is not a host outside", hint)
        return None
    return Egress(scheme, host, number)


def _policy(section: Section) -> CallPolicy:
    policy = CallPolicy(
        timeout=section.duration("timeout", most=3600),
        per_try=section.optional_duration("per-try", most=3600),
        idle=section.duration("idle", least=1),
        retry=read_retry(section),
        bulkhead=Bulkhead(limit=section.count("concurrency", least=1), queue=section.count("queue")),
        breaker=_breaker(section.section("breaker", "breaker")),
    )
    if policy.per_try is not None and policy.per_try > policy.timeout:
        section.notes.problem(
            section.place_of("per-try"), f"{section.path}.per-try is longer than the whole call's timeout"
        )
    return policy


def read_retry(policy: Section) -> Retry:
    """The `retries:` of a policy: a number, or a mapping."""
    tree = policy.tree("retries")
    path = f"{policy.path}.retries"
    if not isinstance(tree, Entries):
        if tree is not None:
            policy.notes.set_at(f"{path}.count", policy.place_of("retries"))
        policy.notes.defaults_in(path, "retries")
        return replace(USUAL_RETRY, retries=policy.count("retries", most=10))
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
