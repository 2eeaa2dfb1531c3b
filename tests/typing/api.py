"""Never run: what type checkers must make of the kit. Checked by mypy and pyright, both strict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from atoll.kit import Attempt, Breaker, Experiment, Guard, Policy, Result, Retry, deadline, experiment, remaining

policy = Policy("payments", retry=Retry(2), breaker=Breaker(), timeout=0.5)


@policy
async def charge(order: int, *, note: str = "") -> str:
    return f"{order} {note}"


@policy
def refund(order: int) -> bytes:
    return b""


@policy
async def lines(order: int) -> AsyncIterator[str]:
    yield str(order)


@policy
def pages(order: int) -> Iterator[int]:
    yield order


class Client:
    @policy
    async def get(self, key: str) -> int:
        return len(key)

    @policy
    def put(self, key: str) -> None: ...


def new_refund(order: int) -> bytes:
    return b""


def count(result: Result) -> None:
    assert_type(result.experiment, str)


pricing = experiment("refund", candidate=new_refund, run_if=lambda order: order > 3, publish=count)


@pricing
def old_refund(order: int) -> bytes:
    return b""


async def new_charge(order: int, *, note: str = "") -> str:
    return note


compared = experiment("charge", candidate=new_charge)(charge)


def trials() -> None:
    assert_type(pricing.name, str)
    assert_type(old_refund(1), bytes)
    whole: Experiment[[int]] = pricing
    assert whole.drain()


async def use() -> None:
    assert_type(await compared(1, note="x"), str)
    assert_type(await charge(1, note="x"), str)
    assert_type(refund(1), bytes)
    assert_type(await policy.call(charge, 1, note="x"), str)
    assert_type(policy.run(refund, 1), bytes)
    assert_type(await policy.keyed(lambda order: order).call(charge, 1), str)
    async for line in lines(1):
        assert_type(line, str)
    for page in pages(1):
        assert_type(page, int)
    async with policy.guard() as guard:
        assert_type(guard, Guard)
    with policy.guard() as guard:
        assert_type(guard, Guard)
    async for attempt in policy.attempts():
        assert_type(attempt, Attempt)
        async with attempt:
            pass
    for attempt in policy.attempts():
        with attempt:
            pass
    assert_type(policy.replace(timeout=0.1, retry=None), Policy)
    assert_type(remaining(), float)
    async with deadline(1.5, "GET /basket"):
        assert_type(await Client().get("k"), int)


async def misuse() -> None:
    old_refund("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pricing(str.upper)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    experiment("refund", candidate=new_refund, mode="before")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await charge("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await charge()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    policy.run(refund, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client().put(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Policy("p", retires=Retry())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Policy("p", timeout="1s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    policy.replace(retires=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
