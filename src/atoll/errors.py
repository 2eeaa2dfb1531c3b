"""
One root, few branches, each named by what the caller does next.

Every error carries a sentence (what happened and why) and, where there is one, a hint (what to do).
The command line prints both and nothing else; the API sends both.
"""

from __future__ import annotations


class AtollError(Exception):
    """
    Something a person has to know about.

    Args:
        message: what happened and why, one sentence or more, without a trailing hint.
        hint: what to do about it, best a command; empty where nothing helps.

    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Refused(AtollError):
    """The request is wrong as it stands: correct it and ask again. Nothing was changed."""

    exit_code = 2


class Conflict(AtollError):
    """Somebody else holds or has changed what was asked for: look again, then decide."""

    exit_code = 3


class Unavailable(AtollError):
    """A part that is needed does not answer or is missing here: mend it, then ask again."""

    exit_code = 4


class Failed(AtollError):
    """It was tried and did not work; what ran before still runs."""
