"""The page on the LAN: the requirements of the config, and the access of other machines."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.config import Config, PageConfig
from agent.config.file import load
from agent.config.profile import check_profile, risks_of
from agent.config.secret_files import check_secret_files
from agent.errors import ConfigError
from agent.page import listener
from agent.page.access import is_own_host, own_names
from agent.root import page
from tests.page.kit import A_FACE, TOKEN, PageSetup
from tests.page.test_preview import parts
from tests.service.certificates import self_signed


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"listen": "lan"}, "token_file"),
        ({"listen": "lan", "token_file": "t", "preview": True}, "pictures need encryption"),
        ({"listen": "lan", "token_file": "t", "cert_file": "c"}, "belong together"),
        ({"listen": "everywhere"}, "listen"),
        ({"port": 0}, "port"),
    ],
)
def test_lan_without_token_and_tls_is_refused_at_load(
    tmp_path: Path, section: dict[str, Any], words: str
) -> None:
    path = tmp_path / "agent.toml"
    lines = [
        f"{key} = {str(value).lower() if value is True else repr(value)}" for key, value in section.items()
    ]
    path.write_text("\n".join(["[page]", *lines]) + "\n")
    with pytest.raises(ConfigError, match=words):
        load(path, Config)


def test_off_is_the_default_and_a_token_over_plain_http_is_a_risk_with_a_name() -> None:
    assert Config().page.listen == "off" and Config().page.preview is False
    plain = Config(page=PageConfig(listen="lan", token_file=Path("t")))
    assert risks_of(plain)["plain_http_page"] and not risks_of(Config())["plain_http_page"]
    with pytest.raises(ConfigError, match="plain_http_page"):
        check_profile(plain)
    with pytest.raises(ConfigError, match="loopback only"):
        check_profile(plain.model_copy(update={"profile": "demo"}))
    sealed = PageConfig(listen="lan", token_file=Path("t"), cert_file=Path("c"), key_file=Path("k"))
    assert not risks_of(Config(page=sealed))["plain_http_page"]


def test_token_file_readable_by_all_users_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o644)
    with pytest.raises(ConfigError, match=r"page\.token_file"):
        check_secret_files(Config(page=PageConfig(token_file=token)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of localhost."""
    return self_signed(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def lan(tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> PageConfig:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    monkeypatch.setitem(page._HOSTS, "lan", "127.0.0.1")  # a test listens to this machine alone
    return PageConfig.model_construct(
        listen="lan",
        port=0,
        token_file=token,
        cert_file=certificate[0],
        key_file=certificate[1],
        preview=True,
    )


async def test_over_tls_the_preview_needs_a_login(
    lan: PageConfig, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    setup = PageSetup()
    sources = setup.sources()
    opened = await page._open_listener(lan, await page._make_sessions(lan, tmp_path), sources)
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    url = f"https://localhost:{opened.port}"
    try:
        async with httpx.AsyncClient(base_url=url, verify=trust) as client:
            assert (await client.get("/preview.mjpg")).status_code == 401
            assert "Secure" in (await client.post("/login", data={"token": TOKEN})).headers["set-cookie"]
            async with client.stream("GET", "/preview.mjpg") as answer:
                assert A_FACE in await anext(parts(answer))
        again = await page._make_sessions(lan, tmp_path)
        assert again.cookie in client.cookies, "the next process reads the sessions"
        async with httpx.AsyncClient(base_url=url.replace("https", "http")) as plain:
            with pytest.raises(httpx.HTTPError):
                await plain.get("/status.json")
    finally:
        await opened.close()
        assert sources.preview is not None
        await sources.preview.close()


def test_a_link_names_the_machine_on_the_lan_and_loopback_on_loopback(lan: PageConfig) -> None:
    assert page.login_url_of(lan, 8090) == f"https://{socket.gethostname()}:8090/login#"
    assert is_own_host(f"{socket.gethostname()}:8090", own_names()), "and the page answers to it"
    assert page.login_url_of(PageConfig(listen="loopback"), 8090) == "http://127.0.0.1:8090/login#"


async def test_connection_without_a_handshake_is_aborted(
    lan: PageConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_S", 0.2)
    opened = await page._open_listener(
        lan, await page._make_sessions(lan, tmp_path), PageSetup(preview_on=False).sources()
    )
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
    finally:
        await opened.close()


async def test_page_that_cannot_listen_reports_the_reason(lan: PageConfig, tmp_path: Path) -> None:
    sources = PageSetup(preview_on=False).sources()
    assert lan.key_file is not None
    for change, code in (
        ({"key_file": tmp_path / "missing"}, "tls_file_unusable"),
        ({"cert_file": lan.key_file}, "tls_file_unusable"),
        ({"token_file": tmp_path / "missing"}, "page_unavailable"),
        ({"token_file": None}, "page_unavailable"),
    ):
        with pytest.raises(ConfigError) as refused:
            changed = lan.model_copy(update=change)
            await page._open_listener(changed, await page._make_sessions(changed, tmp_path), sources)
        assert refused.value.code == code
