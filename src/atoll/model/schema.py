"""The JSON Schema of the system file, for editors, from the table of fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from atoll.model.fields import SECTIONS, Field, Shape
from atoll.values.names import LABEL, LONGEST

Json = dict[str, object]

_TEXT: Json = {"type": "string"}
_IGNORED: Json = {"^x-": {}}
_NAME: Json = {"type": "string", "pattern": f"^{LABEL}$", "maxLength": LONGEST}
_LEAVES: Mapping[Shape, Json] = MappingProxyType(
    {
        Shape.NAME: _NAME,
        Shape.TEXT: _TEXT,
        Shape.PATH: _TEXT,
        Shape.COUNT: {"type": "integer", "minimum": 0},
        Shape.PORT: {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, _TEXT]},
        Shape.FLAG: {"type": "boolean"},
        Shape.DURATION: {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"},
        Shape.PERCENT: {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
        Shape.SIZE: {
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$",
            "minimum": 0,
        },
        Shape.CPU: {"type": ["string", "number"], "pattern": r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$", "minimum": 0},
        Shape.VARIABLES: {
            "type": "object",
            "propertyNames": {"pattern": "^([A-Za-z_][A-Za-z0-9_]*|x-.*)$"},
            "patternProperties": _IGNORED,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        },
        Shape.PATHS: {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
    }
)


def schema() -> Json:
    """JSON Schema 2020-12 of `atoll.yaml`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The system file of Atoll",
        **_section("file"),
        "$defs": {name: _section(name) for name in SECTIONS if name != "file"},
    }


def _section(name: str) -> Json:
    fields = [f for f in SECTIONS[name] if not f.later]
    required = [f.key for f in fields if f.required]
    return {
        "type": "object",
        "properties": {f.key: {"description": _words(f), "anyOf": list(_values(f))} for f in fields},
        **({"required": required} if required else {}),
        "patternProperties": _IGNORED,
        "additionalProperties": False,
    }


def _words(field: Field) -> str:
    return f"{field.meaning} Default: {field.default} ({field.reason})." if field.default else field.meaning


def _values(field: Field) -> Iterator[Json]:
    """The forms that a value may have. Nothing after the colon is as good as no key at all, but where it has to be."""
    inside: Json = {"$ref": f"#/$defs/{field.section}"}
    match field.shape:
        case Shape.CHOICE:
            yield {"enum": list(field.choices)}
        case Shape.NAMED:
            yield {**_mapping(inside, {"pattern": f"^({LABEL}|x-.*)$"}), "minProperties": 1}
        case Shape.LIST:
            yield from _list(field, inside)
        case Shape.SECTION:
            yield inside
        case leaf:
            yield _LEAVES[leaf]
            if field.section:
                yield inside
    if not field.required:
        yield {"type": "null"}


def _list(field: Field, inside: Json) -> Iterator[Json]:
    """`calls` is a list of names or a mapping of them; other lists hold words, or sections."""
    yield _TEXT
    if field.section == "call":
        yield {"type": "array", "items": _TEXT}
        yield _mapping({"anyOf": [inside, {"type": "null"}]})
    else:
        yield {"type": "array", "items": {"anyOf": [_TEXT, inside]} if field.section else _TEXT}


def _mapping(value: Json, names: Json | None = None) -> Json:
    return {
        "type": "object",
        **({"propertyNames": names} if names else {}),
        "patternProperties": _IGNORED,
        "additionalProperties": value,
    }
