"""Fixtures of tests/e2e: a folder for a terminal, with a real broker and a real compare service."""

from __future__ import annotations

from tests.e2e.conftest import place, service

__all__ = ["place", "service"]
