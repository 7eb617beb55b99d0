"""Reload of the config file after SIGHUP: the complete file is applied, or no key of it. Part of the root.

An open verification ends with its old rules; the next verification has the new rules. An invalid file, or a
file with a change that needs a restart, is refused: the last good config stays in force, and the condition
``config_refused`` is active until a file is applied.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from agent import log as logs
from agent.config import Config
from agent.config.reload import changed_keys, check_change
from agent.control.status import config_fingerprint
from agent.errors import ConfigError
from agent.health.conditions_board import CONFIG_REFUSED
from agent.log import facts
from agent.root.runnable_config import load_runnable_config
from agent.root.wiring import BootClock, make_recorder, make_settings, policy_limits
from agent.terminal.terminal import Terminal
from agent.texts import Text
from agent.vision.face_analyzer import LocalFaceAnalyzer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """The config's file and the event that requests a reload. Without a path there is no reload."""

    path: Path | None = None
    requested: asyncio.Event = field(default_factory=asyncio.Event)


class Reload:
    """The config in force. ``refused``: why the newest file was refused; empty when it was applied."""

    def __init__(
        self, config: Config, terminal: Terminal, analyzer: LocalFaceAnalyzer, clock: BootClock
    ) -> None:
        self.config = config
        self.refused: Text | None = None
        self._terminal, self._analyzer, self._clock = terminal, analyzer, clock

    async def watch(self, source: Source) -> None:
        """Reload after each request. Ends at once when there is no file."""
        while source.path is not None:
            await source.requested.wait()
            source.requested.clear()
            await self.apply_file(source.path)

    async def apply_file(self, path: Path) -> None:
        """Read and apply the file, or log why it is refused."""
        conditions = self._terminal.conditions
        try:
            new = await asyncio.to_thread(load_runnable_config, path)  # a disk can be slow
            check_change(self.config, new)
        except ConfigError as error:
            self.refused = error.sentence
            log.error("config_refused", extra=facts(code=error.code, why=error, fix=str(error.fix)))
            conditions.raise_(CONFIG_REFUSED, error.sentence)
            return
        keys, self.config, self.refused = changed_keys(self.config, new), new, None
        logs.set_level(new.log.level)
        self._terminal.apply_settings(
            make_settings(new, self._terminal.epoch),
            make_recorder(new, self._clock),
            lambda: self._analyzer.set_limits(policy_limits(new)),
        )
        log.info(
            "config_taken", extra=facts(sha256=config_fingerprint(new), changed=", ".join(keys) or "nothing")
        )
        conditions.clear(CONFIG_REFUSED)
