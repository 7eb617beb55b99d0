"""The compare API: the contract that client and service share, and the clients of both providers."""

import sys

# httpx imports its command line when rich and click are installed: 100 ms and some megabytes at each start.
# None prevents that import; httpx handles the ImportError.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type] # None marks "not importable" in Python
