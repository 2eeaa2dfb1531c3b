"""Flags, compiled: one immutable object per document, asked by any number of threads without a lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from atoll.kit import clock
from atoll.kit.flags.bounds import begin
from atoll.kit.flags.compiling import compile_targeting
from atoll.kit.flags.document import Document, InvalidFlags, named, parse, unchanged
from atoll.kit.flags.faults import faults, too_deep
from atoll.kit.flags.hashing import CBOR
from atoll.kit.flags.node import Node, Scope

T_co = TypeVar("T_co", covariant=True)

Context = Mapping[str, Any]
Reason = Literal["STATIC", "TARGETING_MATCH", "DEFAULT", "DISABLED", "STALE", "ERROR"]
ErrorCode = Literal["FLAG_NOT_FOUND", "TYPE_MISMATCH", "INVALID_CONTEXT", "PROVIDER_NOT_READY", "GENERAL"]

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Evaluation(NamedTuple, Generic[T_co]):
    """
    What somebody gets of a flag, and why. Shared between callers: do not change what is in it.

    `variant` is None where the value is the caller's own default.
    """

    value: T_co
    variant: str | None
    reason: Reason
    error_code: ErrorCode | None = None
    metadata: Mapping[str, Any] = NOTHING
    message: str = ""


Evaluate = Callable[[Context, Any], Evaluation[Any]]


class Flags:
    """
    All flags of one document. Make it with `Flags.load`.

    Evaluates as openfeature-flagd-core 2.0 does, and never raises for what is in a context.
    """

    __slots__ = ("_table", "document", "metadata")

    def __init__(self, document: Document, table: Mapping[str, Evaluate], metadata: Mapping[str, Any]) -> None:
        self.document = document
        self.metadata = metadata
        self._table = table

    @classmethod
    def load(cls, document: Document | str | bytes, before: Flags | None = None) -> Flags:
        """
        The flags of a document or of its JSON.

        Args:
            document: in flagd's format.
            before: an earlier document's flags; those that did not change are taken over, which is quicker.

        Raises:
            InvalidFlags: it cannot be evaluated as it is meant; every reason is listed.

        """
        said = parse(document) if isinstance(document, str | bytes) else document
        same = frozenset[str]() if before is None else unchanged(before.document, said)
        problems = faults(said, same)
        if problems:
            raise InvalidFlags(problems)
        common = said.get("metadata") or {}
        try:
            table = {
                key: before._table[key] if before and key in same else _compiled(key, flag, said, common)  # noqa: SLF001 - our own
                for key, flag in said["flags"].items()
            }
        except RecursionError:
            raise InvalidFlags([too_deep()]) from None
        return cls(said, table, MappingProxyType(dict(common)))

    def evaluate(self, key: str, context: Context | None = None, default: Any = None) -> Evaluation[Any]:
        """
        What a context gets of a flag.

        Args:
            key: the flag's.
            context: what is known of who asks; `targetingKey` says who it is.
            default: the value where the flag has none to give.

        """
        flag = self._table.get(key)
        if flag is None:
            return Evaluation(default, None, "ERROR", "FLAG_NOT_FOUND", self.metadata, f"there is no flag {key}")
        return flag(NOTHING if context is None else context, default)

    def __contains__(self, key: object) -> bool:
        return key in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def _compiled(key: str, flag: Mapping[str, Any], document: Document, common: Mapping[str, Any]) -> Evaluate:
    own = flag.get("metadata") or {}
    metadata = MappingProxyType({**common, **own})
    if flag["state"] == "DISABLED":
        return lambda _context, default: Evaluation(default, None, "DISABLED", None, metadata)
    if not flag.get("targeting"):
        return _default(flag, "STATIC", metadata)
    scope = Scope(key, own.get("hash", CBOR), document.get("$evaluators") or {})
    rule = compile_targeting(flag["targeting"], scope)
    rule = _with_flagd(rule, key) if scope.whole else rule
    return _targeted(key, flag, _metered(rule) if scope.metered else rule, metadata)


def _default(flag: Mapping[str, Any], reason: Reason, metadata: Mapping[str, Any]) -> Evaluate:
    name = named(flag.get("defaultVariant"))
    if not name:
        return lambda _context, default: Evaluation(default, None, "DEFAULT", None, metadata)
    always = Evaluation(flag["variants"][name], name, reason, None, metadata)
    return lambda _context, _default: always


def _with_flagd(rule: Node, key: str) -> Node:
    def run(context: Context) -> Any:
        data = dict(context)
        data["$flagd"] = {"flagKey": key, "timestamp": int(clock.wall())}
        data["targetingKey"] = context.get("targetingKey")
        return rule.run(data)

    return Node(run)


def _metered(rule: Node) -> Node:
    def run(context: Context) -> Any:
        begin()
        return rule.run(context)

    return Node(run)


def _targeted(key: str, flag: Mapping[str, Any], rule: Node, metadata: Mapping[str, Any]) -> Evaluate:
    # A variant's evaluation is the same for everybody who gets it, so each is made once.
    matches = {
        name: Evaluation(value, name, "TARGETING_MATCH", None, metadata)
        for name, value in flag["variants"].items()
        if name
    }
    otherwise = _default(flag, "DEFAULT", metadata)
    run, match = rule.run, matches.get

    def evaluate(context: Context, default: Any) -> Evaluation[Any]:
        try:
            said = run(context)
            if said is None:
                return otherwise(context, default)
            found = match(said if type(said) is str else str(named(said)))
        except Exception as error:  # noqa: BLE001 - whatever a context holds, the caller gets an answer
            code: ErrorCode = "GENERAL" if isinstance(context, Mapping) else "INVALID_CONTEXT"
            message = f"{key}: targeting failed with {type(error).__name__}"
            return Evaluation(default, None, "ERROR", code, metadata, message)
        if found is not None:
            return found
        # What it gave is left out: it came from the context and may be personal.
        message = f"{key}: targeting gives a {type(said).__name__} that is not a variant"
        return Evaluation(default, None, "ERROR", "GENERAL", metadata, message)

    return evaluate
