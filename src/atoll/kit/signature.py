"""
A wrapper with the very parameters of what it wraps.

Passing named parameters on is quicker than packing and unpacking `*args, **kwargs`, and a call with wrong arguments
fails before the policy sees it: it is no failure of the dependency.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

PREFIX = "policy_default_"


@dataclass(frozen=True, slots=True)
class Signature:
    """The text of a parameter list, of the arguments that pass it on, and the values of its defaults."""

    parameters: str = "*args, **kwargs"
    arguments: str = "*args, **kwargs"
    defaults: dict[str, Any] = field(default_factory=dict)


ANYTHING = Signature()


def mirror(f: Callable[..., Any]) -> Signature:
    """The signature to give the wrapper of `f`: its own where it is plain, else one that takes everything."""
    try:
        found = list(inspect.signature(f, follow_wrapped=False).parameters.values())
    except (TypeError, ValueError):  # some of C's functions do not tell
        return ANYTHING
    if any(each.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) for each in found):
        return ANYTHING
    parameters, arguments = [], []
    defaults: dict[str, Any] = {}
    for at, each in enumerate(found):
        if each.kind is Parameter.KEYWORD_ONLY and (not at or found[at - 1].kind is not Parameter.KEYWORD_ONLY):
            parameters.append("*")
        parameters.append(each.name)
        if each.default is not Parameter.empty:
            defaults[f"{PREFIX}{at}"] = each.default
            parameters[-1] += f"={PREFIX}{at}"
        arguments.append(f"{each.name}={each.name}" if each.kind is Parameter.KEYWORD_ONLY else each.name)
        last = at + 1 == len(found) or found[at + 1].kind is not Parameter.POSITIONAL_ONLY
        if each.kind is Parameter.POSITIONAL_ONLY and last:
            parameters.append("/")
    return Signature(", ".join(parameters), ", ".join(arguments), defaults)
