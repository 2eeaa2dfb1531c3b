"""The table agrees with the types, the schema and the committed reference."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from ruamel.yaml import YAML

from atoll.kit.policy import Breaker, Bulkhead, Retry
from atoll.model.fields import SECTIONS, Shape, known
from atoll.model.reference import TITLES, reference
from atoll.model.schema import schema
from atoll.model.system import CallPolicy, Check, Compare, Gateway, Health, Resources, Rollout, Route, Service
from atoll.values.quantities import show_duration, show_percent

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "model"
CASES = sorted(GOLDEN.glob("*.in.yaml"))
KINDS = {
    "bad-unknown-keys",
    "bad-words-of-others",
    "bad-not-yet",
    "bad-no-services",
    "bad-nothing-inside",
    "bad-shapes",
}


@pytest.mark.parametrize(
    ("section", "key", "default"),
    [
        ("gateway", "listen", f"{Gateway().host}:{Gateway().listen}"),
        ("service", "runtime", Service("x").runtime),
        ("service", "instances", str(Service("x").instances)),
        ("resources", "pids", str(Resources().pids)),
        ("check", "interval", show_duration(Check().interval)),
        ("check", "timeout", show_duration(Check().timeout)),
        ("check", "failures", str(Check().failures)),
        ("health", "startup", show_duration(Health().startup)),
        ("route", "timeout", show_duration(Route("/").policy.timeout)),
        ("route", "retries", str(Retry().retries)),
        ("call", "timeout", show_duration(CallPolicy().timeout)),
        ("call", "idle", show_duration(CallPolicy().idle)),
        ("call", "retries", str(Retry().retries)),
        ("call", "concurrency", str(Bulkhead().limit)),
        ("call", "queue", str(Bulkhead().queue)),
        ("retries", "count", str(Retry().retries)),
        ("retries", "base", show_duration(Retry().base)),
        ("retries", "cap", show_duration(Retry().cap)),
        ("retries", "budget", show_percent(CallPolicy().retry.budget.ratio)),
        ("breaker", "consecutive", str(Breaker().consecutive)),
        ("breaker", "min-calls", str(Breaker().min_calls)),
        ("breaker", "window", show_duration(Breaker().window)),
        ("breaker", "open", show_duration(Breaker().open)),
        ("release", "strategy", Rollout().strategy),
        ("release", "surge", str(Rollout().surge)),
        ("release", "drain", show_duration(Rollout().drain)),
        ("release", "grace", show_duration(Rollout().grace)),
        ("compare", "share", show_percent(Compare().share)),
        ("compare", "concurrency", str(Compare().concurrency)),
        ("compare", "timeout", show_duration(Compare().timeout)),
        ("compare", "samples", str(Compare().samples)),
        ("compare", "for", show_duration(Compare().least)),
        ("compare", "headers", ", ".join(Compare().headers)),
    ],
)
def test_the_defaults_of_the_table_are_those_of_the_types(section: str, key: str, default: str) -> None:
    assert known(section)[key].default == default


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_says_what_it_means_and_why_its_default(section: str) -> None:
    for field in SECTIONS[section]:
        assert field.meaning
        assert not field.default or field.reason
        assert not field.section or field.section in SECTIONS
        assert (field.shape is Shape.CHOICE) == bool(field.choices)
        assert set(field.also).isdisjoint(SECTIONS[section][n].key for n in range(len(SECTIONS[section])))


def test_the_committed_reference_is_the_table() -> None:
    """Rewrite it with `python -m atoll.model.reference > docs/reference/file.md`."""
    assert (ROOT / "docs" / "reference" / "file.md").read_text(encoding="utf-8") == reference()


def test_the_reference_has_every_section() -> None:
    assert set(TITLES) == set(SECTIONS)
    for fields in SECTIONS.values():
        for field in fields:
            assert f"`{field.key}`" in reference()


def test_the_schema_describes_every_field_and_points_nowhere_else() -> None:
    whole = schema()
    definitions: dict[str, Any] = {"file": whole, **cast("dict[str, Any]", whole["$defs"])}
    for name, fields in SECTIONS.items():
        assert set(definitions[name]["properties"]) == {field.key for field in fields if not field.later}
        assert definitions[name]["additionalProperties"] is False
    assert references(whole) <= {f"#/$defs/{name}" for name in SECTIONS}


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(item) for item in node)) if isinstance(node, list) else set()


@pytest.fixture(scope="module")
def accepts() -> Callable[[object], bool]:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    jsonschema.Draft202012Validator.check_schema(schema())
    judge: Callable[[object], bool] = jsonschema.Draft202012Validator(schema()).is_valid
    return judge


def as_an_editor_reads_it(path: Path) -> object:
    """By the core schema of YAML 1.2, which has no dates, whatever the first line of the file asks for."""
    text = path.read_text(encoding="utf-8").replace("%YAML 1.1", "%YAML 1.2")
    return without_dates(YAML(typ="safe", pure=True).load(text))


def without_dates(node: object) -> object:
    if isinstance(node, dict):
        return {key: without_dates(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_dates(value) for value in node]
    return node.isoformat() if isinstance(node, date) else node


@pytest.mark.parametrize("case", [c for c in CASES if not c.name.startswith("bad-")], ids=lambda path: path.name)
def test_the_schema_accepts_what_load_accepts(case: Path, accepts: Callable[[object], bool]) -> None:
    assert accepts(as_an_editor_reads_it(case))


@pytest.mark.parametrize("case", sorted(KINDS))
def test_the_schema_refuses_wrong_keys_and_shapes(case: str, accepts: Callable[[object], bool]) -> None:
    assert not accepts(as_an_editor_reads_it(GOLDEN / f"{case}.in.yaml"))


def test_the_schema_refuses_one_unknown_key_at_every_level(accepts: Callable[[object], bool]) -> None:
    def file(service: dict[str, object]) -> dict[str, object]:
        return {"system": "shop", "services": {"web": {"source": "web", **service}}}

    parts = ("resources", "health", "release")
    assert accepts(file({}))
    assert all(accepts(file({part: {"x-note": 1}})) for part in parts)
    assert not any(accepts(file({part: {"nope": 1}})) for part in parts)
    assert not accepts(file({"calls": {"api": {"breaker": {"nope": 1}}}}))
    assert not accepts(file({"calls": {"api": {"retries": {"nope": 1}}}}))
    assert not accepts(file({"nope": 1}))
