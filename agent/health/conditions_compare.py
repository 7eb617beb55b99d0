"""Conditions of the compare API, of its account, and of the cost of calls."""

from agent.health.condition import Condition, Severity

COMPARE_UNREACHABLE = Condition(code="compare_unreachable")
COMPARE_SLOW = Condition(code="compare_slow")
CLOCK = Condition(code="clock")
# the API refuses a signature with a wrong time, too
COMPARE_CREDENTIALS = Condition(code="compare_credentials", depends_on=(CLOCK,))
# the agent corrects signatures by the API's time, but certificates need the clock
CLOCK_OFFSET = Condition(code="clock_offset", severity=Severity.WARNING, depends_on=(CLOCK,))
COMPARE_NOT_API = Condition(code="compare_not_api")
COMPARE_ACCOUNT = Condition(code="compare_account")
COMPARE_CONFIG = Condition(code="compare_config")
COST_LIMIT = Condition(code="cost_limit")
COST_HIGH = Condition(code="cost_high", severity=Severity.WARNING, depends_on=(COST_LIMIT,))

REPORTED_BY_API = (COMPARE_CREDENTIALS, COMPARE_ACCOUNT, COMPARE_CONFIG, CLOCK, COMPARE_NOT_API)
"""Only an answer from the API's address reports one of these. One answer reports one condition."""
CLEARED_BY_ANSWER = (COST_LIMIT, COMPARE_UNREACHABLE, COMPARE_SLOW, *REPORTED_BY_API)
"""One successful API call disproves all of these."""

# after several verifications in a row, until the next comparison: ``health.result_meter``
COMPARE_FAILING = Condition(code="compare_failing", severity=Severity.WARNING, depends_on=CLEARED_BY_ANSWER)
PHOTOS_FAILING = Condition(code="photos_failing", severity=Severity.WARNING)
