"""Imports the modules of a file and does nothing else: ``python import_bare.py FILE [hold]``.

A line ``!NAME`` blocks a module: a library that tries to import it gets ``ImportError``, as in the command.
``hold``: write one byte when all modules are imported, and wait for the end of stdin.
"""

import sys
from importlib import import_module


def import_all(listed: str) -> None:
    """Import the modules of the file ``listed``, one a line, in order."""
    with open(listed) as file:  # noqa: PTH123 - pathlib is no part of the measured imports
        names = file.read().split()
    sys.modules.update({name[1:]: None for name in names if name[0] == "!"})  # type: ignore[misc]
    for name in names:
        if name[0] != "!":
            try:
                import_module(name)
            except Exception:  # made by another module, and not importable
                continue


if __name__ == "__main__":
    import_all(sys.argv[1])
    if "hold" in sys.argv:
        sys.stdout.write(".")
        sys.stdout.flush()
        sys.stdin.read()
