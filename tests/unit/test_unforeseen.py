from __future__ import annotations

import asyncio
from itertools import count

import pytest

from atoll import unforeseen
from atoll.unforeseen import back_off, described, persist


@pytest.fixture
def pauses(monkeypatch):
    """The failures in a row after which a pause was made; none takes any time."""
    made = []

    def at_once(failures):
        made.append(failures)
        return 0.0

    monkeypatch.setattr(unforeseen, "back_off", at_once)
    return made


@pytest.fixture
async def reported():
    """What the loop's exception handler was told."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    return told


def failing(times):
    """A body that fails so many times, then returns."""
    attempts = count(1)

    async def body():
        if (number := next(attempts)) <= times:
            raise KeyError(number)

    return body


async def test_a_body_that_fails_is_run_again_until_it_returns(pauses, reported):
    await persist("counting", failing(3))
    assert [(one["message"], str(one["exception"])) for one in reported] == [
        ("counting", "1"),
        ("counting", "2"),
        ("counting", "3"),
    ]
    assert pauses == [1, 2, 3]


async def test_one_that_ran_for_long_begins_its_back_off_anew(pauses, reported, monkeypatch):
    monkeypatch.setattr(unforeseen, "LONGEST", -1.0)
    await persist("counting", failing(3))
    assert pauses == [1, 1, 1]


async def test_a_cancelled_one_ends(pauses, reported):
    task = asyncio.create_task(persist("waiting", asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (task.cancelled(), reported) == (True, [])


def test_it_is_tried_again_later_each_time():
    assert [back_off(failures) for failures in (1, 2, 3, 4, 5, 6, 7, 10_000)] == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("orders"), "KeyError: 'orders'"),
        (RecursionError(), "RecursionError"),
        (ValueError("a\x1b[2J\nb\ud83d"), r"ValueError: a\x1b[2J\nb\ud83d"),
        (ExceptionGroup("two", [ExceptionGroup("one", [KeyError(1)]), KeyError(2)]), "KeyError: 1"),
    ],
)
def test_an_error_is_described_in_a_line_that_may_be_shown(error, words):
    assert described(error) == words


def test_a_long_one_is_cut():
    assert len(described(ValueError("x" * 10_000))) == unforeseen.LONGEST_WORDS
