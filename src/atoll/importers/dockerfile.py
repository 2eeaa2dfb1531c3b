"""What a Dockerfile says about starting: the commands of a stage, the ports it names, and what is not done here."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace

SHELL = ("/bin/sh", "-c")
_INSTRUCTION = re.compile(r"\s*(FROM|CMD|ENTRYPOINT|EXPOSE|RUN|ENV)\s+(.*)", re.IGNORECASE)
_STAGE = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_BUILT = re.compile(
    r"(?:--\S+\s+)*(?:pip3?|python3? -m pip|uv|npm|python3? -m venv)"
    r"(?:\s+(?:install|sync|pip|ci|run build|\S*venv)\b[^&|;]*)?"
)
"""A command that a builder of ours stands in for."""
_VARIABLE = re.compile(r"(?:^|\s)([A-Za-z_]\w*)(?==)|^([A-Za-z_]\w*)\s")
_LONGEST = 100
_PORT = re.compile(r"(?<!\S)(\d+)(?:/tcp)?(?!\S)")


@dataclass(frozen=True, slots=True)
class Start:
    """
    The arguments of `ENTRYPOINT` and of `CMD` (a shell form as Docker runs it), and what `EXPOSE` names.

    `runs` and `variables` are what does not carry over: commands that no builder of ours stands in for, names of `ENV`.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person has to see to, a sentence each."""
        runs = tuple(f"its Dockerfile's `RUN {_short(run)}` does not carry over" for run in self.runs)
        names = ", ".join(dict.fromkeys(self.variables))
        env = (f"its Dockerfile's `ENV` of {names} does not carry over: write what it needs under `env:`",)
        return (*runs, *(env if names else ()))

    @property
    def arguments(self) -> tuple[str, ...]:
        """What is run: an entrypoint in shell form ignores the command."""
        return self.entrypoint if self.entrypoint[:2] == SHELL else (*self.entrypoint, *self.command)


def start_of(text: str, target: str | None = None) -> Start:
    """
    How the image of this Dockerfile starts (Dockerfile reference: FROM, CMD, ENTRYPOINT, EXPOSE).

    The stage *target* counts, or the last one; a stage that is built on another one inherits from it.
    """
    stages: dict[str, Start] = {}
    start, name = Start(), ""
    for line in _logical_lines(text):
        match = _INSTRUCTION.fullmatch(line)
        if match is None:
            continue
        word, rest = match[1].upper(), match[2].strip()
        stage = _STAGE.fullmatch(rest) if word == "FROM" else None
        if stage is not None:
            stages[name] = start
            start, name = stages.get(stage[1].lower(), Start()), (stage[2] or "").lower()
        elif word == "CMD":
            start = replace(start, command=_arguments(rest))
        elif word == "ENTRYPOINT":
            start = replace(start, entrypoint=_arguments(rest))
        elif word == "EXPOSE":
            start = replace(start, ports=(*start.ports, *_PORT.findall(rest)))
        elif word == "ENV":
            start = replace(start, variables=(*start.variables, *(a or b for a, b in _VARIABLE.findall(rest))))
        elif word == "RUN" and not _BUILT.fullmatch(rest):
            start = replace(start, runs=(*start.runs, rest))
    stages[name] = start
    return stages.get(target.lower(), start) if target else start


def command_line(arguments: tuple[str, ...], ports: Iterable[str]) -> str:
    """
    The arguments as one line for a shell in which the literal *ports* have become `$PORT`.

    A port is only replaced where a shell will put it in: in words that need no quotes, and in the script of `sh -c`.
    """
    if arguments[:2] == SHELL and len(arguments) == len(SHELL) + 1:
        return _put_port(arguments[2], ports)
    words: list[str] = []
    for number, word in enumerate(arguments):
        quoted = shlex.quote(word)
        if number > 0 and arguments[number - 1] in {"-c", "-lc", "-ec"}:
            words.append(shlex.quote(_put_port(word, ports)))
        else:
            words.append(_put_port(word, ports) if quoted == word else quoted)
    return " ".join(words)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _put_port(text: str, ports: Iterable[str]) -> str:
    for port in ports:
        text = re.sub(rf"(?<![\w.$]){re.escape(port)}(?![\w.])", "$PORT", text)
    return text


def _arguments(text: str) -> tuple[str, ...]:
    """The arguments of the JSON form; the shell form is one for the shell."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    return (*SHELL, text)


def _logical_lines(text: str) -> list[str]:
    kept = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return re.sub(r"\\[ \t]*\n", " ", "\n".join(kept)).splitlines()
