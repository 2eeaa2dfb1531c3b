"""What the screen makes of views."""

from __future__ import annotations

import pytest

from atoll import wire
from atoll.cli.screen import show_plan
from atoll.plan.preview import Difference, FieldChange, Kind

HIDDEN = "(not shown)"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("2", "3", "2 → 3"),
        (None, "3", "not set → 3"),
        ("3", None, "3 → not set"),
        (None, HIDDEN, "not set → (not shown)"),
        (HIDDEN, HIDDEN, "changed (no value of it is shown)"),
    ],
)
def test_a_field_before_and_after(capsys, before, after, words):
    change = FieldChange("services.web.env.TOKEN", before, after)
    show_plan(wire.PlanView("1-ab", (Difference(Kind.RELEASE, "web", "a new release", "env", (change,)),), ()))
    assert f"    services.web.env.TOKEN: {words}\n" in capsys.readouterr().out
