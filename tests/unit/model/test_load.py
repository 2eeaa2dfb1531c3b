"""Files on a disk: bytes of any kind, sources that are there, and nothing but a System or its problems."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.errors import Refused
from atoll.model.fields import SECTIONS
from atoll.model.load import load, loads
from atoll.model.problems import InvalidSystem
from atoll.model.reading import LONGEST_MESSAGE
from atoll.model.source import BIGGEST

GOOD = "system: shop\nservices:\n  web: {source: web, health: /}\n"


def written(directory: Path, data: bytes) -> Path:
    path = directory / "atoll.yaml"
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InvalidSystem) as caught:
        load(path)
    return caught.value.message


def test_load(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    system = load(written(tmp_path, GOOD.encode()))
    assert system.directory == str(tmp_path)
    assert system == loads(GOOD, file="atoll.yaml", directory=str(tmp_path))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read") as caught:
        load(tmp_path / "atoll.yaml")
    assert "atoll init" in caught.value.hint


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        load(tmp_path)


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    assert "atoll.yaml:2:5: a byte that is not UTF-8" in refusal(written(tmp_path, b"system: shop\nab: \xff\n"))


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "atoll.yaml"
    with path.open("wb") as sparse:
        sparse.truncate(BIGGEST * 1000)
    assert "larger than 1Mi" in refusal(path)


def test_a_huge_file_is_not_blamed_for_the_character_it_was_cut_in(tmp_path: Path) -> None:
    assert "larger than 1Mi" in refusal(written(tmp_path, ("#" + "ü" * BIGGEST).encode()))


def test_a_source_that_is_missing_and_one_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = "system: shop\nservices:\n  a: {source: gone, health: /}\n  b: {source: file, health: /}\n"
    message = refusal(written(tmp_path, text.encode()))
    assert "atoll.yaml:3:7: the source of a is missing" in message
    assert "atoll.yaml:4:7: the source of b is a file" in message


def test_a_link_that_leads_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "web").symlink_to(outside)
    assert "leads out of" in refusal(written(inside, GOOD.encode()))


def test_links_in_a_circle_and_names_too_long_for_a_disk(tmp_path: Path) -> None:
    (tmp_path / "web").symlink_to("web")
    refusal(written(tmp_path, GOOD.encode()))
    refusal(written(tmp_path, GOOD.replace("source: web", f"source: {'x' * 5000}").encode()))


def test_problems_of_the_text_and_of_the_disk_come_together(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, (GOOD + "nope: 1\n").encode()))
    assert "unknown key 'nope'" in message
    assert "the source of web is missing" in message


def test_messages_neither_steer_nor_flood_a_terminal() -> None:
    name = "x" * 1000
    with pytest.raises(InvalidSystem) as caught:
        loads(f'system: s\nservices: {{"\\e[31m": {{}}, {name}: {{{name}: 1}}}}\n', file="f", directory="/d")
    assert "\x1b" not in caught.value.message
    assert max(len(problem.message) for problem in caught.value.problems) == LONGEST_MESSAGE + 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_system_or_problems(tmp_path: Path, data: bytes) -> None:
    try:
        load(written(tmp_path, data))
    except InvalidSystem as error:
        assert error.problems  # noqa: PT017 - both outcomes are right


KEYS = sorted(
    {field.key for fields in SECTIONS.values() for field in fields} | {"web", "api", "<<", "x-a", "https://a"}
)
LEAVES = st.sampled_from(
    [
        "",
        "~",
        "web",
        "api",
        "/",
        "5s",
        "50%",
        "3",
        "-1",
        "128Mi",
        "true",
        "no",
        "'2'",
        "../x",
        "&a x",
        "*a",
        "!t x",
        "\t",
    ]
) | st.text(max_size=12)
NODES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6).map(
            lambda entries: "{" + ", ".join(f"{k}: {v}" for k, v in entries.items()) + "}"
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(service=NODES, rest=NODES)
def test_any_shape_under_known_keys_is_a_system_or_problems(service: str, rest: str) -> None:
    text = (
        f"system: s\nservices: {{web: {service}, api: {{source: a, calls: {rest}, health: {rest}}}}}\ngateway: {rest}\n"
    )
    try:
        loads(text, file="f", directory="/d")
    except InvalidSystem as error:
        assert error.problems  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize("text", ["- [\n", "? a\n", "%TAG ! x\n---\na", "a: |2-\n x", "--- |\n%", "&a", "*", "\ufeff"])
def test_odd_yaml(text: str) -> None:
    with pytest.raises(InvalidSystem):
        loads(text, file="f", directory="/d")


def test_a_variable_that_linux_hands_to_no_program() -> None:
    text = "system: shop\nservices:\n  web: {{source: web, env: {{LONG: {}}}}}\n"
    loads(text.format("x" * (128 * 1024 - len("LONG=") - 1)), file="atoll.yaml", directory="/srv")
    with pytest.raises(InvalidSystem, match=r"services\.web\.env\.LONG is longer than Linux hands to a program"):
        loads(text.format("x" * (128 * 1024 - len("LONG="))), file="atoll.yaml", directory="/srv")
