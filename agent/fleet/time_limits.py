"""Time limits of the clients of a fleet. Without imports: the help of a command shows them."""

# maximum wait for a diagnosis report: longer than the slowest chain of checks on a board with other work
REPORT_TIMEOUT_S = 240.0
# an agent is healthy after so many consecutive checks without a problem: a problem may appear late
CHECK_EVERY_S = 0.5
CHECKS_MIN = 4
