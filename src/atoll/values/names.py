"""What a thing may be called: RFC 1123 labels that begin with a letter, short enough for every place they appear in."""

from __future__ import annotations

import re

LONGEST = 40
LAST_PORT = 65535
RESERVED = frozenset({"gateway", "mesh", "flags", "localhost", "atoll", "host", "system", "all"})

LABEL = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
"""The form of a name, as a pattern that JSON Schema understands as well."""

CALLER_HEADER = "x-atoll-caller"
"""Names the service that calls. The proxy sets it for each outlet; what a caller writes there is replaced."""
FLAGS = "flags"
"""The host at which services ask for feature flags."""
FLAG_VARIABLES = ("FLAGS_URL", "OFREP_ENDPOINT")
"""What tells a service where that is: ours, and that of OpenFeature's remote evaluation protocol."""

ITSELF = ("localhost", "127.0.0.1")
"""Where every program reaches itself. None asks a proxy for these."""

_LABEL = re.compile(LABEL)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


def wrong_name(name: str) -> str:
    """Why *name* cannot be the name of a system or a service; empty where it can."""
    if not name:
        return "a name may not be empty"
    if len(name) > LONGEST:
        return f"a name has at most {LONGEST} characters, this one has {len(name)}"
    if not _LABEL.fullmatch(name):
        return "a name consists of small letters, digits and single hyphens inside, and begins with a letter"
    if name in RESERVED:
        return f"the name {name} is taken by Atoll itself"
    if re.search(r"-r\d+(-|$)", name):
        return "a name may not look like a release (-r and a number)"
    return ""


def is_variable(name: str) -> bool:
    """Whether *name* can be the name of an environment variable (POSIX)."""
    return _VARIABLE.fullmatch(name) is not None


def is_host(name: str) -> bool:
    """Whether *name* is a host name (RFC 1123), in small letters."""
    return _HOST.fullmatch(name) is not None


def is_itself(host: str) -> bool:
    """Whether whoever calls *host* calls itself, and so never the way out."""
    return host in ITSELF or host.endswith(".localhost")


def port_number(text: str) -> int | None:
    """The TCP port that *text* names in digits, None where it names none."""
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(LAST_PORT))
    return int(text) if plain and 1 <= int(text) <= LAST_PORT else None
