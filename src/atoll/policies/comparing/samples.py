"""One copied request as three answers, and what there is to learn from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from atoll.policies.comparing.canonical import Contract, Reply, canonical, covers
from atoll.policies.comparing.difference import Odd, Triple, differences, odd_ones, redacted
from atoll.policies.comparing.oddone import REST, together

LATENCY = ":latency"
SLOWER, LEAST_SLOWER = 1.2, 0.002
"""An answer is the slow one if it took so many times the next slowest, and so many seconds more."""
MOST_ODD = 20
MOST_EXAMPLES = 10
FAILED = 500


class NoAnswer(StrEnum):
    """Why there is nothing to compare of one of the three, as its status says it."""

    LATE = "no answer in time"
    CUT = "no answer: cut short"
    LARGE = "no answer: too large"
    UNREACHED = "no answer: not reached"


class LeftOut(StrEnum):
    """Why a copy was not compared, as the end of a sentence."""

    BUSY = "as many as may be were under way"
    PAUSED = "answers had been too slow a moment before"
    LARGE = "a body was too large"
    UNASKED = "the proxy reached no instance"
    FAILED = "the old release itself did not answer well"
    BROKEN = "it could not be compared"


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, or why there is none, and the seconds it took."""

    reply: Reply | NoAnswer
    took: float


@dataclass(frozen=True, slots=True)
class Example:
    """One difference, redacted: the values of the two answers of stable and of the candidate's."""

    path: str
    primary: str
    secondary: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What one request taught: the fields in which an answer was the odd one, and the seconds that each answer took.

    `took` is the primary's, the secondary's, the candidate's. With `bare` there was nothing in the body that counts, so
    that they agree says little.
    """

    endpoint: str
    odd: Mapping[str, Odd]
    took: tuple[float, float, float]
    examples: tuple[Example, ...] = ()
    bare: bool = False


def sample(endpoint: str, answers: Sequence[Answer], contract: Contract, salt: bytes) -> Sample | LeftOut:
    """
    Compare the answers of primary, secondary and candidate, in this order.

    What stable itself cannot answer teaches nothing; that one of the three alone did not answer is a difference.
    """
    primary, secondary, candidate = (_reply(answer) for answer in answers)
    if not (_is_well(primary) or _is_well(secondary)):
        return _why(answers[:2])
    triple = Triple(primary, secondary, candidate)
    odd = odd_ones(triple, contract)
    examples = tuple(_examples(triple, odd, contract, salt)) if odd else ()
    took = (answers[0].took, answers[1].took, answers[2].took)
    bare = not covers(contract, primary if _is_well(primary) else secondary)
    return Sample(endpoint, _bounded(odd) | _slow(took), took, examples, bare)


def _reply(answer: Answer) -> Reply:
    return answer.reply if isinstance(answer.reply, Reply) else Reply(str(answer.reply), {}, b"")


def _is_well(reply: Reply) -> bool:
    return isinstance(reply.status, int) and reply.status < FAILED


def _why(stable: Sequence[Answer]) -> LeftOut:
    """Why nothing was compared, where neither of stable's answers will do."""
    if all(answer.reply is NoAnswer.UNREACHED for answer in stable):
        return LeftOut.UNASKED
    return LeftOut.LARGE if all(answer.reply is NoAnswer.LARGE for answer in stable) else LeftOut.FAILED


def _bounded(odd: Mapping[str, Odd]) -> dict[str, Odd]:
    """An answer that differs everywhere need not be told field by field."""
    kept, rest = dict(list(odd.items())[:MOST_ODD]), list(odd.values())[MOST_ODD:]
    return kept | ({REST: together(rest)} if rest else {})


def _slow(took: tuple[float, float, float]) -> dict[str, Odd]:
    """Whether one answer was much slower than both others. Of three that are alike each is it equally often."""
    slowest, next_slowest, _ = sorted(took, reverse=True)
    if slowest < next_slowest * SLOWER or slowest < next_slowest + LEAST_SLOWER:
        return {}
    return {LATENCY: (Odd.PRIMARY, Odd.SECONDARY, Odd.CANDIDATE)[took.index(slowest)]}


def _examples(triple: Triple, odd: Mapping[str, Odd], contract: Contract, salt: bytes) -> Iterator[Example]:
    """What a report may show of the first fields in which the candidate is the odd one."""
    replies = (triple.primary, triple.secondary, triple.candidate)
    primary, secondary, candidate = (canonical(reply, contract) for reply in replies)
    found = {d.path: d for d in differences(primary, candidate, contract)}
    among = {d.path: d for d in differences(secondary, candidate, contract)}
    wanted = [path for path, which in odd.items() if which is Odd.CANDIDATE and path in found and path in among]
    for path in wanted[:MOST_EXAMPLES]:
        _, one, three = redacted(found[path], contract, salt)
        _, two, _ = redacted(among[path], contract, salt)
        yield Example(path, one, two, three)
