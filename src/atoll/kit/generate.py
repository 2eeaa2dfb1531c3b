"""
One function per policy, written as source and compiled, as `dataclasses` does.

A part that is absent costs nothing, and five parts cost one frame. The source is in `linecache`, so
tracebacks show it, and in `Policy.explain()`.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Lock
from types import CodeType, ModuleType
from typing import Any, Literal

from atoll.kit.signature import ANYTHING, Signature
from atoll.kit.verdict import Judge, Unwelcome, Verdict
from atoll.kit.weave import Part, Site, block

Shape = Literal["call", "wrap", "guard"]

_HEADERS: dict[Shape, str] = {
    "call": "{kind} {name}(f, /, *args, **kwargs):",
    "wrap": "def bind(f):\n  {kind} {name}({parameters}):",
    "guard": "{kind} {name}(guard):",
}

_JUDGE = """\
verdict = judge(result)
if verdict.kind != "ok": raise Unwelcome(result, verdict)
"""

_GUARD = """\
yield guard
if guard.verdict is not None: raise Unwelcome(None, guard.verdict)
result = None
"""

_OUTERMOST = """\
try:
{inner}
except Unwelcome as unwelcome:
    result = unwelcome.result
"""

_ASK_FOR_ARGUMENTS = frozenset({"hedge", "fallback"})

_compiled: dict[tuple[str, str], CodeType] = {}
_numbers = count(1)
_lock = Lock()


@dataclass(frozen=True, slots=True)
class Generated:
    """A compiled function and the source it came from."""

    function: Callable[..., Any]
    source: str


class Guard:
    """
    What `guard()` hands to its block.

    A block that ends without an error went well, unless it says `fail()` or `ignore()`.
    """

    __slots__ = ("verdict",)

    def __init__(self) -> None:
        self.verdict: Verdict | None = None

    def fail(self) -> None:
        """The dependency failed, although nothing was raised."""
        self.verdict = Verdict("fail")

    def ignore(self) -> None:
        """This block says nothing about the dependency."""
        self.verdict = Verdict("ignore")


def runtime() -> ModuleType:
    """What needs asyncio, loaded only now: importing that takes longer than the whole kit, and sync code needs none."""
    from atoll.kit.aio import runtime as module  # noqa: PLC0415 - not to dodge a cycle, but 30 ms for who has no event loop

    return module


def generate(
    name: str,
    parts: Sequence[Part],
    judge: Judge | None,
    shape: Shape,
    *,
    asynchronous: bool,
    signature: Signature = ANYTHING,
) -> Generated:
    """
    The function that runs a call through `parts`, outermost first.

    `call` takes the function and its arguments; `wrap` takes a function and returns its wrapper, which has the
    given signature; `guard` is a generator that yields once, for `contextlib`.
    """
    site = Site(asynchronous=asynchronous, runtime=runtime)
    taken = set(re.findall(r"\w+", signature.parameters))
    if any(each.kind in _ASK_FOR_ARGUMENTS for each in parts):
        signature = ANYTHING

    def innermost() -> str:
        if shape == "guard":
            return _GUARD
        line = f"result = {site.wait}f({signature.arguments})\n"
        return line + (_JUDGE if judge else "")

    def inside(depth: int) -> str:
        if depth == len(parts):
            return innermost()
        part = parts[depth]
        if part.kind == "hedge":
            again = generate(name, parts[depth + 1 :], judge, "call", asynchronous=True)
            site.names["again"] = again.function
        return part.weave(site, lambda: inside(depth + 1))

    body = inside(0)
    if judge or shape == "guard":
        body = _OUTERMOST.format(inner=block(body))
        site.names |= {"Unwelcome": Unwelcome, "judge": judge}
    if shape != "guard":
        body += "return result\n"
    identifier = re.sub(r"\W", "_", name)
    identifier = f"policy_{identifier}"
    if signature is not ANYTHING and taken.intersection(
        re.findall(r"\w+", body.replace(f"f({signature.arguments})", "f"))
    ):
        # A parameter is called like something in the generated lines.
        return generate(name, parts, judge, shape, asynchronous=asynchronous)
    header = _HEADERS[shape].format(
        kind="async def" if asynchronous else "def", name=identifier, parameters=signature.parameters
    )
    site.names |= signature.defaults
    source = f"{header}\n{block(body)}" + (f"  return {identifier}\n" if shape == "wrap" else "")
    exec(_code(name, source), site.names)  # noqa: S102 - text that this module wrote
    return Generated(site.names["bind" if shape == "wrap" else identifier], source)


def _code(name: str, source: str) -> CodeType:
    base = name.partition("[")[0]  # the keys of one policy share their source
    with _lock:
        code = _compiled.get((base, source))
        if code is None:
            filename = f"<atoll.kit {base} {next(_numbers)}>"
            code = _compiled[base, source] = compile(source, filename, "exec")
            linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return code
