"""The command line ``facepay``: commands in modules by topic, listed in ``command_table``."""

import os

INTERRUPTED = 130  # the exit code after Ctrl-C, as of a shell: 128 + SIGINT


def main() -> None:
    """Entry point of the ``facepay`` command. It imports, so Ctrl-C ends an import, too."""
    try:
        from agent.cli.command_line import run_process
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    run_process()
