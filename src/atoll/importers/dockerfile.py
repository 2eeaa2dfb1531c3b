"""What a Dockerfile says about starting: the command of its last stage and the port it names."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

_INSTRUCTION = re.compile(r"\s*(FROM|CMD|ENTRYPOINT|EXPOSE)\s+(.*)", re.IGNORECASE | re.DOTALL)
_PORT = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Start:
    """Arguments of the program, or one line for a shell; the ports that `EXPOSE` names."""

    arguments: tuple[str, ...] = ()
    line: str = ""
    ports: tuple[str, ...] = ()


def start_of(text: str) -> Start:
    """
    How the image of this Dockerfile starts (Dockerfile reference, CMD and ENTRYPOINT).

    Only the last stage counts, and in it the last instruction of each kind. A shell form of ENTRYPOINT ignores CMD.
    """
    command, entrypoint, ports = "", "", list[str]()
    for line in _logical_lines(text):
        match = _INSTRUCTION.fullmatch(line)
        if match is None:
            continue
        word, rest = match[1].upper(), match[2].strip()
        if word == "FROM":
            command, entrypoint, ports = "", "", []
        elif word == "CMD":
            command = rest
        elif word == "ENTRYPOINT":
            entrypoint, command = rest, ""
        else:
            ports += _PORT.findall(rest.partition("/")[0])
    return _start(entrypoint, command, tuple(ports))


def _start(entrypoint: str, command: str, ports: tuple[str, ...]) -> Start:
    entry, arguments = _exec_form(entrypoint), _exec_form(command)
    if entrypoint and entry is None:
        return Start(line=entrypoint, ports=ports)
    if command and arguments is None:
        return Start((*entry, "/bin/sh", "-c", command), ports=ports) if entry else Start(line=command, ports=ports)
    return Start((*(entry or ()), *(arguments or ())), ports=ports)


def _exec_form(text: str) -> tuple[str, ...] | None:
    """The arguments of the JSON form, None where it is the shell form."""
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def _logical_lines(text: str) -> list[str]:
    kept = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return re.sub(r"\\[ \t]*\n", " ", "\n".join(kept)).splitlines()


def with_port(start: Start, ports: tuple[str, ...]) -> str:
    """
    The start as a command line in which the literal *ports* have become `$PORT`.

    A port is only replaced where a shell will see it: in words that need no quotes, and in the script of `sh -c`.
    """
    if not start.arguments:
        return start.line if "'" in start.line else _put_port(start.line, ports)
    words: list[str] = []
    for number, word in enumerate(start.arguments):
        script = number > 0 and start.arguments[number - 1] in {"-c", "-lc", "-ec"}
        quoted = shlex.quote(word)
        words.append(shlex.quote(_put_port(word, ports)) if script else quoted)
        if quoted == word:
            words[-1] = _put_port(word, ports)
    return " ".join(words)


def _put_port(text: str, ports: tuple[str, ...]) -> str:
    for port in ports:
        text = re.sub(rf"(?<![\w.$]){re.escape(port)}(?![\w.])", "$PORT", text)
    return text
