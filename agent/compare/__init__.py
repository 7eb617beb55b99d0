"""The compare API, both sides of its contract's words, and our clients of it."""

import sys

# httpx imports its own command line when rich and click happen to be installed: 100 ms and some megabytes
# that no terminal needs at start. None makes that import fail, which httpx provides for.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type] # None is Python's own "not to be imported"
