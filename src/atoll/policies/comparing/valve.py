"""
The parallel run stops by itself where it costs too much: after some slow answers in a row it pauses, longer each time.

A copy that is compared after a pause is a probe: if it is slow as well, the next pause begins at once.
"""

from __future__ import annotations

from dataclasses import dataclass

IN_A_ROW = 5
FIRST, LONGEST = 5.0, 60.0
"""Seconds of the first pause, and of any."""


@dataclass(frozen=True, slots=True)
class Valve:
    """`slow` answers in a row; closed until the instant `until`, after a pause of `pause` seconds."""

    slow: int = 0
    pause: float = 0.0
    until: float = 0.0

    def lets(self, at: float) -> bool:
        """Whether a copy may be compared now."""
        return at >= self.until


def after(valve: Valve, *, slow: bool, at: float) -> Valve:
    """The valve after one more comparison; those that had begun before it closed do not close it again."""
    if not valve.lets(at):
        return valve
    if not slow:
        return Valve()
    if valve.slow + 1 < IN_A_ROW:
        return Valve(valve.slow + 1, valve.pause)
    pause = min(LONGEST, max(FIRST, 2 * valve.pause))
    return Valve(IN_A_ROW - 1, pause, at + pause)
