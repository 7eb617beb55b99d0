"""The Debian package, installed, upgraded and purged in a minimal Debian."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.messages.signing import KEY_FILE, Signer
from agent.outbox.database import FILE
from tests.debian import Debian, installed_debian, needs_a_debian_of_its_own, run

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent
CONFIG = "/etc/facepay-agent/agent.toml"
STATE = "/var/lib/facepay-agent"
KEEP_MINE = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")


@pytest.fixture(scope="module")
def debian() -> Iterator[Debian]:
    """A minimal Debian without the package. The tests below depend on their order."""
    needs_a_debian_of_its_own()
    with installed_debian() as made:
        yield made


@pytest.fixture(scope="module")
def before(debian: Debian) -> set[str]:
    """Every path before the first installation."""
    return everything(debian)


def install(debian: Debian, package: str, *options: str) -> str:
    return debian.run("apt-get", "install", "-y", "--no-install-recommends", *options, package)


def everything(debian: Debian) -> set[str]:
    """Every path of the system, without apt's records and without /root, which has the packages."""
    reported = run("find", debian.root, "-xdev", "-printf", "/%P\n").splitlines()
    others = ("/root/", "/var/log/", "/var/cache/apt", "/var/cache/ldconfig", "/var/lib/apt/")
    return {path for path in reported if not path.startswith(others)}


def older(debian: Debian, package: str) -> str:
    """The package with a lower version and another shipped config, as an earlier release."""
    folder = debian.root / "root" / "older"
    run("dpkg-deb", "-R", debian.file(package), folder)
    control = folder / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 0.0.1", control.read_text()))
    shipped = folder / CONFIG.lstrip("/")
    shipped.write_text("# an earlier release\n" + shipped.read_text())
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", folder, f"{folder}.deb")
    return "/root/older.deb"


def test_it_installs_and_the_demo_passes(debian: Debian, before: set[str]) -> None:
    install(debian, older(debian, "/root/facepay-agent.deb"))
    assert "facepay demo" in debian.run("facepay", "--help")
    assert "7 of 7 ended as expected" in debian.run("facepay", "demo")
    assert debian.run("dpkg", "--verify", "facepay-agent") == "", "the demo changed an installed file"


def test_python_of_the_users_shell_has_no_effect(debian: Debian) -> None:
    other = debian.file("/root/other/agent/__init__.py")
    other.parent.mkdir(parents=True)
    other.write_text("raise SystemExit(9)")
    for variable in ("PYTHONPATH=/root/other", "PYTHONHOME=/root"):
        assert "facepay-agent " in debian.run("env", variable, "facepay", "--version")


def test_no_unit_is_enabled_and_config_check_names_the_risks(debian: Debian) -> None:
    assert not list(debian.file("/etc/systemd/system").rglob("facepay*"))
    refused = debian.run("facepay", "config", "check", "--config", CONFIG, ok=(78,))
    assert "shop does not run with plain_mqtt" in refused, "valid, refused only for its risks"


def test_secrets_belong_to_root_and_the_state_to_the_service(debian: Debian) -> None:
    reported = debian.run(
        "stat",
        "-c",
        "%U %a %n",
        "/etc/facepay-agent/credentials",
        "/etc/facepay-agent/credentials/secret-key",
        STATE,
    )
    assert [line.split()[:2] for line in reported.splitlines()] == [
        ["root", "700"],
        ["root", "600"],
        ["facepay", "700"],
    ]


def test_each_package_in_it_brings_its_licence(debian: Debian) -> None:
    texts = debian.file("/usr/share/doc/facepay-agent/third-party")
    listed = debian.file("/usr/share/doc/facepay-agent/copyright").read_text()
    environment = next(debian.file("/opt/facepay-agent/lib").glob("python3*/site-packages"))
    names = [path.name.split("-")[0] for path in environment.glob("*.dist-info")]
    assert len(names) > 20
    for folder in texts.iterdir():
        assert f"  {folder.name} " in listed and any(folder.rglob("*"))
    assert len(list(texts.iterdir())) == len(names)


def test_an_upgrade_keeps_config_key_and_outbox(debian: Debian) -> None:
    config = debian.file(CONFIG)
    config.write_text(config.read_text().replace('terminal = "terminal"', 'terminal = "till-side-3"'))
    state = debian.file(STATE)
    key = Signer.load_or_create(state).public.pem()
    with closing(sqlite3.connect(state / FILE)) as db, db:
        db.execute("CREATE TABLE marker (what TEXT)")
    secret = debian.file("/etc/facepay-agent/credentials/secret-key")
    secret.write_text("not a real one")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in (config, secret, state / FILE)}

    install(debian, "/root/facepay-agent.deb", *KEEP_MINE)
    assert "0.0.1" not in debian.run("dpkg-query", "-W", "-f", "${Version}", "facepay-agent")
    assert before == {path: hashlib.sha256(path.read_bytes()).digest() for path in before}
    assert Signer.load(state / KEY_FILE).public.pem() == key
    assert debian.has(f"{CONFIG}.dpkg-dist"), "the new release's config is beside the operator's config"


def test_remove_keeps_state_and_config(debian: Debian) -> None:
    debian.run("systemctl", "enable", "facepay-agent.service")
    debian.run("apt-get", "remove", "-y", "facepay-agent")
    assert not debian.has("/opt/facepay-agent") and not debian.has("/usr/bin/facepay")
    assert not list(debian.file("/etc/systemd/system").rglob("facepay*")), "still enabled"
    assert debian.has(f"{STATE}/{KEY_FILE}") and debian.has(CONFIG)


def test_purge_deletes_everything(debian: Debian, before: set[str]) -> None:
    upgrade = debian.file("/var/lib/facepay-upgrade")  # of facepay-after-upgrade
    upgrade.mkdir()
    (upgrade / "failed").touch()
    debian.run("apt-get", "purge", "-y", "facepay-agent")
    assert everything(debian) == before
    for table in ("passwd", "group", "shadow", "gshadow"):
        assert "facepay" not in debian.file(f"/etc/{table}").read_text(), table


def test_purge_empties_a_partition_that_is_mounted_for_the_state(debian: Debian) -> None:
    state, script = debian.file(STATE), debian.file("/root/postrm")
    state.mkdir()
    run("mount", "-t", "tmpfs", "none", str(state))
    try:
        (state / FILE).touch()
        script.write_bytes((ROOT / "packaging/postrm").read_bytes())
        debian.run("sh", "/root/postrm", "purge")
        assert list(state.iterdir()) == []
    finally:
        run("umount", str(state))
        state.rmdir()
        script.unlink()


def test_purge_with_a_process_of_the_service_user_names_it_and_ends(debian: Debian) -> None:
    debian.file("/root/postrm").write_bytes((ROOT / "packaging/postrm").read_bytes())
    begin = (
        "useradd --system facepay; setpriv --reuid=facepay --regid=facepay --clear-groups sleep 60 & "
        "until [ $(stat -c %U /proc/$!) = facepay ]; do sleep 0.1; done"
    )
    reported = debian.run("sh", "-c", f"{begin}; sh /root/postrm purge")
    assert "end this process, then: userdel facepay" in reported
    debian.run("sh", "/root/postrm", "purge")  # the process has ended with its namespace
    assert "facepay" not in debian.file("/etc/passwd").read_text()


def test_purge_names_the_folder_to_which_the_state_was_linked(debian: Debian) -> None:
    debian.run("sh", "-c", f"mkdir /srv/state; touch /srv/state/{KEY_FILE}; ln -s /srv/state {STATE}")
    assert "/srv/state" in debian.run("sh", "/root/postrm", "purge")
    assert not debian.has(STATE) and debian.has(f"/srv/state/{KEY_FILE}")
