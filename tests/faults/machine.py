"""Faults of the disk, the files, the unit and the machine."""

from __future__ import annotations

from tests.faults.box import AGENT, CONFIG, CREDENTIALS, MODEL, STATE, FaultBox
from tests.faults.fault import Fault


def disk_full(box: FaultBox) -> None:
    box.state_on_tmpfs("size=64m")
    box.do(
        f"runuser -u facepay -- sh -c 'umask 077; "
        f"dd if=/dev/zero of={STATE}/last-verification.json.1 bs=4k status=none' || true"
    )


def disk_full_after_restart(box: FaultBox) -> None:
    disk_full(box)
    box.restart()


def no_inodes(box: FaultBox) -> None:
    box.state_on_tmpfs("size=64m,nr_inodes=1200")
    box.do(
        f"mkdir -p {STATE}/traces; cd {STATE}/traces; seq 1200 | xargs -I N touch N.jsonl || true; "
        f"chown -R facepay: {STATE}; chmod 600 {STATE}/traces/*; chmod 700 {STATE}/traces"
    )


def read_only(box: FaultBox) -> None:
    """The kernel has made the file system read-only, and the agent starts on it."""
    box.state_on_tmpfs("size=64m")
    box.do(f"systemctl stop {AGENT}; mount -o remount,ro {STATE}")
    box.restart()


def outbox_of_root(box: FaultBox) -> None:
    box.do(f"systemctl stop {AGENT}; chown root: {STATE}/outbox.sqlite3; chmod 600 {STATE}/outbox.sqlite3")
    box.restart()


def outbox_damaged(box: FaultBox) -> None:
    box.do(f"systemctl stop {AGENT}; rm -f {STATE}/outbox.sqlite3-*")
    box.do(f"dd if=/dev/urandom of={STATE}/outbox.sqlite3 bs=1k count=8 conv=notrunc status=none")
    box.restart()


def model_damaged(box: FaultBox) -> None:
    box.do(f"printf x | dd of=$(echo {MODEL}) bs=1 seek=1000 conv=notrunc status=none")
    box.restart()


def model_removed(box: FaultBox) -> None:
    box.do(f"rm {MODEL}")
    box.restart()


def agent_hangs(box: FaultBox) -> None:
    """Without the watchdog, which restarts the agent after 30 s: a busy machine takes longer."""
    box.drop_in("WatchdogSec=0")
    box.restart()
    box.do(f"systemctl kill --signal=STOP --kill-whom=main {AGENT}")


def too_hot(box: FaultBox) -> None:
    zone = "/sys/class/thermal"
    box.do(
        f"mount -t tmpfs none {zone} && mkdir {zone}/thermal_zone0 && echo 91000 >{zone}/thermal_zone0/temp"
    )
    box.restart()


def config_typo(box: FaultBox) -> None:
    box.configure({"mqtt.hots": "x"})
    box.restart()


def config_not_toml(box: FaultBox) -> None:
    box.write_config(box.box.file(CONFIG).read_text() + "[log\n")
    box.restart()


def config_0600(box: FaultBox) -> None:
    box.do(f"chown root: {CONFIG}; chmod 600 {CONFIG}")
    box.restart()


def credential_missing(box: FaultBox) -> None:
    box.do(f"rm {CREDENTIALS}/mqtt-password")
    box.restart()


def key_empty(box: FaultBox) -> None:
    box.write_secret(b"")
    box.restart()


def key_with_bom(box: FaultBox) -> None:
    from agent.service.settings import EXAMPLE_SECRET

    box.write_secret(b"\xef\xbb\xbf" + EXAMPLE_SECRET)
    box.restart()


def page_port_taken(box: FaultBox) -> None:
    box.do(f"systemctl stop {AGENT}")
    box.stub("port", "taken", "8090")
    box.restart()


def unit_disabled(box: FaultBox) -> None:
    box.do(f"systemctl --quiet disable --now {AGENT}")


MACHINE_FAULTS = (
    Fault("disk_full", "Disk full", disk_full, "sys.disk", "MB free", "du -xh", "storage_unavailable"),
    Fault(
        "disk_full_restart",
        "Disk full, agent restarted",
        disk_full_after_restart,
        "sys.disk",
        "MB free",
        "du -xh",
        "storage_unavailable",
    ),
    Fault("no_inodes", "No inodes left", no_inodes, "sys.disk", "inodes left", "du -xh", "inodes left"),
    Fault(
        "read_only",
        "Disk read-only",
        read_only,
        "sys.disk",
        "read-only",
        "replace the card",
        "Read-only file system",
        also=("service.state",),
    ),
    Fault(
        "outbox_of_root",
        "Outbox owned by root",
        outbox_of_root,
        "keys.permissions",
        "outbox.sqlite3 belongs to user 0",
        "chown",
        "outbox.sqlite3",
        also=("service.state",),
    ),
    Fault(
        "outbox_damaged",
        "Outbox damaged",
        outbox_damaged,
        "outbox.state",
        "damaged",
        "back office",
        "outbox_reset",
    ),
    Fault(
        "model_damaged",
        "Detector model damaged",
        model_damaged,
        "model.integrity",
        "model_checksum",
        "--reinstall",
        "model_checksum",
        also=("service.state",),
    ),
    Fault(
        "model_removed",
        "Detector model removed",
        model_removed,
        "model.integrity",
        "model_missing",
        "--reinstall",
        "model_missing",
        also=("service.state",),
    ),
    Fault(
        "agent_hangs",
        "Agent stopped with SIGSTOP",
        agent_hangs,
        "agent.status",
        "does not answer",
        "systemctl restart",
        "agent_hung",
    ),
    Fault("too_hot", "Processor at 91 °C", too_hot, "sys.thermal", "91 °C", "ventilation", "terminal_hot"),
    Fault(
        "config_typo",
        "Key misspelt in the config",
        config_typo,
        "config.lint",
        "mqtt.hots: unknown key",
        "config",
        "mqtt.hots: unknown key",
    ),
    Fault(
        "config_not_toml",
        "Config is not TOML",
        config_not_toml,
        "config.lint",
        "not TOML",
        "Correct the syntax",
        "not TOML",
    ),
    Fault(
        "config_0600",
        "Config readable for root only",
        config_0600,
        "service.state",
        "Permission denied",
        "chgrp facepay",
        "Permission denied",
    ),
    Fault(
        "credential_missing",
        "Credential file missing",
        credential_missing,
        "service.state",
        "mqtt-password is missing",
        "install -m 600",
        "mqtt-password is missing",
    ),
    Fault(
        "key_empty",
        "API key file empty",
        key_empty,
        "keys.files",
        "is empty",
        "compare.secret_key_file",
        "secret-key: empty",
    ),
    Fault(
        "key_with_bom",
        "API key with byte order mark",
        key_with_bom,
        "keys.files",
        "byte order mark",
        "compare.secret_key_file",
        "byte order mark",
    ),
    Fault(
        "page_port_taken",
        "Port of the page taken",
        page_port_taken,
        "agent.conditions",
        "page_unavailable",
        "End the program",
        "page_unavailable",
    ),
    Fault(
        "unit_disabled",
        "Unit disabled and stopped",
        unit_disabled,
        "service.state",
        "disabled",
        "systemctl enable --now facepay-agent",
        "systemctl enable --now facepay-agent",
    ),
)
