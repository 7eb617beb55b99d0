"""SIGHUP: the config file is read again, and taken over whole or not at all. Part of the root.

A verification that is open ends by the rules it began with; the next one has the new ones. A file that is
wrong, or changes what takes a restart, changes nothing: the last good config stays in force and the condition
``config_refused`` says so until a file is taken.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from agent import log as logs
from agent.config import Config
from agent.config.reload import changed, check_change
from agent.control.status import fingerprint
from agent.errors import ConfigError
from agent.health.conditions_board import CONFIG_REFUSED
from agent.log import facts, without_url_secrets
from agent.root.judge import judged
from agent.root.wiring import BootClock, make_keep, make_settings, policy_limits
from agent.terminal.terminal import Terminal
from agent.vision.face_analyzer import LocalFaceAnalyzer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the config came from, and the wish to have it read again. Without a path it never is."""

    path: Path | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)


class Reload:
    """Holds the config in force. ``refused``: why the newest file was not taken; empty when it was."""

    def __init__(self, config: Config, terminal: Terminal, eye: LocalFaceAnalyzer, clock: BootClock) -> None:
        self.config = config
        self.refused = ""
        self._terminal = terminal
        self._eye = eye
        self._clock = clock

    async def watch(self, source: Source) -> None:
        """Each time it is asked for, for ever."""
        while source.path is not None:
            await source.asked.wait()
            source.asked.clear()
            await self.once(source.path)

    async def once(self, path: Path) -> None:
        """Read the file and take it over, or say why not."""
        conditions = self._terminal.conditions
        try:
            new = await asyncio.to_thread(judged, path)  # a disk may take its time
            check_change(self.config, new)
        except ConfigError as error:
            self.refused = without_url_secrets(f"{error.code}: {error}")
            log.error("config_refused", extra=facts(code=error.code, why=error, fix=str(error.fix)))
            conditions.raise_(CONFIG_REFUSED)
            return
        self._take(new)
        self.refused = ""
        conditions.clear(CONFIG_REFUSED)

    def _take(self, new: Config) -> None:
        keys, self.config = changed(self.config, new), new
        logs.set_level(new.log.level)
        self._terminal.adopt(
            make_settings(new, self._terminal.epoch),
            make_keep(new, self._clock),
            lambda: self._eye.use(policy_limits(new)),
        )
        log.info("config_taken", extra=facts(sha256=fingerprint(new), changed=", ".join(keys) or "nothing"))
