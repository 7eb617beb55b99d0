"""A terminal's place in a world with a real broker and a real compare service, as in tests/e2e."""

from __future__ import annotations

from tests.e2e.conftest import place, service

__all__ = ["place", "service"]
