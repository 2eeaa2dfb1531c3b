"""The reference of the system file as a page of documentation, from the table of fields."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from atoll.model.fields import SECTIONS, WORDS, Field

TITLES = {
    "file": "The file",
    "gateway": "gateway",
    "service": "A service",
    "resources": "resources",
    "check": "A check",
    "health": "health",
    "route": "A route",
    "step": "A step of a canary release",
    "judge": "The judge of a canary release",
    "call": "A call",
    "retries": "retries",
    "breaker": "breaker",
    "release": "release",
    "compare": "compare",
    "intended": "An intended difference",
}


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# The system file, `atoll.yaml`"
    yield ""
    yield "Generated from the table that also parses the file; do not edit. YAML 1.2: `no` and `on` are words."
    yield "Keys that begin with `x-` are ignored everywhere, for anchors. `atoll explain SERVICE` shows every value"
    yield "of your own file with the line, or the default, that it came from. `atoll schema` prints the JSON Schema."
    yield ""
    yield "Durations are written `300ms`, `2s`, `1h30m`; sizes `64k`, `128Mi`, `1G`; cpu `500m` (half a core) or `2`;"
    yield "percentages `99.9%`. Anchors, aliases and merge keys (`<<`) work; tags and second documents do not."
    for name, title in TITLES.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield "| key | written as | default | meaning |"
        yield "|---|---|---|---|"
        yield from (_row(field) for field in SECTIONS[name] if not field.later)
        later = [f for f in SECTIONS[name] if f.later]
        if later:
            yield ""
            yield "Kept for later: " + "; ".join(f"`{f.key}` ({f.later})" for f in later) + "."


def _row(field: Field) -> str:
    written = field.short or WORDS[field.shape]
    if field.choices:
        written = " or ".join(f"`{c}`" for c in field.choices)
    if field.later_choices:
        written += f" (later: {', '.join(f'`{c}`' for c in field.later_choices)})"
    if field.section:
        written += f", see *{TITLES[field.section]}*"
    if field.example:
        written += f", e.g. `{field.example}`"
    default = f"`{field.default}`" if field.default else "required" if field.required else "none"
    reason = f" ({field.reason})" if field.reason else ""
    return f"| `{field.key}` | {written} | {default}{reason} | {field.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
