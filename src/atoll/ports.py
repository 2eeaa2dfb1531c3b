"""
Everything this platform can do to the outside world, on one page.

Every method may be called twice with the same effect. Methods that act carry the generation of the blueprint they
belong to, and refuse with `errors.Conflict` when they have seen a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from atoll.model.system import Check
from atoll.plan.blueprint import Address, Blueprint, Instance
from atoll.plan.observed import MeshSeen, Seen
from atoll.policies.comparing.messages import Findings, Orders
from atoll.values.histograms import Bar


@dataclass(frozen=True, slots=True)
class Artifact:
    """
    A built release: immutable and content-addressed.

    `path` is the directory it runs in. `argv` and the values of `env` may hold `{app}`, which stands for that
    directory as the process sees it: `/app` in a sandbox. `mounts` are host directories outside the base system that
    it needs, read-only (a Python installation).
    """

    digest: str
    path: str
    kind: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[str, ...] = ()
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What an instance has used. Cpu in seconds since its start, memory in bytes now; None where nobody counts."""

    cpu: float | None
    memory: int | None
    pids: int | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """
    What went to one service since the proxies count it.

    `requests` are tries that got to an instance and calls that got to none, `errors` calls that failed (5xx). `waited`
    is how many microseconds callers waited for the first byte, of many calls a sample: histograms under names, each of
    which only grows, begins anew or is forgotten for itself.
    """

    requests: int
    errors: int
    waited: Mapping[str, tuple[Bar, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostCalls:
    """
    Calls that one proxy sent to one address in one cluster since that began: answered, and failed (5xx, time-outs).

    `error` are tries that were repeated, `failed` by their kind those that the caller learned of. Each kind begins anew
    once nothing was added to it for long.

    What is measured while somebody compares is counted for all clusters together and stands alone, without a cluster:
    `times` is how long they took, in microseconds; `counts` how many did well what is counted: name, kind of answer.
    """

    proxy: str
    ip: str
    port: int
    success: int = 0
    error: int = 0
    failed: tuple[tuple[str, int], ...] = ()
    cluster: str = ""
    times: tuple[Bar, ...] = ()
    counts: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class FlagCalls:
    """
    Answers of one address that said in `x-atoll-flag` what a request got of a flag, as one proxy counted them.

    Since that proxy started: good ones and failed ones (5xx). `flag` and `variant` are as they were written in the
    header, percent-encoded where they need to be.
    """

    proxy: str
    ip: str
    port: int
    flag: str
    variant: str
    success: int
    error: int


class Builder(Protocol):
    """Turns a source directory into an artifact."""

    def digest(self, source: Path, run: str | None) -> str:
        """The digest the artifact would have; reads the source, builds nothing."""
        ...

    async def build(self, source: Path, run: str | None, *, progress: Callable[[str], None]) -> Artifact:
        """Build, or find in the cache. Raises `errors.Failed` with the tool's last lines."""
        ...

    def find(self, digest: str) -> Artifact | None:
        """The artifact of that digest where it is still there."""
        ...

    async def sweep(self, keep: set[str]) -> None:
        """Delete artifacts that are not to be kept, and what interrupted builds left behind."""
        ...


class Runtime(Protocol):
    """A place where instances run. They survive the control plane and are found again by `observe`."""

    async def prepare(self, changed: Callable[[], None]) -> None:
        """Make ready and adopt what still runs; `changed` is called (on the loop) whenever an instance ends."""
        ...

    async def create(self, instance: Instance, generation: int) -> None:
        """Make the place it will run in (its network namespace), so that the mesh can open its outlets there."""
        ...

    async def start(self, instance: Instance, artifact: Artifact, generation: int) -> None:
        """Run it in its place. Returns once its process exists; raises `errors.Failed` with the reason if it cannot."""
        ...

    async def stop(self, name: str, grace: float, generation: int) -> None:
        """Ask it to end (SIGTERM) and make it end after `grace` seconds. Returns at once; `observe` shows the rest."""
        ...

    async def remove(self, name: str, generation: int) -> None:
        """Forget an instance that has ended: its namespace, cgroup and record. Its log stays for a while."""
        ...

    async def observe(self) -> Mapping[str, Seen]:
        """Every instance this runtime knows, by name, ended ones included until they are removed."""
        ...

    async def usage(self) -> Mapping[str, Usage]:
        """What each running instance uses."""
        ...

    def notes(self) -> tuple[str, ...]:
        """What weakens a promise on this host, one sentence each: no cgroup can be written, for example."""
        ...

    def log(self, name: str) -> Path:
        """Where the instance's output goes (the newest file; older ones carry .1, .2)."""
        ...

    async def close(self) -> None:
        """Let go of everything without stopping any instance."""
        ...


class Mesh(Protocol):
    """The proxies, as one thing."""

    async def prepare(self, changed: Callable[[], None]) -> None:
        """Start or adopt the proxies; `changed` is called when they accept, reject, die or come back."""
        ...

    async def publish(self, blueprint: Blueprint) -> None:
        """Offer this configuration; returns when it is sent. Acceptance shows in `observe`."""
        ...

    async def observe(self) -> MeshSeen:
        """What the proxies have accepted and how busy the draining instances are; raises while one does not answer."""
        ...

    def ends(self) -> Mapping[str, str]:
        """How the last process of each proxy ended that ended by itself, by the proxy's name, a sentence each."""
        ...

    async def traffic(self) -> Mapping[str, Traffic]:
        """Per service, requests that reached it, from outside and from other services."""
        ...

    async def calls(self, services: frozenset[str]) -> tuple[HostCalls, ...]:
        """What the instances of these services were asked, address by address and proxy by proxy."""
        ...

    async def flag_calls(self) -> tuple[FlagCalls, ...]:
        """What became of the requests that got each variant of a flag, address by address and proxy by proxy."""
        ...

    async def refused(self, instance: str) -> int:
        """How many of an instance's calls the proxies answered themselves: what it may not ask, and what is nowhere."""
        ...

    async def stop(self) -> None:
        """End the proxies. Traffic ends."""
        ...

    async def close(self) -> None:
        """Let go of the proxies; they go on with what they have."""
        ...


class Prober(Protocol):
    """Asks an instance how it is, from where the proxies would."""

    async def probe(self, address: Address, check: Check) -> str:
        """Empty when it passes, else a sentence: what was asked, what came back, what is likely wrong."""
        ...


class Comparer(Protocol):
    """
    What takes copies of requests, asks both releases, and says how the answers differ.

    It may die at any time and comes back by itself; `problem` says in words why it is away, or is empty.
    """

    problem: str

    def listen(self, heard: Callable[[Findings], None]) -> None:
        """Tell *heard* (on the loop) what is found."""
        ...

    def compare(self, orders: Orders) -> None:
        """Compare these services and nothing else from now on; with none it ends. To be told twice changes nothing."""
        ...

    async def close(self) -> None:
        """End it."""
        ...
