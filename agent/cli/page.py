"""`facepay page`: a one-time link to the running agent's diagnostics page."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

from agent.cli.config import storage_of
from agent.cli.options import AsJson, ConfigFile
from agent.texts import Text, beside, every_line


def page(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print a link that opens the diagnostics page in a browser: once, within two minutes.

    Every person with the link can use it. The running agent creates the link for a user who may use its local
    socket. stdout has only the link.
    """
    from agent.control.page_link import request_link
    from agent.control.server import path_for

    url = request_link(path_for(storage_of(config)))
    print(json.dumps({"url": url}) if as_json else url, flush=True)
    if as_json:
        return
    print(every_line(Text("cli.page_link_once")), end="", file=sys.stderr)
    address = urlsplit(url)
    if address.hostname == "127.0.0.1":
        tunnel = f"ssh -L {address.port}:127.0.0.1:{address.port} THIS-TERMINAL"
        print(f"{beside(Text('cli.page_tunnel'))}  {tunnel}", file=sys.stderr)
