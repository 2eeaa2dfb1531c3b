"""What the control plane and the comparer tell each other, a line of JSON each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.model.system import Operation
from atoll.policies.comparing.canonical import Contract
from atoll.policies.comparing.samples import Sample


@dataclass(frozen=True, slots=True)
class Task:
    """
    One service whose releases are to be compared, in the run with this name that began at `since`.

    At most `concurrency` copies at a time, each answer within `timeout` seconds. `endpoints` are patterns of paths;
    `safe` are operations that change nothing, beside GET, HEAD and OPTIONS.
    """

    service: str
    run: str
    since: float
    concurrency: int
    timeout: float
    contract: Contract
    endpoints: tuple[str, ...] = ()
    safe: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Orders:
    """All that is to be compared from now on."""

    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """
    What the run that began at `since` has come to since the last time.

    `left_out` counts the copies that were not compared, by reason.
    """

    service: str
    since: float
    samples: tuple[Sample, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
