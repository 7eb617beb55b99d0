"""The smallest web application under uvicorn: the calibration of the agent's own web server.

A separate process: ``python -m tests.bench.echo PORT``.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.types import Receive, Scope, Send


async def echo(scope: Scope, _receive: Receive, send: Send) -> None:
    """Two messages: 200 and a body of four bytes."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"echo"})


if __name__ == "__main__":
    uvicorn.run(
        echo, host="127.0.0.1", port=int(sys.argv[1]), http="h11", lifespan="off", log_level="critical"
    )
