"""The client of the 2018 API ``/face/compare``, behind the ``Compare`` port."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from agent.compare import contract
from agent.compare.base import CompareClient, check_endpoint
from agent.compare.face2018_protocol import Face2018Protocol
from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.ports import Clock
from agent.errors import ConfigError

_SIGNABLE = re.compile(r"[A-Za-z0-9_.-]+")  # no character that could end a field of the signature


class FaceCompare2018(CompareClient):
    """The client of the 2018 API. One persistent connection, one total timeout.

    Args:
        config: the section ``[compare]``.
        secret_key: the key, or a function that returns the current one (``secret.from_file``).
        clock: ``unix_ms`` signs, ``now_ms`` measures.
        profile: ``shop`` refuses plain http.
        plain_http: the accepted risk ``plain_http_compare``; a photo url still needs https in ``shop``.

    Raises:
        ConfigError: plain http in ``shop``, a threshold below the floor, missing or non-ASCII ids.
    """

    def __init__(
        self,
        config: CompareConfig,
        secret_key: bytes | Callable[[], bytes],
        clock: Clock,
        *,
        profile: Literal["demo", "shop"] = "shop",
        plain_http: bool = False,
    ) -> None:
        check_endpoint(config, plain_http or profile == "demo", contract.THRESHOLD_FLOOR)
        for name, value in (("appid", config.appid), ("secret_id", config.secret_id)):
            if not _SIGNABLE.fullmatch(value):
                raise ConfigError(f"compare.{name}: needs letters, digits, '-', '_' or '.'")
        if config.bucket and not _SIGNABLE.fullmatch(config.bucket):
            raise ConfigError("compare.bucket: needs letters, digits, '-', '_' or '.'")
        protocol = Face2018Protocol(config, secret_key if callable(secret_key) else lambda: secret_key, clock)
        super().__init__(protocol, ReferenceLoader(config, profile), clock)
