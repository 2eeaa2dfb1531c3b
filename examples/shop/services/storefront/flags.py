"""
Feature flags, asked for over OFREP: plain HTTP and JSON, as from any language.

Without an answer (none declared, no flag of that name, nobody there) the shop is what it was without flags.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from calls import Unreachable, call

COOKIE = "visitor"
_VISITOR = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True)
class Flag:
    """What a visitor gets, and the headers that their answer needs."""

    value: bool
    headers: Mapping[str, str] = field(default_factory=dict)


def ask(name: str, cookies: str | None, *, request_id: str) -> Flag:
    """A visitor gets the same for as long as they keep their cookie. Off where nobody says."""
    if "FLAGS_URL" not in os.environ:
        return Flag(False)
    visitor, headers = _visitor(cookies)
    question = {"context": {"targetingKey": visitor}}
    try:
        path = f"/ofrep/v1/evaluate/flags/{name}"
        answer = call("flags", "POST", path, request_id=request_id, value=question)
    except Unreachable as error:
        print(f"no flags: {error} id={request_id}", flush=True)
        return Flag(False)
    if answer.status != 200:
        return Flag(False)
    said = answer.value
    if "releasing" in said["metadata"]:  # requests are counted by what they got, to judge the release
        headers["X-Atoll-Flag"] = f"{name}={said['variant']}"
    return Flag(said.get("value") is True, headers)


def _visitor(cookies: str | None) -> tuple[str, dict[str, str]]:
    """Who asks, and the header that makes them known where they were not."""
    try:
        morsel = SimpleCookie(cookies or "").get(COOKIE)
    except CookieError:
        morsel = None
    if morsel is not None and _VISITOR.fullmatch(morsel.value):
        return morsel.value, {}
    new = str(uuid.uuid4())
    return new, {"Set-Cookie": f"{COOKIE}={new}; Path=/; Max-Age={30 * 86400}; HttpOnly; SameSite=Lax"}
