"""A till: it asks, verifies and decides what to accept."""
