"""Tells the proxies what to do: `stream` decides (no I/O), `server` speaks gRPC (delta ADS)."""
