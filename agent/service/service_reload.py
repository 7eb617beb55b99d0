"""SIGHUP: reads the config again and applies accounts and certificate without a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.errors import ConfigError
from agent.log import facts
from agent.service.endpoint import CompareApi
from agent.service.service_listener import ServiceListener
from agent.service.settings import ServiceConfig, check, server_tls

log = logging.getLogger(__name__)

_LIVE = frozenset({"accounts", "cert_file", "key_file"})


class ServiceReload:
    """Applies a changed config to a running service. An unusable config changes nothing.

    Args:
        reread: reads the config; None: a service without a config file re-reads only its certificate.
    """

    def __init__(
        self,
        config: ServiceConfig,
        api: CompareApi,
        listener: ServiceListener,
        reread: Callable[[], ServiceConfig] | None,
    ) -> None:
        self._config = config
        self._api = api
        self._listener = listener
        self._reread = reread

    def apply(self) -> None:
        """Read and apply. Log the keys whose change needs a restart."""
        try:
            changed = self._reread() if self._reread else self._config
            # the address that is in use decides about the example key
            check(changed.model_copy(update={"host": self._config.host}))
            tls = server_tls(changed)
        except ConfigError as error:
            log.error("reload_refused", extra=facts(code=error.code, why=error, fix=error.fix))
            return
        if (tls is None) == (self._listener.tls is None):  # http or https: clients must change, too
            self._listener.tls = tls
        self._api.authenticator.replace(changed.accounts)
        restart = [
            name
            for name in ServiceConfig.model_fields
            if name not in _LIVE and getattr(changed, name) != getattr(self._config, name)
        ]
        if (tls is None) != (self._listener.tls is None):
            restart.append("cert_file")
        log.info("reloaded", extra=facts(accounts=len(changed.accounts), restart_for=", ".join(restart)))
