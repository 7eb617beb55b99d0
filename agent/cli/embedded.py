"""The embedded compare service, running for the duration of one command."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.service.settings import AccountConfig


@contextlib.asynccontextmanager
async def embedded(**changes: Any) -> AsyncIterator[tuple[str, AccountConfig]]:
    """Run the service on a free loopback port; yield its url and the example account.

    ``changes`` override values of the shipped config.
    """
    from agent.config.file import load
    from agent.resources import config_file
    from agent.service.compare_service import CompareService
    from agent.service.settings import ServiceConfig

    settings = load(config_file("service.toml"), ServiceConfig).model_copy(update={"port": 0, **changes})
    service = CompareService(settings)
    await service.start()
    try:
        yield service.url, settings.accounts[0]
    finally:
        await service.stop()
