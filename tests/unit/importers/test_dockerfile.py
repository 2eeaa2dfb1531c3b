from __future__ import annotations

import pytest

from atoll.importers.dockerfile import command_line, start_of


def line(text: str, target: str | None = None) -> str:
    start = start_of(text, target)
    return command_line(start.arguments, start.ports)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('FROM a\nCMD ["x", "-p", "80"]\nEXPOSE 80', "x -p $PORT"),
        ('FROM a\nCMD ["x"]\nENTRYPOINT ["tini", "--"]', "tini -- x"),
        ("FROM a\nENTRYPOINT run it\nCMD ignored", "run it"),
        ('FROM a\nENTRYPOINT ["e"]\nCMD a  b', "e /bin/sh -c 'a  b'"),
        ("from a\ncmd \\\n  # why\n  python x.py", "python x.py"),
        ("FROM a\nEXPOSE 80 53/udp 81/tcp\nCMD x 80 53 81 8080 1.80", "x $PORT 53 $PORT 8080 1.80"),
        ("", ""),
        ("FROM a\nCMD " + "[" * 100_000, "[" * 100_000),
        ('FROM a\nEXPOSE 80\nCMD ["sh", "-c", "x 80"]', "sh -c 'x $PORT'"),
        ('FROM a\nEXPOSE 80\nCMD ["x", "a 80"]', "x 'a 80'"),
    ],
)
def test_how_an_image_starts(text: str, expected: str) -> None:
    assert line(text).split() == expected.split()


def test_a_stage_inherits_and_a_target_counts() -> None:
    text = 'FROM a AS one\nCMD ["one"]\nFROM one AS two\nENTRYPOINT ["e"]\nFROM b\nCMD ["three"]'
    assert line(text, "two") == "e one"
    assert line(text) == "three"
    assert line(text, "unknown") == "three"


@pytest.mark.parametrize(
    ("text", "remarks"),
    [
        (
            "FROM a\nRUN apt-get update && \\\n    apt-get install -y ffmpeg",
            ["RUN apt-get update && apt-get install -y ffmpeg`"],
        ),
        ("FROM a\nRUN pip install -r requirements.txt", []),
        ("FROM a\nRUN pip install x && apt-get install y", ["RUN pip install x && apt-get install y`"]),
        ("FROM a\nRUN npm ci --omit=dev\nRUN --mount=type=cache,target=/x uv sync\nRUN npm run build", []),
        ("FROM a\nRUN python manage.py collectstatic", ["RUN python manage.py collectstatic`"]),
        ("FROM a\nENV A=1 B='x y'\nENV C some words\nENV A=2", ["`ENV` of A, B, C does"]),
        ("FROM a AS one\nRUN first\nFROM b\nENV X=1", ["`ENV` of X does"]),
        ("FROM a AS one\nRUN first\nFROM one\nRUN second", ["RUN first`", "RUN second`"]),
        ("FROM a\nRUN " + "x" * 300, ["RUN " + "x" * 100 + "...`"]),
    ],
)
def test_what_does_not_carry_over_is_said(text: str, remarks: list[str]) -> None:
    said = start_of(text).remarks
    assert len(said) == len(remarks)
    assert all(part in whole for part, whole in zip(remarks, said, strict=True))
