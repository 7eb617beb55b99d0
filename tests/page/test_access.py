"""The access middleware: rates, sizes, Host, Origin and login."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import httpx
import pytest

from agent.page import access, listener, login
from agent.page.access import HEADERS, LOCALHOST, SENDER_BURST, is_own_host, own_names
from agent.page.listener import CONNECTIONS_MAX, PEER_CONNECTIONS_MAX
from tests.page.kit import A_FACE, TOKEN, Open, PageSetup, opened, raw, until

SIX = httpx.Limits(max_connections=6)  # what a browser opens to one host, however many its tabs
PATHS = (
    "/",
    "/page.js",
    "/page.css",
    "/texts.json",
    "/status.json",
    "/metrics",
    "/preview.mjpg",
    "/preview.json",
    "/doctor.json",
)


async def test_every_answer_keeps_out_of_caches_frames_and_other_sites() -> None:
    async with opened(PageSetup(preview_on=False)) as page, page.client() as client:
        for path in (*PATHS, "/nothing", "/login"):
            answer = await client.get(path)
            assert all(answer.headers[name] == value for name, value in HEADERS.items()), path
            assert "server" not in answer.headers
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and HEADERS["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8090", True),
        ("127.0.0.1", True),
        ("localhost:9999", True),
        ("[::1]:8090", True),
        ("192.168.1.20:8090", True),
        (f"{socket.gethostname()}:8090", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:8090", False),
        ("localhost.evil.example", False),
        ("evil.example:8090@127.0.0.1", True),  # the part before @ is no name; the socket is what it is
        ("127.0.0.1@evil.example", False),
        ("", False),
        ("[::1", False),
        ("a b", False),
    ],
)
def test_foreign_host_name_is_refused(host: str, ours: bool) -> None:
    assert is_own_host(host, own_names()) is ours
    is_name = host.startswith(socket.gethostname())
    assert is_own_host(host, LOCALHOST) is (ours and not is_name), "a name of the network is none on loopback"


async def test_rebound_name_gets_no_data_and_opens_nothing() -> None:
    setup = PageSetup()
    async with opened(setup) as page, page.client(headers={"Host": "evil.example"}) as client:
        for path in PATHS:
            answer = await client.get(path)
            assert answer.status_code == 421 and len(answer.text) < 200
        assert (await client.post("/doctor.json", headers={"X-Facepay": "1"})).status_code == 421
    assert not setup.lens.announced


@pytest.mark.parametrize("path", PATHS[3:])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_page_request_from_another_site_is_refused(path: str, site: str) -> None:
    setup = PageSetup()
    async with opened(setup) as page, page.client(headers={"Sec-Fetch-Site": site}) as client:
        assert (await client.get(path)).status_code == 403
    assert not setup.lens.announced


async def test_a_link_from_elsewhere_opens_the_page_itself() -> None:
    async with opened() as page, page.client(headers={"Sec-Fetch-Site": "cross-site"}) as client:
        assert (await client.get("/")).status_code == 200


async def test_page_action_from_another_site_is_refused() -> None:
    ran: list[int] = []
    setup = PageSetup(examine=lambda: ran.append(1) or [])  # type: ignore[func-returns-value]
    async with opened(setup) as page, page.client() as client:
        foreign = {"Origin": "http://evil.example", "X-Facepay": "1"}
        assert (await client.post("/doctor.json", headers=foreign)).status_code == 403
        assert (await client.post("/doctor.json")).status_code == 403, "what a foreign form could send"
    assert not ran


@pytest.mark.parametrize("origin", ["http://[", "null", "", "http://127.0.0.1:1@x", "http://x/127.0.0.1"])
async def test_origin_that_is_no_address_is_foreign(origin: str, caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as page, page.client(headers={"Origin": origin}) as client:
        assert (await client.get("/status.json")).status_code == 403
        assert (await client.get("/status.json", headers={"Origin": page.url})).status_code == 200
    assert "page_internal_error" not in caplog.text


async def test_client_without_the_token_gets_only_a_text() -> None:
    setup = PageSetup()
    async with opened(setup) as page, page.stranger() as client:
        for path in PATHS[1:]:
            answer = await client.get(path)
            if path != "/page.css":
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert len(answer.text) < 100
        answer = await client.get("/", headers={"Accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert (await client.post("/doctor.json", headers={"X-Facepay": "1"})).status_code == 401
    assert not setup.lens.announced


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /doctor.json HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ],
    ids=["too long", "no length", "absurd"],
)
async def test_a_large_body_is_refused_before_it_is_read(sent: bytes) -> None:
    async with opened() as page:
        assert b" 413 " in (await raw(page, sent)).splitlines()[0]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT"])
async def test_other_methods_are_refused(method: str) -> None:
    async with opened() as page, page.client() as client:
        assert (await client.request(method, "/status.json")).status_code == 405


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"\r\n" * 20_000,
        b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    ],
    ids=["tls", "endless header", "blank lines", "websocket", "dots", "escaped dots", "two hosts"],
)
async def test_invalid_http_gets_an_error_and_the_page_continues(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "IDLE_S", 0.3)
    async with opened() as page, page.client() as client:
        answer = await raw(page, sent)
        assert b" 200 " not in answer[:20] and b"root:" not in answer
        async with asyncio.timeout(60):
            while True:  # a connection of a stopped process is idle for too long
                with contextlib.suppress(httpx.TransportError):
                    assert (await client.get("/status.json")).status_code == 200
                    break


async def test_idle_connection_or_half_a_request_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IDLE_S", 0.2)
    async with opened() as page:
        for sent in (b"", b"GET / HTTP/1.1\r\nHost:", b"POST /login HTTP/1.1\r\n"):
            with contextlib.suppress(ConnectionResetError):
                assert await raw(page, sent, timeout_s=60) == b""


async def test_connections_above_the_limit_get_503_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as page, page.client() as client:
        assert (await client.get("/status.json")).status_code == 200  # holds its connection
        crowd = [
            await asyncio.open_connection(
                "127.0.0.1", page.listener.port, local_addr=(f"127.0.0.{2 + number % 8}", 0)
            )
            for number in range(CONNECTIONS_MAX + 8)
        ]
        answer = await asyncio.wait_for(crowd[-1][0].read(), 60)
        assert answer.startswith(b"HTTP/1.1 503 ") and "标签页".encode() in answer
        assert (await client.get("/status.json")).status_code == 200
        assert page.listener.refused >= 8
        for _, writer in crowd:
            writer.close()


async def test_one_address_cannot_hold_all_places_and_another_ones_fifty_tabs_go_on() -> None:
    async with opened() as page:
        crowd = [
            await asyncio.open_connection("127.0.0.1", page.listener.port, local_addr=("127.0.0.2", 0))
            for _ in range(2 * PEER_CONNECTIONS_MAX)
        ]
        answer = await asyncio.wait_for(crowd[-1][0].read(), 60)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert page.listener.refused == PEER_CONNECTIONS_MAX
        async with page.client(limits=SIX) as client:
            answers = await asyncio.gather(*(client.get("/status.json") for _ in range(50)))
        assert all(answer.status_code == 200 for answer in answers)
        for _, writer in crowd:
            writer.close()


async def test_address_that_reconnects_often_leaves_room_for_another() -> None:
    async with opened() as page:

        async def comes_and_goes() -> None:
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(
                        "127.0.0.1", page.listener.port, local_addr=("127.0.0.2", 0)
                    )
                    writer.transport.abort()
                await asyncio.sleep(0)

        rushing = asyncio.create_task(comes_and_goes())
        try:
            await until(lambda: page.listener.refused > 20, 60)
            for _ in range(5):  # a new connection each
                async with page.client() as client:
                    assert (await client.get("/status.json")).status_code == 200
        finally:
            rushing.cancel()


async def test_address_with_many_requests_leaves_capacity_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access, "FLOOD_PAUSE_S", 0.01)
    async with opened(now_s=lambda: 0.0) as page, page.stranger() as flood:
        codes = [(await flood.get("/login")).status_code for _ in range(SENDER_BURST + 5)]
        assert codes == [200] * SENDER_BURST + [429] * 5
        elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with page.client(transport=elsewhere) as client:
            assert (await client.get("/status.json")).status_code == 200


async def test_session_has_a_separate_rate_beside_a_flood_through_the_same_tunnel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access, "FLOOD_PAUSE_S", 0.01)
    async with opened(now_s=lambda: 0.0) as page, page.stranger() as client, page.stranger() as flood:
        await client.post("/login", data={"token": page.keys.new_link_secret()})
        for _ in range(SENDER_BURST):
            answer = await flood.get("/login")
        assert answer.status_code == 429
        assert (await client.get("/status.json")).status_code == 200


async def test_flood_waits_and_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "FLOOD_PAUSE_S", 0.01)
    monkeypatch.setattr(access, "BURST", 5)
    async with opened(now_s=lambda: 0.0) as page, page.client() as client:
        codes = [(await client.get("/texts.json")).status_code for _ in range(8)]
    assert codes == [200] * 5 + [429] * 3


async def test_internal_error_is_a_500_text_and_a_logged_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, object]:
        raise RuntimeError("secret detail")

    async with opened(PageSetup(status=broken)) as page, page.client() as client:
        answer = await client.get("/status.json")
    assert answer.status_code == 500 and "secret detail" not in answer.text
    assert "page_internal_error" in caplog.text


async def test_clients_without_login_get_no_bytes_of_a_face() -> None:
    setup = PageSetup()
    async with opened(setup) as page:
        attempts: list[dict[str, str]] = [
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Cookie": f"{page.keys.cookie}={TOKEN}"},
            {"Cookie": f"{page.keys.cookie}="},
        ]
        for headers in attempts:
            async with httpx.AsyncClient(base_url=page.url) as client:
                answer = await client.get("/preview.mjpg", headers=headers)
                assert answer.status_code == 401 and A_FACE not in answer.content
        answer_url = await _get(page, f"/preview.mjpg?token={TOKEN}")
        assert answer_url.status_code == 401, "a token in an address would be in every log"
    assert setup.lens.made == 0 and not setup.lens.announced


async def _get(page: Open, path: str) -> httpx.Response:
    async with page.stranger() as client:
        return await client.get(path)


async def test_slow_or_aborted_form_is_no_internal_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(login, "BODY_TIMEOUT_S", 0.2)
    begun = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 30\r\n\r\ntoken="
    async with opened() as page, page.stranger() as client:
        assert b" 408 " in (await raw(page, begun)).splitlines()[0]
        _, writer = await asyncio.open_connection("127.0.0.1", page.listener.port)
        writer.write(begun)
        await writer.drain()
        writer.transport.abort()
        await asyncio.sleep(0.3)
        assert (await client.get("/login")).status_code == 200
    assert "page_internal_error" not in caplog.text
