"""What each file means, or everything that is wrong with it, as text in git. ATOLL_GOLDEN=write rewrites them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest

from atoll.model.load import loads
from atoll.model.problems import InvalidSystem
from atoll.model.system import System

GOLDEN = Path(__file__).parents[2] / "golden" / "model"
CASES = sorted(GOLDEN.glob("*.in.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_golden(case: Path) -> None:
    expected = case.with_name(case.name.replace(".in.yaml", ".out.txt"))
    got = meaning(case.read_bytes().decode("utf-8"))
    if os.environ.get("ATOLL_GOLDEN") == "write":
        expected.write_text(got, encoding="utf-8")
    assert got == expected.read_text(encoding="utf-8")


def test_every_answer_has_its_question() -> None:
    answers = {path.name.removesuffix(".out.txt") for path in GOLDEN.glob("*.out.txt")}
    assert answers == {path.name.removesuffix(".in.yaml") for path in CASES}
    assert len(answers) > 25


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_bad_files_are_refused_and_only_those(case: Path) -> None:
    refused = expected_text(case).partition("\n")[0].endswith("in the system file")
    assert refused == case.name.startswith("bad-")


def expected_text(case: Path) -> str:
    return case.with_name(case.name.replace(".in.yaml", ".out.txt")).read_text(encoding="utf-8")


def meaning(text: str) -> str:
    try:
        system = loads(text, file="atoll.yaml", directory="/srv/shop")
    except InvalidSystem as error:
        return f"{error.message}\n"
    return "".join(f"{line}\n" for line in (*shown(system, ""), *written(system), *(f"! {w}" for w in system.warnings)))


def written(system: System) -> Iterator[str]:
    yield "written at"
    for path, origin in system.origins.items():
        if origin.line:
            yield f"  {origin.line}:{origin.column} {path}"


def shown(value: object, pad: str) -> Iterator[str]:
    """Fields that differ from their defaults, one in a line."""
    assert is_dataclass(value)
    for one in fields(value):
        inside = getattr(value, one.name)
        factory = one.default_factory
        default = factory() if factory is not MISSING else one.default
        if one.compare and inside != default:
            yield from entry(one.name, inside, pad)


def entry(name: str, value: object, pad: str) -> Iterator[str]:
    if is_dataclass(value):
        yield f"{pad}{name}"
        yield from shown(value, f"{pad}  ")
    elif isinstance(value, Mapping):
        for key, inside in value.items():
            yield from entry(f"{name} {key}", inside, pad)
    elif isinstance(value, tuple) and value and is_dataclass(value[0]):
        for number, inside in enumerate(value):
            yield from entry(f"{name} {number}", inside, pad)
    else:
        yield f"{pad}{name} = {value!r}"
