"""A policy in words, figures and generated source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf

from atoll.kit import sense
from atoll.kit.policy import Settings


def explain(name: str, settings: Sequence[Settings], sources: Mapping[str, str]) -> str:
    """The text that `Policy.explain()` returns."""
    lines = [f"policy {name}, outermost first:", *(f"  {each!r}" for each in settings), ""]
    attempts, worst = sense.attempt_seconds(settings), sense.worst_case(settings)
    lines.append(f"requests per call: at most {sense.requests(settings)}")
    lines.append(f"all attempts and the pauses between them: at most {_seconds(attempts)}")
    lines.append(f"a call, with waiting: at most {_seconds(worst)}")
    for kind, source in sources.items():
        lines += ["", f"the {kind} function:", "", source.rstrip()]
    return "\n".join(lines) + "\n"


def _seconds(value: float) -> str:
    return "no bound: give a timeout or a budget" if isinf(value) else f"{value:.3f} s"
