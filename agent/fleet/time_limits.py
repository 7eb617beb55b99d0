"""Time limits of the clients of a fleet. Without imports: the help of a command shows them."""

REPORT_TIMEOUT_S = 240.0
"""Maximum wait for a diagnosis report: longer than the slowest chain of checks on a board with other work."""
