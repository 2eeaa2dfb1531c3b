"""
Feature flags in flagd's format, evaluated in process: `FlagClient` for services, `Flags` for one document.

What may live here: reading, checking, compiling, changing and following a document of flags, with the standard
library and the kit alone. Who keeps the document and who may change it is the control plane's. Nothing of `atoll.kit`
outside this package imports it, so that a service without flags does not pay for it.

    from atoll.kit.flags import FlagClient

    flags = FlagClient("unix:///run/atoll/flags.sock", cache_dir="/var/cache/shop")
    if flags.boolean("new-checkout", False, {"targetingKey": user.id, "country": user.country}): ...
"""

from __future__ import annotations

from atoll.kit.flags.client import FlagClient, Kind
from atoll.kit.flags.document import Document, Finding, InvalidFlags, parse
from atoll.kit.flags.editing import (
    killed,
    revived,
    with_default,
    with_flag,
    with_percent,
    with_targeting,
    without_flag,
)
from atoll.kit.flags.evaluation import Context, ErrorCode, Evaluation, Flags, Reason
from atoll.kit.flags.exposure import everybody, shares
from atoll.kit.flags.keeper import Notice
from atoll.kit.flags.killing import is_killed
from atoll.kit.flags.lifecycle import Due, Facts, due
from atoll.kit.flags.lint import lint

__all__ = [
    "Context",
    "Document",
    "Due",
    "ErrorCode",
    "Evaluation",
    "Facts",
    "Finding",
    "FlagClient",
    "Flags",
    "InvalidFlags",
    "Kind",
    "Notice",
    "Reason",
    "due",
    "everybody",
    "is_killed",
    "killed",
    "lint",
    "parse",
    "revived",
    "shares",
    "with_default",
    "with_flag",
    "with_percent",
    "with_targeting",
    "without_flag",
]
