"""Headers of a parallel run, which the proxies and the comparer share."""

from __future__ import annotations

COMPARED = "x-atoll-compared"
"""On a copy, for the comparer: the service that was called."""
SHADOW_RUN = "x-atoll-shadow-run"
"""On what the comparer asks: the name of the run. What comes from outside has it taken off."""
SHADOW_TO = "x-atoll-shadow-to"
"""On what the comparer asks, for the proxy: the release that is meant, `orders` or `orders@next`."""
SHADOW_FROM = "x-atoll-shadow-from"
"""On the answer to it: the address of the instance that gave it; absent where the proxy answers itself."""
