"""One flag changed as a person asks for it, and what that does, in words. Refuses with every problem and its mend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from atoll import wire
from atoll.errors import Refused
from atoll.kit.flags import (
    Document,
    Finding,
    InvalidFlags,
    everybody,
    is_killed,
    killed,
    revived,
    shares,
    with_default,
    with_flag,
    with_percent,
)
from atoll.kit.flags.killing import given
from atoll.model.system import CAREFUL, Rollout, Step
from atoll.plan.releasing import ALL
from atoll.values.nearest import nearest

ATTRIBUTES = ("state", "owner", "kind", "expires", "killVariant")
LONGEST = 86400.0
_OUTSIDE = frozenset({"state"})  # of metadata

Changed = tuple[dict[str, Any], tuple[str, ...]]


def refusal(findings: Iterable[Finding], hint: str = "correct all of it, then write it again") -> Refused:
    """What is refused about a document, every problem in a line of its own."""
    return Refused("\n".join(map(str, findings)), hint=hint)


def definition(document: Document, flag: str) -> Mapping[str, Any]:
    """A flag's definition. Raises `errors.Refused` with the nearest name where there is no such flag."""
    found: Mapping[str, Any] | None = document["flags"].get(flag)
    if found is None:
        close = nearest(flag, document["flags"])
        known = ", ".join(document["flags"]) or "there is none yet: write them with `atoll flags set FILE`"
        raise Refused(f"there is no flag {flag!r}", hint=f"did you mean {close}?" if close else f"flags: {known}")
    return found


def changed(document: Document, request: wire.FlagChange) -> Changed:
    """
    The document with what is to be set, and what that does.

    Raises `errors.Refused` with every problem at once.
    """
    name = request.flag
    before = definition(document, name)
    unknown = [key for key in request.attributes if key not in ATTRIBUTES]
    if unknown:
        raise Refused(f"there is no attribute {', '.join(unknown)} to set", hint=f"set {', '.join(ATTRIBUTES)}")
    words: list[str] = []
    edits: list[Callable[[Document], dict[str, Any]]] = []
    if request.attributes:
        edits.append(lambda made: with_flag(made, name, _with(made["flags"][name], request.attributes)))
        words += [f"{key} is {value}" for key, value in request.attributes.items()]
    if request.percent is not None:
        variant, percent = request.variant or "", request.percent
        if request.variant is None:
            raise Refused("it is not said which variant the percentage is for", hint="name the variant as well")
        edits.append(lambda made: with_percent(made, name, variant, percent))
        words.append(f"{percent:g}% get {variant} {_was(before)}")
    elif request.variant is not None:
        default = request.variant
        _reached(before, name, default)
        edits.append(lambda made: with_default(made, name, default))
        words.append(f"whom targeting leaves alone gets {default} {_was(before)}")
    if not edits:
        raise Refused(f"it is not said what of {name} to set", hint="name a variant, --percent, or another option")
    return _applied(document, edits), tuple(f"{name}: {each}" for each in words)


def dead(document: Document, flag: str) -> Changed:
    """The document in which a flag is killed. Works with errors elsewhere: a kill must not wait for a mend."""
    before = definition(document, flag)
    after = _applied(document, [lambda made: killed(made, flag)])
    safe = given(after["flags"][flag])
    if before.get("state") == "DISABLED":
        said = f"it stays disabled, so the code's own default counts; once enabled, everybody gets {safe}"
        return after, (f"{flag} is killed: {said}",)
    return after, (f"{flag} is killed: everybody gets {safe} {_was(before)}",)


def alive(document: Document, flag: str) -> Changed:
    """The document in which a killed flag is as it was before."""
    definition(document, flag)
    after = _applied(document, [lambda made: revived(made, flag)])
    if after == document:
        raise Refused(f"{flag} is not killed", hint="see `atoll flags list`")
    return after, (f"{flag} is as it was before it was killed: {dealt(after['flags'][flag])}",)


def revived_by(before: Document, after: Document) -> tuple[str, ...]:
    """The flags that are killed in one document, and live in another."""
    flags: Mapping[str, Any] = after["flags"]
    return tuple(
        name
        for name, flag in before["flags"].items()
        if is_killed(flag) and name in flags and not is_killed(flags[name])
    )


def dealt(flag: Mapping[str, Any]) -> str:
    """Who gets what of a flag, in words."""
    found = shares(flag)
    if flag.get("state") == "DISABLED":
        return "it is disabled, the code's own default counts"
    if found is None:
        return "targeting decides"
    return ", ".join(f"{share:.4g}% {variant}" for variant, share in found.items() if share)


def to_release(document: Document, request: wire.FlagReleaseRequest) -> Rollout:
    """
    How a variant is to be released: in the steps asked for, or those usual ones that are more than it has now.

    Raises `errors.Refused` with everything that keeps it from being.
    """
    flag = definition(document, request.flag)
    now = (shares(flag) or {}).get(request.variant, 0.0)
    asked = tuple(Step(step.weight, step.least) for step in request.steps)
    steps = asked or tuple(step for step in CAREFUL if step.weight > now)
    rollout = Rollout(strategy="canary", steps=steps, most=request.most, bake=request.bake)
    found = [*_not_releasable(flag, request.variant), *_course_wrong(rollout, now)]
    if not found:
        try:
            with_percent(document, request.flag, request.variant, 1, rest=request.rest)
        except InvalidFlags as error:
            found = [str(each) for each in error.findings]
    if found:
        raise Refused("\n".join(f"{request.flag}: {each}" for each in found), hint="correct all of it, then ask again")
    return rollout


def _not_releasable(flag: Mapping[str, Any], variant: str) -> Iterator[str]:
    if is_killed(flag):
        yield "it is killed: revive it first"
    if flag["state"] == "DISABLED":
        yield "it is disabled: set --state ENABLED first"
    if variant not in flag["variants"]:
        yield f"there is no variant {variant!r}: write {' or '.join(flag['variants'])}"
    elif everybody(flag) == variant:
        yield f"everybody gets {variant} already"


def _course_wrong(rollout: Rollout, now: float) -> Iterator[str]:
    for step in rollout.steps:
        if not now < step.weight < ALL:
            yield f"{step.weight}% after {now:.4g}% cannot be: steps grow and stay below 100%, which follows by itself"
        now = max(now, step.weight)
        if not 0 < step.least <= LONGEST:
            yield f"a step of {step.least:g} s cannot be: write a time above 0 and of a day at most"
    for name, value in (("most", rollout.most), ("bake", rollout.bake)):
        if not 1 <= value <= LONGEST:
            yield f"{name} is {value:g} s: write 1 s to a day"


def _reached(flag: Mapping[str, Any], name: str, default: str) -> None:
    """Refuse a default that nobody would get, as targeting deals another variant to everybody."""
    always = everybody(flag) if flag.get("targeting") and not is_killed(flag) else None
    if always not in {None, default}:
        raise Refused(
            f"{name}: targeting leaves nobody alone, everybody gets {always}",
            hint=f"say how many are to get it: atoll flags set {name} {default} --percent 100",
        )


def _was(flag: Mapping[str, Any]) -> str:
    return f"(it was {dealt(flag)})"


def _with(flag: Mapping[str, Any], attributes: Mapping[str, str]) -> dict[str, Any]:
    outside = {key: value for key, value in attributes.items() if key in _OUTSIDE}
    inside = {key: value for key, value in attributes.items() if key not in _OUTSIDE}
    return {**flag, **outside, "metadata": {**(flag.get("metadata") or {}), **inside}}


def _applied(document: Document, edits: Iterable[Callable[[Document], dict[str, Any]]]) -> dict[str, Any]:
    """Every edit that works, one on the other; where one does not, what is wrong with all of them."""
    made: dict[str, Any] = dict(document)
    findings: list[Finding] = []
    for edit in edits:
        try:
            made = edit(made)
        except InvalidFlags as error:
            findings += error.findings
    if findings:
        raise refusal(dict.fromkeys(findings), "correct all of it, then ask again")
    return made
