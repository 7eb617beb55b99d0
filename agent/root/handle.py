"""The parts of a serving agent, for other modules of the same process."""

from dataclasses import dataclass

from agent.compare.base import CompareClient
from agent.control.status import StatusFacts
from agent.health.frame_meter import FrameMeter
from agent.health.process import process_facts
from agent.live_view.frame_tap import FrameTap
from agent.messages.signing import PublicKey, fingerprint
from agent.outbox.outbox import Outbox
from agent.root.reload import Reload
from agent.root.wiring import BootClock
from agent.terminal.terminal import Terminal
from agent.till.adapter import MqttTill
from agent.vision.face_analyzer import LocalFaceAnalyzer


@dataclass(frozen=True, slots=True)
class AgentHandle:
    """The parts that a caller in the same process may read while the agent serves."""

    terminal: Terminal
    till: MqttTill
    public_key: PublicKey
    meter: FrameMeter
    reload: Reload
    frame_tap: FrameTap
    analyzer: LocalFaceAnalyzer
    outbox: Outbox
    compare: CompareClient | None  # None: replaced by the caller
    started_ms: int
    stamps: dict[str, str]  # of the files that were read once: ``config.secret_files.file_stamps``

    def now(self, clock: BootClock) -> StatusFacts:
        """The present status of the parts."""
        terminal, till, now_ms = self.terminal, self.till, clock.now_ms()
        answered_ms = None if self.compare is None else self.compare.answered_ms
        return StatusFacts(
            (now_ms - self.started_ms) // 1_000,
            terminal.conditions.shown,
            terminal.counters,
            self.meter.facts(now_ms),
            till.connection.is_connected,
            till.result_sender.open_count,
            self.reload.refused,
            till.delivery_counters,
            process_facts(),
            clock.unix_ms() - now_ms,
            None if answered_ms is None else (now_ms - answered_ms) // 1_000,
            terminal.pace,
            fingerprint(self.public_key.key),
            self.stamps,
            terminal.results.tills.newest(now_ms),
        )
