"""The config's section of the diagnostics page. See config.py for the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent.config.file import Secret, Section


class PageConfig(Section):
    """Off unless somebody wants it. On the LAN it needs a token, and pictures need TLS."""

    listen: Literal["off", "loopback", "lan"] = "off"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8_090
    token_file: Annotated[Path | None, Secret.FILE] = None
    cert_file: Path | None = None
    key_file: Annotated[Path | None, Secret.FILE] = None
    preview: bool = False

    @model_validator(mode="after")
    def _a_network_is_full_of_strangers(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.listen == "lan" and self.token_file is None:
            raise ValueError("listen = 'lan' needs token_file: everybody on the network can reach it")
        if self.listen == "lan" and self.preview and self.cert_file is None:
            raise ValueError("preview on the lan needs cert_file and key_file: pictures of people travel")
        return self

    @property
    def is_open_to_the_wire(self) -> bool:
        """Token and numbers travel unencrypted."""
        return self.listen == "lan" and self.cert_file is None
