"""Checks of stored files: checksum of the face detector's model, outbox, privacy audit."""

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.privacy import audit, worst_level
from agent.diagnostics.stored_files import Level
from agent.errors import StorageError
from agent.texts import Text

# A running till acknowledges within seconds. A running agent closes a result after ten minutes.
_OLD_MS = 2 * 60_000


def model(inputs: CheckInputs) -> Finding:
    """One detection. Raises ``ModelError``: the model's file is missing or changed."""
    probe = inputs.model()
    if probe.faces != 1:
        why = Text("why.model.integrity.wrong", faces=probe.faces)
        return failed(why, Text("fix.reinstall_tested_model"))
    return passed(Text("why.model.integrity.correct", spent_ms=probe.spent_ms))


def outbox(inputs: CheckInputs) -> Finding:
    """Integrity of the file, age of the unacknowledged results."""
    try:
        probe = inputs.outbox()
    except StorageError as error:
        if error.code != "storage_denied":
            raise
        return skipped(Text("why.outbox.state.denied", error=error))
    if probe is None:
        return passed(Text("why.outbox.state.none"))
    if probe.damage:
        return failed(Text("why.outbox.state.damaged", damage=probe.damage), Text("fix.outbox_damaged"))
    if probe.set_aside:
        why = Text("why.outbox.state.set_aside", count=probe.set_aside)
        return warning(why, Text("fix.damaged_outbox_files"))
    age_ms = 0 if probe.oldest_open_unix_ms is None else inputs.unix_ms() - probe.oldest_open_unix_ms
    if age_ms > _OLD_MS:
        why = Text("why.outbox.state.old", depth=probe.depth, age_min=age_ms // 60_000)
        return warning(why, Text("fix.till_not_acknowledging"))
    return passed(Text("why.outbox.state.intact", depth=probe.depth))


def privacy(inputs: CheckInputs) -> Finding:
    """Known files only, private modes, no picture."""
    items = audit(inputs)
    level = worst_level(items)
    first = next(item for item in items if item.level is level)
    more = sum(item.level >= Level.WARN for item in items) - 1
    one = Text("why.privacy.audit.one", path=first.path, finding=first.finding or "")
    summary = Text("why.privacy.audit.more", finding=one, more=more) if more > 0 else one
    if level is Level.UNREADABLE:
        return skipped(summary)
    if level is Level.OK:
        total_bytes = sum(item.size_bytes for item in items)
        return passed(Text("why.privacy.audit.known", count=len(items), size_kib=total_bytes // 1024))
    remedy = Text("fix.privacy_audit_all", first=first.remedy or "")
    return failed(summary, remedy) if level is Level.FAIL else warning(summary, remedy)
