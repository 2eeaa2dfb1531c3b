"""The control plane as a process: API, dashboard, settings, and `build`, the only place that knows the drivers."""
