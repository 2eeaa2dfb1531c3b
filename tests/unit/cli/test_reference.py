"""The page of commands says what the commands say."""

from pathlib import Path

from atoll.cli.main import atoll
from atoll.cli.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "commands.md"


def test_the_page_is_current():
    assert PAGE.read_text() == reference(atoll), (
        "write it anew: python -c 'from atoll.cli.main import atoll; from atoll.cli.reference import reference;"
        ' print(reference(atoll), end="")\' > docs/reference/commands.md'
    )


def test_every_command_is_on_the_page():
    page = reference(atoll)
    assert all(f"## atoll {name}\n" in page for name in atoll.commands)
    assert "## atoll flags kill\n" in page
