"""``python -m agent.cli`` is ``facepay``: for a process that must be started with this very interpreter."""

from agent.cli import main

main()
