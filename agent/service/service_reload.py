"""SIGHUP: reads the config again and applies accounts and certificate without a restart."""

import logging
from collections.abc import Callable

from agent.errors import ConfigError
from agent.log import facts
from agent.service.endpoint import CompareApi
from agent.service.service_listener import ServiceListener
from agent.service.settings import ServiceConfig, check, server_tls

log = logging.getLogger(__name__)

_LIVE = {"accounts", "cert_file", "key_file"}


def reload(
    config: ServiceConfig,
    api: CompareApi,
    listener: ServiceListener,
    reread: Callable[[], ServiceConfig] | None,
) -> None:
    """Apply a changed config. Log the keys whose change needs a restart. An unusable config changes nothing.

    Args:
        config: of the start.
        reread: reads the config; None: a service without a config file re-reads only its certificate.
    """
    try:
        changed = reread() if reread else config
        # the address that is in use decides about the example key
        check(changed.model_copy(update={"host": config.host}))
        tls = server_tls(changed)
    except ConfigError as error:
        log.error("reload_refused", extra=facts(code=error.code, why=error, fix=error.fix))
        return
    if (tls is None) == (listener.tls is None):  # http or https: clients must change, too
        listener.tls = tls
    api.authenticator.replace(changed.accounts)
    before, after = (each_config.model_dump(exclude=_LIVE) for each_config in (config, changed))
    restart = [name for name in before if before[name] != after[name]]
    if (tls is None) != (listener.tls is None):
        restart.append("cert_file")
    log.info("reloaded", extra=facts(accounts=len(changed.accounts), restart_for=", ".join(restart)))
