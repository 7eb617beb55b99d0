"""Conditions of the terminal itself: models, disk, config, machine, pause."""

from agent.health.condition import Condition, Severity

# Of the whole terminal, not of one enrolled photo. A warning, because payers cause it: after an error that is
# new, an upgrade returns to the version before.
ATTEMPTS_PAUSED = Condition(code="attempts_paused", severity=Severity.WARNING)
MODEL_UNUSABLE = Condition(code="model_unusable")
STORAGE_UNAVAILABLE = Condition(code="storage_unavailable")
STORAGE_SLOW = Condition(code="storage_slow", severity=Severity.WARNING, depends_on=(STORAGE_UNAVAILABLE,))
# after several verifications in a row, until another end: ``health.result_meter``
VERIFICATIONS_FAILING = Condition(code="verifications_failing", severity=Severity.WARNING)
CONFIG_REFUSED = Condition(code="config_refused", severity=Severity.WARNING)
OUTBOX_RESET = Condition(code="outbox_reset", severity=Severity.WARNING)
MACHINE_CHANGED = Condition(code="machine_changed")
OPEN_FILES_HIGH = Condition(code="open_files_high", severity=Severity.WARNING)
DISK_LOW = Condition(code="disk_low", severity=Severity.WARNING)
UPGRADE_FAILED = Condition(code="upgrade_failed", severity=Severity.WARNING)
UPGRADE_MISSING = Condition(code="upgrade_missing", severity=Severity.WARNING)
TERMINAL_HOT = Condition(code="terminal_hot", severity=Severity.WARNING)
PAGE_UNAVAILABLE = Condition(code="page_unavailable", severity=Severity.WARNING)
DISPLAY_UNAVAILABLE = Condition(code="display_unavailable", severity=Severity.WARNING)
