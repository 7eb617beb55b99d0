"""`facepay run`: the agent in the foreground, as started by systemd."""

from agent import log
from agent.cli.config import path_of
from agent.cli.options import AsJson, ConfigFile
from agent.errors import ConfigError


def run(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Run the agent of this terminal until SIGTERM; SIGHUP reloads the config. `--json` logs JSON lines.

    Example:  facepay run --config /etc/facepay-agent/agent.toml
    """
    from agent.health.process import disable_core_dumps, imports_without_gc, use_one_heap

    use_one_heap()
    with imports_without_gc():
        from agent import event_loop
        from agent.root.config_wait import pause_before_exit
        from agent.root.daemon import run_until_signal
        from agent.root.runnable_config import load_runnable_config

        disable_core_dumps()
    path = path_of(config)
    try:
        loaded = load_runnable_config(path)
        log.setup(loaded.log.level, json_lines=as_json or loaded.log.json_lines)
        event_loop.run(run_until_signal(loaded, path))
    except ConfigError as error:
        pause_before_exit(error, path)
        raise
