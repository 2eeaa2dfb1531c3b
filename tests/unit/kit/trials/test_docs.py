"""docs/kit/experiment.md, done as it is written."""

import re
from inspect import signature
from pathlib import Path

from atoll.kit import experiment

PAGE = (Path(__file__).parents[4] / "docs" / "kit" / "experiment.md").read_text(encoding="utf-8")


def test_the_page_does_what_it_says():
    program = "".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    names = {}
    exec(compile(program, "docs/kit/experiment.md", "exec"), names)
    assert names["sampled"].state()["calls"] == 0


def test_the_page_names_everything_there_is():
    table = PAGE.partition("| setting |")[2].partition("```")[0]
    assert set(signature(experiment).parameters) - {"name"} <= set(re.findall(r"`(\w+)", table))
    ends = {name for name, value in experiment("e", candidate=abs).state().items() if not isinstance(value, str)}
    said = set(re.findall(r"`(\w+)`", PAGE.partition("## What is counted")[2].partition("## The rules")[0]))
    assert ends - {"calls", "outstanding"} <= said
