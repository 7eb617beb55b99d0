"""Durable claims and results in SQLite."""
