"""The state as JSON and back; floats come back as they were, so a judge that was killed goes on as if never killed."""

from __future__ import annotations

from typing import Literal

import msgspec

from atoll.policies.judge.state import State

Version = Literal[6]
VERSION: Version = 6


def to_json(state: State) -> str:
    """*state* as text."""
    return msgspec.json.encode((VERSION, state)).decode()


def from_json(text: str) -> State:
    """The state again. Raises `ValueError` for text that another version has written."""
    try:
        return msgspec.json.decode(text, type=tuple[Version, State])[1]
    except msgspec.DecodeError as error:
        raise ValueError(f"this is not the judge's state, or another version has written it: {error}") from error
