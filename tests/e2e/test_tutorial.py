"""The tutorial, done as it is written: its programs, its file, its commands."""

import re
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(180)]

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL, re.DOTALL)


def test_the_tutorial_does_what_it_says(system):
    clock, greeter = blocks("python")
    (file,) = blocks("yaml")
    for name, program in (("clock", clock), ("greeter", greeter)):
        (system.directory / name).mkdir()
        (system.directory / name / "main.py").write_text(program)
    assert "greeter" in system.run("init", "--print").stdout
    system.file.write_text(f"gateway: {{listen: {system.port}}}\n{file}")
    assert system.run("plan", ok=False).returncode == 1
    system.run("up", "--detach")
    status, words = system.get("/")
    assert (status, words[:6]) == (200, "Hello!")
    assert "atoll.yaml" in system.run("explain", "greeter").stdout

    system.file.write_text(system.file.read_text().replace("    calls: [clock]\n", ""))
    system.run("apply", "--yes")
    assert "greeter may not call clock: add `clock` under services.greeter.calls" in system.get("/")[1]

    system.file.write_text(f"gateway: {{listen: {system.port}}}\n{file}")
    main = system.directory / "greeter" / "main.py"
    main.write_text(main.read_text().replace("Hello!", "Good day!"))
    system.run("apply", "--yes")
    assert system.get("/")[1].startswith("Good day!")
    system.run("rollback", "greeter")
    system.run("down")
    assert system.left() == []
