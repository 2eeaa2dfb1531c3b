"""
Quantities as the field writes them, to plain numbers and back.

Durations are seconds, sizes are bytes, cpu is thousandths of a core, shares are 0 to 1, rates are per second. Every
reader raises `ValueError` with a sentence that says what to write; every writer gives text that reads back as the
same number.
"""

from __future__ import annotations

import re
from decimal import Decimal

LONGEST_TEXT = 32
_NUMBER = r"(\d+(?:\.\d+)?)"
_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_DURATION = re.compile(rf"{_NUMBER}(ms|s|m|h|d)", re.ASCII)
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
_SIZE = re.compile(rf"{_NUMBER}(Ki|Mi|Gi|Ti|k|M|G|T|)", re.ASCII)
_CPU = re.compile(r"(\d+)m|(\d+(?:\.\d{1,3})?)", re.ASCII)
_PERCENT = re.compile(rf"{_NUMBER}%", re.ASCII)


def duration(text: str) -> float:
    """`300ms`, `2s`, `1h30m` as seconds."""
    total, at = Decimal(0), 0
    for match in _DURATION.finditer(text[:LONGEST_TEXT]):
        if match.start() != at:
            break
        total += Decimal(match[1]) * _UNITS[match[2]]
        at = match.end()
    if not text or at != len(text):
        raise ValueError(f"{_shown(text)} is not a duration: write 300ms, 2s, 5m or 1h30m")
    return float(total)


def show_duration(seconds: float) -> str:
    """Seconds as a person writes them: 0.3 is `300ms`, 90 is `1m30s`."""
    rest = Decimal(str(seconds))
    if 0 < rest < 1:
        return f"{_plain(rest * 1000)}ms"
    parts = []
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count:f}{unit}")
    if rest or not parts:
        parts.append(f"{_plain(rest)}s")
    return "".join(parts)


def size(text: str) -> int:
    """`128Mi`, `1G`, `512` as bytes."""
    match = _match(_SIZE, text)
    count = Decimal(match[1]) * _SIZES[match[2]] if match else Decimal("0.5")
    if match is None or count != int(count):
        raise ValueError(f"{_shown(text)} is not a size: write 128Mi, 1Gi or 500M")
    return int(count)


def show_size(count: int) -> str:
    """Bytes with the largest unit that divides them."""
    for unit, unit_size in sorted(_SIZES.items(), key=lambda u: -u[1]):
        if count and count % unit_size == 0:
            return f"{count // unit_size}{unit}"
    return str(count)


def cpu(text: str) -> int:
    """`500m`, `2` or `0.5` cores as thousandths of a core."""
    match = _match(_CPU, text)
    if match is None:
        raise ValueError(f"{_shown(text)} is not an amount of cpu: write 500m (half a core) or 2 (two cores)")
    return int(match[1]) if match[1] else int(Decimal(match[2]) * 1000)


def show_cpu(thousandths: int) -> str:
    """Thousandths of a core as the field writes them."""
    return f"{thousandths // 1000}" if thousandths and thousandths % 1000 == 0 else f"{thousandths}m"


def percent(text: str) -> float:
    """`50%` or `99.9%` as a share."""
    match = _match(_PERCENT, text)
    if match is None:
        raise ValueError(f"{_shown(text)} is not a percentage: write 50% or 99.9%")
    share = Decimal(match[1]) / 100
    if share > 1:
        raise ValueError(f"{_shown(text)} is more than 100%")
    return float(share)


def show_percent(share: float) -> str:
    """A share as a percentage. What twelve digits do not show is the rounding of a computer."""
    return f"{_plain(Decimal(f'{share:.12g}') * 100)}%"


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return pattern.fullmatch(text) if len(text) <= LONGEST_TEXT else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…")


def _plain(number: Decimal) -> str:
    """Digits without an exponent and without zeros at the end of a fraction."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
