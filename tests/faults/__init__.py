"""Faults of an operator's own making, made in a booted Debian: the doctor and the status name each."""
