"""Scripts and what they lead to, in git, to be read. ATOLL_GOLDEN=write writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atoll.testing.scripts import Player

HERE = Path(__file__).parent
SCRIPTS = sorted(HERE.glob("*.in"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_leads_to_its_transcript(script: Path) -> None:
    transcript = Player().play(script.read_text())
    golden = script.with_suffix(".out")
    if os.environ.get("ATOLL_GOLDEN") == "write":
        golden.write_text(transcript)
    assert transcript == golden.read_text()


def test_a_script_plays_the_same_each_time() -> None:
    script = (HERE / "rolling.in").read_text()
    assert Player().play(script) == Player().play(script)


@pytest.mark.parametrize("step", ["dance", "proxies dance", "limits dance=1", "behave v1 dance=1"])
def test_an_unknown_step_is_refused(step: str) -> None:
    with pytest.raises(ValueError, match="dance"):
        Player().play(step)
