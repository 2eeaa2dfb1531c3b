"""
OpenFeature's remote evaluation protocol: questions read, answers written.

OFREP 0.3.0, https://github.com/open-feature/protocol (service/openapi.yaml, ADR 0008 for the stream of changes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atoll.kit.flags import Context, Evaluation, Flags

# The protocol has no word for the default after targeting had nothing to say. It is not STATIC: that may be kept by a
# client for whoever asks next.
_REASONS = {"DEFAULT": "UNKNOWN", "STALE": "UNKNOWN"}

BIGGEST = 64 * 1024
"""Bytes of a question."""
LONGEST_KEY = 1024
"""Characters of a targetingKey: it is hashed again for each flag."""


class BadQuestion(Exception):
    """A question that cannot be answered; `code` is the protocol's."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


def context(body: bytes) -> Context:
    """The context in a question. Raises `BadQuestion`."""
    try:
        said = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadQuestion("PARSE_ERROR", f"the question is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise BadQuestion("PARSE_ERROR", 'the question is not an object: write {"context": {...}}')
    found = said.get("context", {})
    if not isinstance(found, dict):
        raise BadQuestion("INVALID_CONTEXT", "the context is not an object")
    key = found.get("targetingKey", "")
    if not isinstance(key, str):
        raise BadQuestion("INVALID_CONTEXT", "the targetingKey is not text")
    if len(key) > LONGEST_KEY:
        raise BadQuestion(
            "INVALID_CONTEXT", f"the targetingKey has {len(key):,} characters, of {LONGEST_KEY:,} at most"
        )
    return found


def answer(key: str, found: Evaluation[Any]) -> dict[str, Any]:
    """
    What somebody gets of a flag, or why nothing.

    Without a value the asker's own default counts. The variant is always there: clients exist that fail without.
    """
    if found.error_code is not None:
        return failure(key, found.error_code, found.message)
    value = {} if found.variant is None else {"value": found.value}
    reason = _REASONS.get(found.reason, found.reason)
    return {"key": key, "reason": reason, "variant": found.variant or "", "metadata": dict(found.metadata), **value}


def failure(key: str, code: str, words: str) -> dict[str, Any]:
    """Why there is no answer."""
    return {"key": key, "errorCode": code, "errorDetails": words}


def status(said: Mapping[str, Any]) -> int:
    """The HTTP status of an answer about one flag."""
    return {None: 200, "FLAG_NOT_FOUND": 404}.get(said.get("errorCode"), 400)


def all_answers(flags: Flags, asking: Context, stream: str) -> dict[str, Any]:
    """Every flag for one context, and where changes are told: the URL *stream*."""
    return {
        "flags": [answer(key, flags.evaluate(key, asking)) for key in flags],
        "eventStreams": [{"type": "sse", "url": stream}],
        "metadata": dict(flags.metadata),
    }


def changed(etag: str) -> bytes:
    """The server-sent event that has a client ask again."""
    data = json.dumps({"type": "refetchEvaluation", "etag": etag})
    return f"id: {etag}\nevent: message\ndata: {data}\n\n".encode()
