"""docs/kit/flags.md, done as it is written, against a server that serves the document in it."""

import json
import re
from datetime import date
from pathlib import Path

from flagserver import FlagServer
from openfeature import api

from atoll.kit.flags import lint
from atoll.kit.flags.compiling import NAMES
from atoll.kit.flags.lint import KINDS

PAGE = (Path(__file__).parents[4] / "docs" / "kit" / "flags.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_does_what_it_says(tmp_path, monkeypatch, capsys):
    (document,) = blocks("json")
    monkeypatch.chdir(tmp_path)
    Path("flags.json").write_text(document, encoding="utf-8")
    server = FlagServer(tmp_path / "flags.sock").start()
    server.publish(document.encode())
    program = "".join(
        block.replace("/run/atoll/flags.sock", str(server.path)).replace("/var/cache/shop", str(tmp_path / "cache"))
        + ("assert flags.ready(5)\n" if number == 0 else "")
        for number, block in enumerate(blocks("python"))
    )
    names = {"app": None, "site": None}  # of the reader's own
    try:
        exec(compile(program, "docs/kit/flags.md", "exec"), names)
        assert names["checkout"](type("User", (), {"id": "1", "email": "x@corp.com", "country": "DE"})) == "new"
    finally:
        api.shutdown()
        api.clear_providers()
        if "flags" in names:
            names["flags"].close()
        server.stop()


def test_the_page_names_everything_there_is():
    assert lint(json.loads(blocks("json")[0]), today=date(2026, 11, 25)) == []
    words = set(
        PAGE.split("Targeting is JsonLogic")[1].split("Results equal")[0].replace("`", " ").replace(".", " ").split()
    )
    assert words >= NAMES
    assert all(f"`{kind}`" in PAGE for kind in KINDS)
