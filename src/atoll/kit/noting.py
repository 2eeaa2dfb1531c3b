"""
Where the request at hand notes what it got of flags that are being released: one context variable.

Here and not in `atoll.kit.flags`, so that what only has to let go of it need not load that.
"""

from __future__ import annotations

from contextvars import ContextVar

noted: ContextVar[dict[str, str] | None] = ContextVar("atoll.kit.noted", default=None)
