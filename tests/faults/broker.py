"""Faults of the broker and of its certificates."""

from __future__ import annotations

from tests.faults.box import BROKER, CONFIG, FaultBox
from tests.faults.fault import Fault

PLAIN = "listener 8883\nallow_anonymous true\n"
DYNAMIC = """listener 8883
allow_anonymous false
cafile /etc/mosquitto/facepay/terminals-ca.pem
certfile /etc/mosquitto/facepay/server.pem
keyfile /etc/mosquitto/facepay/server-key.pem
require_certificate true
use_identity_as_username true
plugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so
plugin_opt_config_file /etc/mosquitto/facepay/dynamic-security.json
"""
ROLES = """{
  "defaultACLAccess": {
    "publishClientSend": false, "publishClientReceive": true, "subscribe": true, "unsubscribe": true},
  "clients": [{"username": "terminal-1", "roles": [{"rolename": "terminal"}]}],
  "roles": [{"rolename": "terminal", "acls": [
    {"acltype": "publishClientSend", "topic": "facepay/v1/shop-1/terminal-1/state", "allow": true}]}]
}
"""


def wrong_site(box: FaultBox) -> None:
    box.configure({"site": "shop-2"})
    box.restart()


def two_agents(box: FaultBox) -> None:
    """A copy of the card: the same config, certificate and name in a second process."""
    box.do("mkdir -p /root/second && cp -a /root/state /root/second/state && chown -R root /root/second")
    key = "/etc/facepay-agent/credentials"
    config = box.box.file(CONFIG).read_text()
    config = config.replace("/run/credentials/facepay-agent.service", key).replace("8090", "8091")
    box.write("/root/second/agent.toml", config + '[storage]\ndirectory = "/root/second/state"\n', 0o600)
    command = "/usr/bin/facepay run --config /root/second/agent.toml"
    box.do(f"systemd-run --quiet --collect --unit=stub-second -p Type=notify {command}")
    box.status_with("mqtt_client_id_taken", 60)  # each connection ends the other one several times


def certificate_for_another_host(box: FaultBox) -> None:
    box.heal_broker(server=box.shop.issue("other", "other-host", days=300, hosts=("mail.shop.test",)))


def certificate_without_the_address(box: FaultBox) -> None:
    box.configure({"mqtt.host": "127.0.0.1"})
    box.restart()


def certificate_of_another_ca(box: FaultBox) -> None:
    box.heal_broker(server=box.other.issue(BROKER, "other-server", days=300, hosts=(BROKER,)))


def client_certificate_expired(box: FaultBox) -> None:
    box.client_certificate(box.shop.issue("terminal-1", "expired", days=-1))
    box.restart()


def key_of_another_certificate(box: FaultBox) -> None:
    box.client_certificate(box.terminal, key_of=box.shop.issue("terminal-2", days=300))
    box.restart()


def ca_file_missing(box: FaultBox) -> None:
    box.do("rm /etc/facepay-agent/ca.pem")
    box.restart()


def tls_to_plain(box: FaultBox) -> None:
    box.heal_broker(lines=PLAIN)


def plain_to_tls(box: FaultBox) -> None:
    box.configure(
        {
            "accepted_risks": ["replay_camera", "liveness_off", "plain_mqtt"],
            "mqtt.tls": False,
            "mqtt.ca_file": None,
            "mqtt.cert_file": None,
            "mqtt.key_file": None,
        }
    )
    box.restart()


def broker_down(box: FaultBox) -> None:
    box.do("systemctl stop mosquitto")


def broker_drops(box: FaultBox) -> None:
    box.do("systemctl stop mosquitto")
    box.stub("port", "dropping", "8883")


def acl_with_site_left_in(box: FaultBox) -> None:
    box.heal_broker(acl_site="SITE")


def role_without_results(box: FaultBox) -> None:
    box.write("/etc/mosquitto/facepay/dynamic-security.json", ROLES)
    box.heal_broker(lines=DYNAMIC)


def quota_exceeded(box: FaultBox) -> None:
    box.do("systemctl stop mosquitto")
    folder = "/etc/mosquitto/facepay"
    files = (f"{folder}/server.pem", f"{folder}/server-key.pem", f"{folder}/terminals-ca.pem")
    box.stub("broker", "0x97", "8883", *files)


BROKER_FAULTS = (
    Fault(
        "wrong_site",
        "`site` is another shop's",
        wrong_site,
        "mqtt.roundtrip",
        "mqtt_publish_refused",
        "correct site",
        "mqtt_publish_refused",
    ),
    Fault(
        "two_agents",
        "Two agents with one name",
        two_agents,
        "agent.conditions",
        "mqtt_client_id_taken",
        "same site and terminal",
        "mqtt_client_id_taken",
        also=(
            "mqtt.connect",
            "mqtt.roundtrip",
        ),
    ),
    Fault(
        "broker_certificate_host",
        "Broker certificate for another host",
        certificate_for_another_host,
        "mqtt.tls",
        "is for another name: mail.shop.test",
        "[mqtt] host",
        "certificate is refused: Hostname mismatch",
    ),
    Fault(
        "broker_certificate_address",
        "Broker certificate without the address",
        certificate_without_the_address,
        "mqtt.tls",
        "is for another name: broker.shop.test",
        "[mqtt] host",
        "certificate is refused: IP address mismatch",
    ),
    Fault(
        "broker_certificate_ca",
        "Broker certificate of another CA",
        certificate_of_another_ca,
        "mqtt.tls",
        "is not trusted",
        "mqtt.ca_file",
        "certificate is refused: unable to get local issuer",
    ),
    Fault(
        "client_certificate_expired",
        "Terminal certificate expired",
        client_certificate_expired,
        "mqtt.certificate",
        "ended",
        "facepay enrol",
        "certificate_ended",
    ),
    Fault(
        "key_of_another_certificate",
        "Key of another certificate",
        key_of_another_certificate,
        "mqtt.tls",
        "does not belong to the certificate",
        "private key that belongs",
        "does not belong to the certificate",
        also=("service.state",),
    ),
    Fault(
        "ca_file_missing",
        "CA file missing",
        ca_file_missing,
        "mqtt.tls",
        "mqtt.ca_file",
        "mqtt.ca_file",
        "mqtt.ca_file",
        also=("service.state",),
    ),
    Fault(
        "tls_to_plain",
        "TLS to a broker port without TLS",
        tls_to_plain,
        "mqtt.tls",
        "TLS handshake",
        "has no TLS",
        "mqtt_tls_failed",
    ),
    Fault(
        "plain_to_tls",
        "No TLS to a broker port with TLS",
        plain_to_tls,
        "mqtt.connect",
        "requires TLS",
        "mqtt.tls = true",
        "before its answer (CONNACK)",
    ),
    Fault(
        "broker_down",
        "Broker stopped",
        broker_down,
        "mqtt.connect",
        "connection refused",
        "[mqtt] host, port",
        "connection refused",
    ),
    Fault(
        "broker_drops",
        "Broker or firewall drops every packet",
        broker_drops,
        "mqtt.connect",
        "no answer",
        "[mqtt] host, port",
        "no answer",
    ),
    Fault(
        "acl_with_site",
        "Broker ACL with `SITE` left in",
        acl_with_site_left_in,
        "mqtt.roundtrip",
        "mqtt_publish_refused",
        "config/mosquitto/acl",
        "mqtt_publish_refused",
    ),
    Fault(
        "role_without_results",
        "Dynamic-security role without results",
        role_without_results,
        "mqtt.roundtrip",
        "mqtt_publish_refused",
        "config/mosquitto/acl",
        "mqtt_publish_refused",
    ),
    Fault(
        "quota_exceeded",
        "Broker quota used up",
        quota_exceeded,
        "mqtt.roundtrip",
        "mqtt_quota_exceeded",
        "quota",
        "mqtt_quota_exceeded",
    ),
)
