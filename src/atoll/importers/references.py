"""Which other services a source mentions, by the two ways in which Atoll lets it find them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from atoll.importers.files import text_or_nothing

ENDINGS = (".py", ".js", ".mjs", ".cjs", ".ts", ".go", ".rb", ".java", ".rs", ".php")
MOST_FILES = 500


def calls_of(source: Path, own: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The *names* that files below *source* mention as `http://name` or `NAME_URL`, without its own."""
    texts = [text_or_nothing(path) for path in islice(_files(source), MOST_FILES)]
    return tuple(n for n in names if n != own and any(mention(n).search(text) for text in texts))


def mention(name: str) -> re.Pattern[str]:
    """What mentions the service *name*: its URL, or the variable that holds it."""
    variable = name.upper().replace("-", "_") + "_URL"
    return re.compile(rf"\b{variable}\b|https?://{re.escape(name)}(?![\w.-])")


def _files(directory: Path) -> Iterator[Path]:
    for root, directories, files in os.walk(directory):
        directories[:] = sorted(d for d in directories if not d.startswith(".") and d not in {"node_modules", "venv"})
        yield from (Path(root, name) for name in sorted(files) if name.endswith(ENDINGS))
