"""Check of the screen for the payer: a browser shows it."""

from agent.diagnostics.check import Finding, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.texts import Text


def connected(inputs: CheckInputs) -> Finding:
    """A warning without a browser: the terminal serves all the same, and the payer sees no hint."""
    if inputs.config().display.listen == "off":
        return skipped(Text("why.display.browser.off"))
    document = inputs.status_if_running()
    viewers = None if document is None else document.get("display_viewers")
    if viewers is None:  # no agent, or the agent was started before the screen was switched on
        return skipped(Text("why.display.browser.no_agent"))
    if not viewers:
        return warning(Text("why.display.browser.none"), Text("fix.start_display"))
    return passed(Text("why.display.browser.connected"))
