"""Orders, a new version without a fault."""

from __future__ import annotations

from base import app
from server import serve

if __name__ == "__main__":
    serve(app)
