"""The control plane's memory: one SQLite file in WAL mode. Concrete, no repository interface."""
