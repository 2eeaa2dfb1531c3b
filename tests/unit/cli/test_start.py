from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from atoll.cli import start
from atoll.drivers.doctor import Finding
from atoll.model.load import load


def test_init_does_not_write_over_a_file(atoll, here):
    before = (here / "atoll.yaml").read_text()
    said = atoll("init")
    assert said.code == 2
    assert "there is atoll.yaml already" in said.err
    assert "--print" in said.err
    assert (here / "atoll.yaml").read_text() == before


@pytest.mark.parametrize("empty", [False, True])
def test_init_writes_a_file_that_loads(atoll, here, empty):
    (here / "atoll.yaml").unlink()
    if empty:
        (here / "atoll.yaml").write_text("\n")
    (here / "Procfile").write_text("web: python -m http.server $PORT\n")
    said = atoll("init")
    assert said.code == 0
    assert "`atoll plan` shows what it would do" in said.out
    assert "web" in load(here / "atoll.yaml").services


def test_init_where_nothing_can_be_written_says_so(atoll, here, monkeypatch):
    (here / "atoll.yaml").unlink()
    (here / "Procfile").write_text("web: python -m http.server $PORT\n")

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", read_only)
    said = atoll("init")
    assert said.code == 2
    assert "atoll.yaml cannot be written: Read-only file system" in said.err
    assert "--print" in said.err


def test_init_with_print_writes_nothing(atoll, here):
    (here / "atoll.yaml").unlink()
    (here / "Procfile").write_text("web: python -m http.server $PORT\n")
    assert "services:" in atoll("init", "--print").out
    assert not (here / "atoll.yaml").exists()


@pytest.fixture
def healthy(monkeypatch):
    monkeypatch.setattr(start, "examine", lambda: (Finding("sandboxes", ok=True, fact="bwrap works"),))


def listening_at(here, port):
    text = (here / "atoll.yaml").read_text()
    (here / "atoll.yaml").write_text(text.replace("system: shop\n", f"system: shop\ngateway: {{listen: {port}}}\n"))


def test_doctor_looks_whether_the_port_of_the_file_is_free(atoll, here, healthy):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        listening_at(here, port)
        said = atoll("doctor")
        assert said.code == 1
        why = f"Address already in use by process {os.getpid()} ("
        assert f"gateway.listen: 127.0.0.1:{port} cannot be listened on: {why}" in said.out
        assert "→ choose another port in atoll.yaml, or end what holds it" in said.out
    said = atoll("doctor")
    assert (said.code, f"127.0.0.1:{port} is free" in said.out) == (0, True)


def test_doctor_does_not_take_the_system_itself_for_a_stranger(atoll, here, healthy, monkeypatch):
    monkeypatch.setattr(start, "holder", lambda _: 4242)
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        listening_at(here, gateway.getsockname()[1])
        assert atoll("doctor").code == 0


@pytest.mark.parametrize("text", [None, "services: [what was being writ"])
def test_doctor_is_about_the_machine_also_without_a_file(atoll, here, healthy, text):
    (here / "atoll.yaml").unlink()
    if text is not None:
        (here / "atoll.yaml").write_text(text)
    said = atoll("doctor", "--json")
    assert said.code == 0
    assert [one.name for one in said.items] == ["sandboxes"]


def test_the_schema_is_one(atoll):
    assert json.loads(atoll("schema").out)["$schema"].startswith("https://json-schema.org/")


def test_explain_shows_where_a_value_came_from(atoll):
    said = atoll("explain", "orders.instances")
    assert said.code == 0
    assert "orders.instances" in said.out
    assert "atoll.yaml:" in said.out
    assert atoll("explain", "orders.instances", "--json").items[0].value == "2"


def test_explain_in_a_pipe_has_no_blanks_up_to_the_longest_sentence(atoll):
    lines = atoll("explain", "orders").out.splitlines()
    assert len(lines) > 10
    assert [line for line in lines if line != line.rstrip()] == []


def test_explain_of_what_is_not_there(atoll):
    said = atoll("explain", "ordrs")
    assert said.code == 2
    assert "orders" in said.err


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_doctor_tells_by_its_exit_code(atoll, here, monkeypatch, ok, code):
    (here / "atoll.yaml").unlink()  # whether the port in it is free here is another question
    monkeypatch.setattr(start, "examine", lambda: (Finding("sandboxes", ok, "bwrap [x] works", "apt-get install it"),))
    said = atoll("doctor")
    assert said.code == code
    assert "sandboxes: bwrap [x] works" in said.out
    assert ("→ apt-get install it" in said.out) is not ok
    machine = atoll("doctor", "--json")
    assert (machine.code, machine.items[0].ok) == (code, ok)


def test_no_file_says_where_it_looked_and_what_to_do(atoll, here):
    (here / "atoll.yaml").unlink()
    said = atoll("status")
    assert said.code == 2
    assert f"there is no atoll.yaml in {here} or above it" in said.err
    assert "→ write one with `atoll init`" in said.err


def test_the_file_is_found_from_below(atoll, here, monkeypatch):
    monkeypatch.chdir(here / "orders")
    assert atoll("plan").code == 1


def test_a_verb_that_is_not_there(atoll):
    said = atoll("plam")
    assert said.code == 2
    assert "plam" in said.err


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_verb(atoll, option):
    said = atoll(option)
    assert said.code == 0
    for verb in ("init", "doctor", "up", "plan", "apply", "down", "status", "logs", "deploy", "rollback", "dashboard"):
        assert f"\n  {verb} " in said.out


@pytest.mark.parametrize("group", [(), ("flags",)])
def test_help_cuts_no_sentence_in_a_narrow_terminal(atoll, group, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = atoll(*group, "--help")
    listed = said.out.partition("\nCommands:\n")[2]
    assert listed
    assert [line for line in listed.splitlines() if not line.endswith(("?", "."))] == []
    assert "..." not in listed


def test_no_verb_shows_the_help(atoll):
    said = atoll()
    assert "Usage: atoll" in said.out + said.err
