"""The config section of the diagnostics page. Rules of sections: ``config/__init__.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent.config.file import Secret, Section


class PageConfig(Section):
    """Off by default. On the LAN the page needs a token, and pictures need TLS."""

    listen: Literal["off", "loopback", "lan"] = "off"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8_090
    token_file: Annotated[Path | None, Secret.FILE] = None
    cert_file: Path | None = None
    key_file: Annotated[Path | None, Secret.FILE] = None
    preview: bool = False

    @model_validator(mode="after")
    def _lan_requires_token_and_tls(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.listen == "lan" and self.token_file is None:
            raise ValueError("listen = 'lan' needs token_file: every machine of the network can connect")
        if self.listen == "lan" and self.preview and self.cert_file is None:
            raise ValueError("preview on the lan needs cert_file and key_file: pictures need encryption")
        return self

    @property
    def is_unencrypted_lan(self) -> bool:
        """Token and status are sent unencrypted over the network."""
        return self.listen == "lan" and self.cert_file is None
