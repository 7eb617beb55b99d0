"""The compare API: the contract that client and service share, and the clients of both providers."""

import sys
from importlib.util import find_spec

# httpx imports its command line when rich and click are installed: 100 ms and some megabytes at each start.
# None prevents that import; httpx handles the ImportError.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type] # None marks "not importable" in Python

# httpcore imports sniffio four times in each request, and a failing import searches every folder again.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]
