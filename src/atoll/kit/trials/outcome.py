"""What an experiment sees and says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal["match", "mismatch", "ignored", "timeout"]


class Observation(NamedTuple):
    """How one of the two ended: what it returned or raised (`error` is None where it returned), after `seconds`."""

    value: Any
    error: BaseException | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """
    One comparison.

    `kind` is `match`, `mismatch`, `ignored` (they differ, and `ignore` said that it does not matter) or `timeout` (the
    candidate took too long, nothing was compared). Values have been through `clean`; arguments are as they were passed.
    """

    experiment: str
    kind: Kind
    control: Observation
    candidate: Observation
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """A result as short texts, so that keeping it keeps nothing else alive."""

    kind: Kind
    arguments: str
    control: str
    candidate: str


class Trial:
    """
    One call on its way through an experiment.

    Args:
        args: of the call.
        kwargs: of the call.
        context: in which the candidate runs.

    """

    __slots__ = ("args", "candidate", "context", "control", "how", "job", "kwargs", "over", "started")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> None:
        self.args = args
        self.kwargs = kwargs
        self.context = context
        self.control: Observation | None = None
        self.candidate: Observation | None = None
        self.started = False  # the candidate was handed over
        self.over = False  # there is nothing to compare the candidate with
        self.how: Literal["cancelled"] | None = None  # as what it is counted then; None for a fault
        self.job: Any = None  # what stops the candidate


def same(control: object, candidate: object) -> bool:
    """Whether two answers are the same where nobody said otherwise: `==`."""
    return bool(control == candidate)


def same_errors(control: BaseException, candidate: BaseException) -> bool:
    """Whether two errors are the same where nobody said otherwise: one type and one message."""
    return type(control) is type(candidate) and str(control) == str(candidate)
