from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import pytest

from atoll.server import loglines
from atoll.server.loglines import CHUNK, lines


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(loglines, "LOOK_AGAIN", 0.001)


async def whole(directory: Path, service: str | None = None, tail: int = 100) -> list[str]:
    return [line.text async for line in lines(directory, service, tail, follow=False)]


class Following:
    """Lines as they come, with a deadline for each."""

    def __init__(self, directory: Path, tail: int = 100, service: str | None = None):
        self._lines = lines(directory, service, tail, follow=True)

    async def next(self, count: int = 1) -> list[str]:
        async with asyncio.timeout(20):
            return [(await anext(self._lines)).text for _ in range(count)]


def write(path: Path, text: str, mode: str = "a") -> None:
    with path.open(mode, encoding="utf-8") as file:
        file.write(text)


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "orders-r1-1.log"


async def test_each_line_says_who_wrote_it(tmp_path, log):
    write(log, "one\n")
    found = [line async for line in lines(tmp_path, None, 10, follow=False)]
    assert [(line.service, line.instance, line.text) for line in found] == [("orders", "orders-r1-1", "one")]


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 4, 100])
async def test_the_last_lines_and_no_more(tmp_path, log, tail):
    write(log, "a\nb\nc\n")
    assert await whole(tmp_path, tail=tail) == ["a", "b", "c"][max(0, 3 - tail) :]


async def test_the_last_lines_of_a_file_of_many_pieces(tmp_path, log):
    write(log, "".join(f"{n:0100}\n" for n in range(5000)))
    assert await whole(tmp_path, tail=3000) == [f"{n:0100}" for n in range(2000, 5000)]


@pytest.mark.parametrize("length", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
async def test_a_long_line_is_whole(tmp_path, log, length):
    write(log, f"before\n{'x' * length}\nafter\n")
    assert await whole(tmp_path, tail=2) == ["x" * length, "after"]


class Counted(bytes):
    """Bytes of a file that know how many of them were looked through or copied."""

    work = 0

    def count(self, *arguments):
        Counted.work += len(self)
        return super().count(*arguments)

    def __add__(self, other):
        Counted.work += len(self) + len(other)
        return Counted(super().__add__(other))


class CountedFile(io.BytesIO):
    def open(self, _mode):
        return self

    def read(self, *arguments):
        return Counted(super().read(*arguments))


@pytest.mark.parametrize("whole", [False, True])
def test_a_log_without_line_breaks_is_gone_through_once(monkeypatch, whole):
    monkeypatch.setattr(Counted, "work", 0)
    size = 100 * CHUNK
    text, at = loglines._end(CountedFile(b"progress 42%\r" * (size // 13)), 100, whole=whole)
    assert (len(text), at) == ((0, 0) if whole else (1, size // 13 * 13))
    assert size // 13 * 13 <= Counted.work <= 2 * size


async def test_the_last_words_of_who_died_without_a_line_break_are_shown(tmp_path, log):
    write(log, "starts\npanic: no memory")
    assert await whole(tmp_path) == ["starts", "panic: no memory"]
    assert await whole(tmp_path, tail=1) == ["panic: no memory"]


async def test_only_line_breaks_break_lines(tmp_path, log):
    write(log, "a\x0bb\u2028c\x1cd\r\n")
    assert await whole(tmp_path) == ["a\x0bb\u2028c\x1cd"]


async def test_what_is_not_text_is_shown_as_far_as_it_goes(tmp_path, log):
    log.write_bytes(b"\xff\xfe ok\n")
    assert await whole(tmp_path) == ["\ufffd\ufffd ok"]


async def test_an_empty_file_and_an_empty_directory_have_no_lines(tmp_path, log):
    assert await whole(tmp_path) == []
    log.touch()
    assert await whole(tmp_path) == []


async def test_only_the_service_that_was_asked_for(tmp_path):
    write(tmp_path / "orders-r1-1.log", "mine\n")
    write(tmp_path / "orders-r-r1-1.log", "of a service named orders-r\n")
    write(tmp_path / "orders-db-r1-1.log", "of another\n")
    assert await whole(tmp_path, "orders") == ["mine"]


async def test_the_logs_of_the_platform_are_nobodys(tmp_path, log):
    write(log, "mine\n")
    write(tmp_path / "envoy-mesh.log", "of a proxy\n")
    write(tmp_path / "orders-r1-1.log.1", "of last week\n")
    assert await whole(tmp_path) == ["mine"]


async def test_the_file_that_was_written_last_comes_last(tmp_path):
    for age, name in enumerate(("c", "a", "b")):
        path = tmp_path / f"{name}-r1-1.log"
        write(path, f"{name}\n")
        os.utime(path, (age, age))
    assert await whole(tmp_path) == ["c", "a", "b"]


async def test_a_file_that_goes_while_we_read_is_passed_over(tmp_path, monkeypatch):
    write(tmp_path / "a-r1-1.log", "here\n")
    gone = tmp_path / "b-r1-1.log"
    monkeypatch.setattr(loglines, "_files", lambda *_: [gone, tmp_path / "a-r1-1.log"])
    assert await whole(tmp_path) == ["here"]
    following = Following(tmp_path)
    assert await following.next() == ["here"]
    write(tmp_path / "a-r1-1.log", "still\n")
    assert await following.next() == ["still"]


async def test_new_lines_come_once_and_only_when_they_are_whole(tmp_path, log):
    write(log, "old\nhal")
    following = Following(tmp_path)
    assert await following.next() == ["old"]
    write(log, "f\nnew\n")
    assert await following.next(2) == ["half", "new"]
    write(log, "newer\n")
    assert await following.next() == ["newer"]


async def test_following_from_the_end(tmp_path, log):
    write(log, "old\n")
    following = Following(tmp_path, tail=0)
    coming = asyncio.ensure_future(following.next())
    while not coming.done():  # some line is written after it began to look, and the old one is never shown
        write(log, "new\n")
        await asyncio.wait([coming], timeout=0.01)
    assert await coming == ["new"]


async def test_a_rotated_file_is_read_from_its_new_start(tmp_path, log):
    write(log, "a long line before\n")
    following = Following(tmp_path)
    await following.next()
    write(log, "short\n", mode="w")
    assert await following.next() == ["short"]


async def test_an_instance_that_comes_later_is_heard_from_its_first_line(tmp_path, log):
    write(log, "one\n")
    following = Following(tmp_path)
    await following.next()
    write(tmp_path / "orders-r2-2.log", "first\nsecond\n")
    assert await following.next(2) == ["first", "second"]


async def test_a_line_longer_than_the_buffer_comes_in_pieces(tmp_path, log):
    write(log, "start\n")
    following = Following(tmp_path)
    await following.next()
    write(log, "x" * (16 * CHUNK) + "y\n")
    assert await following.next(2) == ["x" * (16 * CHUNK), "y"]
