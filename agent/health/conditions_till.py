"""Conditions of the tills: every request of a till fails, and the terminal has no fault of its own."""

from agent.health.condition import Condition, Severity

# warnings, because a till causes them: after an error that is new, an upgrade returns to the version before
REQUESTS_REFUSED = Condition(code="requests_refused", severity=Severity.WARNING)
RESULTS_UNACKNOWLEDGED = Condition(code="results_unacknowledged", severity=Severity.WARNING)
