from __future__ import annotations

import io
import os

from atoll.drivers.host import logs
from atoll.drivers.host.logs import is_full, last_lines, open_log, prune, rotate


def test_rotation_keeps_the_descriptor_of_the_writer(tmp_path):
    path = tmp_path / "new" / "orders-r1-1.log"
    descriptor = open_log(path)
    for round_ in range(4):
        os.write(descriptor, f"round {round_}\n".encode())
        assert is_full(path, limit=5)
        rotate(path)
        assert not is_full(path, limit=5)
    os.write(descriptor, b"now\n")
    os.close(descriptor)
    assert path.read_text() == "now\n"
    assert (tmp_path / "new/orders-r1-1.log.1").read_text() == "round 3\n"
    assert (tmp_path / "new/orders-r1-1.log.2").read_text() == "round 2\n"
    assert len(list(path.parent.iterdir())) == 3


class Written(io.BytesIO):
    """A log to which a line is added each time that its end was read, as often as there are any."""

    def __init__(self, text: bytes, *added: bytes) -> None:
        super().__init__(text)
        self.added = list(added)

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        if self.added:
            at = self.tell()
            self.seek(0, os.SEEK_END)
            self.write(self.added.pop(0))
            self.seek(at)
        return found


def test_what_is_written_while_it_is_rotated_is_kept():
    kept = io.BytesIO()
    logs._copy_newest(Written(b"one\n", b"two\n", b"three\n"), kept)
    assert kept.getvalue() == b"one\ntwo\nthree\n"


def test_who_writes_faster_than_that_is_cut_off():
    kept, source = io.BytesIO(), Written(b"", *(b"%d\n" % number for number in range(1000)))
    logs._copy_newest(source, kept)
    assert kept.getvalue() == b"".join(b"%d\n" % number for number in range(logs._PASSES))


def test_rotating_what_is_not_there_is_nothing(tmp_path):
    rotate(tmp_path / "none.log")
    assert not is_full(tmp_path / "none.log")
    assert list(tmp_path.iterdir()) == []


def test_the_last_lines(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(10_000)) + b"\xff end without newline")
    assert last_lines(path, 2) == ("9999", "\ufffd end without newline")
    assert last_lines(tmp_path / "none.log") == ()
    path.write_bytes(b"\x1b]0;EVIL\x07dying\n")
    assert last_lines(path) == ("dying",)


def test_old_logs_of_a_service_go_and_others_stay(tmp_path):
    for number in range(5):
        for name in (f"orders-r1-{number}.log", f"orders-r1-{number}.log.1", f"orders-rx-r1-{number}.log"):
            (tmp_path / name).write_text("x")
            os.utime(tmp_path / name, (number, number))
    prune(tmp_path, "orders", set(), keep=2)
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if name.startswith("orders-r1")} == {
        "orders-r1-3.log", "orders-r1-3.log.1", "orders-r1-4.log", "orders-r1-4.log.1"
    }  # fmt: skip
    assert sum(name.startswith("orders-rx") for name in left) == 5


def test_the_log_of_one_that_is_there_stays_however_silent_it_is(tmp_path):
    for number in range(5):
        (tmp_path / f"orders-r1-{number}.log").write_text("x")
        (tmp_path / f"orders-r1-{number}.log.1").write_text("x")
        os.utime(tmp_path / f"orders-r1-{number}.log", (number, number))
    prune(tmp_path, "orders", {"orders-r1-0"}, keep=2)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"orders-r1-{number}.log{end}" for number in (0, 3, 4) for end in ("", ".1")}


def test_what_was_written_beyond_the_limit_since_the_last_look_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("atoll.drivers.host.logs.LIMIT", 100)
    path = tmp_path / "web-r1-1.log"
    path.write_text("".join(f"line {number:04}\n" for number in range(1000)))
    rotate(path)
    kept = (tmp_path / "web-r1-1.log.1").read_text().splitlines()
    assert kept == [f"line {number:04}" for number in range(991, 1000)]
    assert path.read_text() == ""
