"""The JSON Schema of the system file, for editors, from the table of fields."""

from __future__ import annotations

from atoll.model.fields import SECTIONS, Field, Shape

_PATTERNS = {
    Shape.DURATION: r"^(\d+(\.\d+)?(ms|s|m|h|d))+$",
    Shape.PERCENT: r"^\d+(\.\d+)?%$",
}
_SIZE = r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
_CPU = r"^(\d+m|\d+(\.\d{1,3})?)$"
_NAME = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"

Json = dict[str, object]


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
        "properties": {f.key: {"description": _words(f), **_value(f)} for f in fields},
        **({"required": required} if required else {}),
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


def _words(field: Field) -> str:
    default = f" Default: {field.default} ({field.reason})." if field.default else ""
    return field.meaning + default


def _value(field: Field) -> Json:
    match field.shape:
        case Shape.COUNT:
            value: Json = {"type": "integer", "minimum": 0}
        case Shape.PORT:
            value = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]}
        case Shape.FLAG:
            value = {"type": "boolean"}
        case Shape.CHOICE:
            value = {"enum": list(field.choices)}
        case Shape.DURATION | Shape.PERCENT:
            value = {"type": "string", "pattern": _PATTERNS[field.shape]}
        case Shape.SIZE | Shape.CPU:
            pattern = _SIZE if field.shape is Shape.SIZE else _CPU
            value = {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}]}
        case Shape.PATH | Shape.TEXT:
            value = {"type": "string"}
        case Shape.NAME:
            value = {"type": "string", "pattern": _NAME}
        case Shape.VARIABLES:
            value = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}
        case Shape.NAMED:
            item: Json = {"$ref": f"#/$defs/{field.section}"}
            return {"type": "object", "propertyNames": {"pattern": _NAME + "|^x-"}, "additionalProperties": item}
        case Shape.LIST:
            return _list(field)
        case Shape.SECTION:
            return {"anyOf": [{"$ref": f"#/$defs/{field.section}"}, {"type": "null"}]}
    if field.section:
        return {"anyOf": [value, {"$ref": f"#/$defs/{field.section}"}]}
    return value


def _list(field: Field) -> Json:
    text: Json = {"type": "string"}
    if not field.section:
        return {"anyOf": [text, {"type": "array", "items": text}]}
    inside: Json = {"$ref": f"#/$defs/{field.section}"}
    if field.key == "calls":
        named: Json = {"type": "object", "additionalProperties": {"anyOf": [inside, {"type": "null"}]}}
        return {"anyOf": [text, {"type": "array", "items": text}, named]}
    return {"anyOf": [text, {"type": "array", "items": {"anyOf": [text, inside]}}]}
