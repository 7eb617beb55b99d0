"""Differences between two configs, and which of them a serving agent may apply."""

from collections.abc import Iterator
from typing import Any

from agent.config import Config
from agent.errors import ConfigError
from agent.texts import Text

# Read for each verification and not published in advance. All other keys are the identity of the terminal,
# its connections, or facts that `state` has published to the tills: they need a restart.
WHILE_SERVING = frozenset(
    {"consent_required", "policy", "guard", "log.level", "verification.hold_ms", "verification.max_asks"}
    | {"verification.ask_timeout_ms", "verification.retry_pause_ms"}
)


def changed_keys(old: Config, new: Config) -> list[str]:
    """Every key whose value differs, as ``section.key``, in the order of the config file."""
    return list(_differing(old.model_dump(mode="json"), new.model_dump(mode="json"), ""))


def keys_that_need_restart(old: Config, new: Config) -> list[str]:
    """The keys of ``changed_keys`` that a serving agent cannot apply."""
    return [key for key in changed_keys(old, new) if not {key, key.split(".")[0]} & WHILE_SERVING]


def check_change(old: Config, new: Config) -> None:
    """Raises ``ConfigError`` (``restart_needed``) with the keys that need a restart."""
    keys = keys_that_need_restart(old, new)
    if keys:
        raise ConfigError(Text("detail.needs_restart", keys=", ".join(keys)), code="restart_needed")


def _differing(old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    for key, after in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differing(before, after, f"{where}{key}.")
        elif before != after:
            yield f"{where}{key}"
