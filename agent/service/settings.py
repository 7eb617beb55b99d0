"""The config file of the compare service. As in the agent: frozen sections, an unknown key is an error."""

import ssl
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from agent.compare.contract import BODY_MAX_BYTES
from agent.config.file import FilePath, Ms, Section, fault_of, load
from agent.config.tls_files import client_context, load_pair, server_context
from agent.core.hosts import is_loopback
from agent.errors import ConfigError, WrongValueError, reason_of
from agent.safe_open import read_plain
from agent.service.memory_budget import MemoryPlan, plan
from agent.texts import Text

AppId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")]

EXAMPLE_ID = "AKIDEXAMPLEEXAMPLEEXAMPLE"  # published, as its key
EXAMPLE_SECRET = b"examplekeyexamplekeyexamplekey00"  # published, so accepted on loopback only
_SECRET_MAX_BYTES = 4_096


class AccountConfig(Section):
    """One account. The key is in a file, or is the published example key (loopback only)."""

    appid: AppId
    secret_id: AppId
    secret_key_file: FilePath | None = None
    example: bool = False
    buckets: tuple[AppId, ...] = ()  # empty: the field is not checked
    rate_per_s: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    burst: Annotated[int, Field(ge=1, le=10_000)] = 50
    suspended: bool = False  # code 3
    single_use: bool = False  # a repeated signature is code 13

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.example == (self.secret_key_file is not None):
            raise WrongValueError(Text("detail.account_key"))
        return self

    def secret_key(self) -> bytes:
        """The key. Each call reads the file, so a new key needs no restart. Raises ``ConfigError``."""
        if self.secret_key_file is None:
            return EXAMPLE_SECRET
        return _secret(self.secret_key_file)


class SharedConfig(Section):
    """The store for a cluster: what several machines must count together."""

    url: Annotated[str, StringConstraints(pattern=r"^(|rediss?://.+|unix:///.+)$")] = ""  # empty: none
    password_file: FilePath | None = None
    ca_file: FilePath | None = None  # for rediss://; None: the system's
    timeout_ms: Annotated[int, Field(ge=50, le=2_000)] = 300

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str) -> str:
        if "@" in url or "?" in url:
            raise WrongValueError(Text("detail.url_with_password"))
        try:
            _ = urlsplit(url).port
        except ValueError:  # no number, out of range, or an open bracket
            raise WrongValueError(Text("detail.url_wrong")) from None
        return url

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ca_file is not None and not self.url.startswith("rediss:"):
            raise WrongValueError(Text("detail.ca_without_tls"))
        return self

    def password(self) -> str | None:
        """The content of the file; None without one. Raises ``ConfigError``: unreadable or empty."""
        return None if self.password_file is None else _secret(self.password_file).decode(errors="replace")


def _secret(file: Path) -> bytes:
    try:
        secret = read_plain(file, _SECRET_MAX_BYTES, links=True).strip()
    except OSError as error:
        raise ConfigError(Text("detail.unreadable", path=file, reason=reason_of(error))) from error
    if not secret:
        raise ConfigError(Text("detail.no_secret", path=file))
    return secret


class ServiceConfig(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8100  # 0: any free port
    cert_file: FilePath | None = None  # both set: https
    key_file: FilePath | None = None
    workers: Annotated[int, Field(ge=1, le=32)] = 1  # parallel recognitions
    threads: Annotated[int, Field(ge=1, le=8)] = 1  # threads per recognition
    memory_max_mb: Annotated[int, Field(ge=256, le=1_000_000)] = (
        700  # of the whole process; see memory_budget.py
    )
    connections_max: Annotated[int, Field(ge=2, le=10_000)] = 256  # half of them from one address
    queue_max: Annotated[int, Field(ge=1, le=1_000)] = 16  # comparisons waiting or running
    answer_within_ms: Annotated[int, Field(ge=100, le=60_000)] = 2_000  # a longer wait is code 15
    cache_max: Annotated[int, Field(ge=0, le=100_000)] = 256  # embeddings of enrolled photos; 0: no cache
    body_max_bytes: Annotated[int, Field(ge=1_024, le=BODY_MAX_BYTES)] = BODY_MAX_BYTES
    body_timeout_ms: Ms = 10_000
    min_face_px: Annotated[int, Field(ge=20, le=400)] = 60
    download_hosts: tuple[str, ...] = ()  # hosts that may resolve to private addresses
    download_timeout_ms: Ms = 3_000
    drain_ms: Annotated[int, Field(ge=0, le=10_000)] = 1_000  # at the stop: still accepting, not ready
    shared: SharedConfig = SharedConfig()
    accounts: tuple[AccountConfig, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise WrongValueError(Text("detail.pair_belongs"))
        if len({account.secret_id for account in self.accounts}) != len(self.accounts):
            raise WrongValueError(Text("detail.accounts_same_id"))
        rates = {(account.appid, account.rate_per_s, account.burst) for account in self.accounts}
        if len(rates) != len({account.appid for account in self.accounts}):
            raise WrongValueError(Text("detail.accounts_rates"))
        self.memory_plan()
        return self

    def memory_plan(self) -> MemoryPlan:
        """The parts of ``memory_max_mb``. Raises ``ValueError`` when the budget is too small."""
        return plan(self.memory_max_mb, self.workers, self.connections_max)


def load_service(path: Path, **changes: str | int | None) -> ServiceConfig:
    """Read the file. ``host``, ``port`` and ``workers`` of the command line override it when not None.

    Raises:
        ConfigError: unusable file or combination.
    """
    overrides = {name: value for name, value in changes.items() if value is not None}
    try:
        return ServiceConfig.model_validate({**load(path, ServiceConfig).model_dump(), **overrides})
    except ValidationError as error:
        why = Text("detail.at", place=", ".join(overrides), reason=fault_of(error.errors()[0]))
        raise ConfigError(why) from error


def check(config: ServiceConfig) -> None:
    """The checks at start: memory, readable keys and certificate, the example key on loopback only.

    Raises:
        ConfigError: code ``example_account_exposed`` for the example key on another address.
    """
    try:
        config.memory_plan()
    except WrongValueError as error:
        raise ConfigError(error.text) from error
    if not config.accounts:
        raise ConfigError(Text("detail.no_accounts"))
    config.shared.password()
    if config.shared.ca_file is not None:
        client_context("shared.ca_file", config.shared.ca_file)
    keys = [account.secret_key() for account in config.accounts]
    if EXAMPLE_SECRET in keys and not is_loopback(config.host):
        why = Text("detail.example_key", host=config.host)
        raise ConfigError(why, code="example_account_exposed")
    server_tls(config)


def server_tls(config: ServiceConfig) -> ssl.SSLContext | None:
    """The context of the certificate; None without one. Raises ``ConfigError`` as ``load_pair``."""
    if config.cert_file is None:
        return None
    context = server_context()
    load_pair(context, "", config.cert_file, config.key_file)
    return context
