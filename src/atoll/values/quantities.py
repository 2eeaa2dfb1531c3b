"""
Quantities as the field writes them, to plain numbers and back.

Durations are seconds, sizes are bytes, cpu is thousandths of a core, shares are 0 to 1. Every reader raises
`ValueError` with a sentence that says what to write.
"""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T|)")
_CPU = re.compile(r"(\d+)m|(\d+(?:\.\d{1,3})?)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
LONGEST_TEXT = 32


def duration(text: str) -> float:
    """`300ms`, `2s`, `1h30m` as seconds."""
    whole, total, at = text.strip()[:LONGEST_TEXT], Decimal(0), 0
    for match in _DURATION.finditer(whole):
        if match.start() != at:
            break
        total += Decimal(match[1]) * _UNITS[match[2]]
        at = match.end()
    if not whole or at != len(whole):
        raise ValueError(f"{text!r} is not a duration: write 300ms, 2s, 5m or 1h30m")
    return float(total)


def show_duration(seconds: float) -> str:
    """Seconds as a person writes them: 0.3 is `300ms`, 90 is `1m30s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds % 1000 or milliseconds == 0:
        return f"{milliseconds}ms" if seconds < 1 else f"{milliseconds / 1000:g}s"
    parts, rest = [], milliseconds // 1000
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def size(text: str) -> int:
    """`128Mi`, `1G`, `512` as bytes."""
    match = _SIZE.fullmatch(text.strip()[:LONGEST_TEXT])
    if match is None:
        raise ValueError(f"{text!r} is not a size: write 128Mi, 1Gi or 500M")
    return int(Decimal(match[1]) * _SIZES[match[2]])


def show_size(count: int) -> str:
    """Bytes with the largest unit that divides them."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if count and count % _SIZES[unit] == 0:
            return f"{count // _SIZES[unit]}{unit}"
    return str(count)


def cpu(text: str) -> int:
    """`500m`, `2` or `0.5` cores as thousandths of a core."""
    match = _CPU.fullmatch(text.strip()[:LONGEST_TEXT])
    if match is None:
        raise ValueError(f"{text!r} is not an amount of cpu: write 500m (half a core) or 2 (two cores)")
    return int(match[1]) if match[1] else int(Decimal(match[2]) * 1000)


def show_cpu(thousandths: int) -> str:
    """Thousandths of a core as the field writes them."""
    return f"{thousandths // 1000}" if thousandths and thousandths % 1000 == 0 else f"{thousandths}m"


def percent(text: str) -> float:
    """`50%` or `99.9%` as a share."""
    match = _PERCENT.fullmatch(text.strip()[:LONGEST_TEXT])
    if match is None:
        raise ValueError(f"{text!r} is not a percentage: write 50% or 99.9%")
    share = float(Decimal(match[1]) / 100)
    if share > 1:
        raise ValueError(f"{text!r} is more than 100%")
    return share


def show_percent(share: float) -> str:
    """A share as a percentage."""
    return f"{round(share * 100, 6):g}%"
