"""What `atoll doctor` asks: hands the drivers' findings up, as the command line may not know drivers."""

from __future__ import annotations

from atoll.drivers.doctor import Finding, examine

__all__ = ["Finding", "examine"]
