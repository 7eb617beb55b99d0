"""Faults of the clock, the network to the API, and the API's account."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.box import API, FaultBox
from tests.faults.fault import Fault


def clock(offset: str, at_start: str) -> Callable[[FaultBox], None]:
    return lambda box: box.clock(offset, at_start)


def stub(mode: str) -> Callable[[FaultBox], None]:
    def make(box: FaultBox) -> None:
        box.api_stub(mode)
        box.restart()

    return make


def names(mode: str) -> Callable[[FaultBox], None]:
    def make(box: FaultBox) -> None:
        box.stub("dns", mode)
        box.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")
        box.write("/etc/hosts", "127.0.0.1 localhost broker.shop.test\n")
        box.restart()

    return make


def api_down(box: FaultBox) -> None:
    box.do("systemctl stop facepay-compare")
    box.restart()


def api_drops(box: FaultBox) -> None:
    box.do("systemctl stop facepay-compare")
    box.stub("port", "dropping", "8100")
    box.restart()


def setting(name: str, value: str) -> Callable[[FaultBox], None]:
    def make(box: FaultBox) -> None:
        box.configure({f"compare.{name}": value})
        box.restart()

    return make


def new_secret_without_restart(box: FaultBox) -> None:
    """The provider replaced the key, the operator wrote it, and no program was started again."""
    box.write("/etc/facepay-agent/credentials/secret-key", b"another-key-of-the-account", 0o600)
    text = box.box.file("/etc/facepay-agent/service.toml").read_text()
    key = 'secret_key_file = "/run/credentials/facepay-compare.service/secret-key"'
    box.write("/etc/facepay-agent/service.toml", text.replace("example = true", key))
    box.do("systemctl restart facepay-compare")
    box.wait_for_port(8100)


API_FAULTS = (
    Fault(
        "clock_ahead",
        "Clock 2 h ahead",
        clock("+2h", at_start="+2h"),
        "api.clock",
        "ahead of the API",
        "timedatectl",
        "clock_offset",
    ),
    Fault(
        "clock_behind",
        "Clock 2 h behind",
        clock("-2h", at_start="-2h"),
        "api.clock",
        "behind the API",
        "timedatectl",
        "clock_offset",
    ),
    Fault(
        "clock_years_behind",
        "Clock 3 years behind",
        clock("-1095d", at_start="+0"),
        "sys.clock",
        "never set",
        "timedatectl",
        "clock_offset",
    ),
    Fault(
        "slow_api",
        "API answers after 3 s",
        stub("slow"),
        "api.auth",
        "answered only after 3",
        "provider",
        "compare_slow",
    ),
    Fault(
        "captive_portal",
        "Captive portal: 200 with HTML",
        stub("html"),
        "api.auth",
        "not the API's answer",
        "compare.url",
        "compare_not_api",
    ),
    Fault(
        "redirect",
        "API address redirects (302)",
        stub("redirect"),
        "api.auth",
        "HTTP 302",
        "[compare]",
        "HTTP 302",
    ),
    Fault(
        "dns_black_hole",
        "Name server never answers",
        names("silent"),
        "net.dns",
        "never answers",
        "/etc/resolv.conf",
        "compare_unreachable",
    ),
    Fault(
        "unknown_name",
        "API name does not exist",
        names("unknown"),
        "net.dns",
        "no such name",
        "/etc/resolv.conf",
        "compare_unreachable",
    ),
    Fault(
        "api_down",
        "API stopped",
        api_down,
        "net.tcp",
        "connection refused",
        "[compare] url",
        "compare_unreachable",
    ),
    Fault(
        "api_drops",
        "API or firewall drops every packet",
        api_drops,
        "net.tcp",
        "no answer",
        "[compare] url",
        "compare_unreachable",
    ),
    Fault(
        "wrong_appid",
        "Wrong `appid`",
        setting("appid", "1250000009"),
        "api.auth",
        "APPID_NOT_FOUND",
        "appid",
        "APPID_NOT_FOUND",
    ),
    Fault(
        "wrong_bucket",
        "Wrong `bucket`",
        setting("bucket", "tills"),
        "api.auth",
        "BUCKET_NOT_FOUND",
        "bucket",
        "BUCKET_NOT_FOUND",
    ),
    Fault(
        "wrong_path",
        "Wrong path in the API's url",
        setting("url", f"https://{API}:8100/face/comparison"),
        "api.auth",
        "HTTP 404",
        "url",
        "HTTP 404",
    ),
    Fault(
        "wrong_secret_id",
        "Wrong `secret_id`",
        setting("secret_id", "AKIDWRONGWRONGWRONGWRONGW"),
        "api.auth",
        "SECRETID_NOT_FOUND",
        "secret_id",
        "SECRETID_NOT_FOUND",
    ),
    Fault(
        "new_secret",
        "New API key, agent not restarted",
        new_secret_without_restart,
        "keys.files",
        "changed after the service was started",
        "systemctl restart facepay-agent",
        "compare_credentials",
        also=("api.auth",),
    ),
)
