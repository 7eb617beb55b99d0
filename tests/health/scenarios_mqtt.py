"""Faults of the broker connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.messages.encode import TerminalIdentity, state
from agent.messages.signing import Signer
from agent.mqtt import status
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions
from agent.root import background_jobs
from agent.till import state_publisher
from tests.broker_example.pki import Authority
from tests.e2e.agents import TOPICS
from tests.health.stage import Scenario, Stage
from tests.mqtt.scripted import NOT_AUTHORISED, Script, connack, scripted, scripted_broker

CLIENT_ID = "facepay-shop-1-terminal-1"


@asynccontextmanager
async def broker_is_killed(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.broker.kill()
    yield
    stage.broker.start()


@asynccontextmanager
async def broker_does_not_know_the_terminal(stage: Stage) -> AsyncIterator[None]:
    stage.broker.stop()
    passwords = stage.place.folder / "passwords"
    passwords.touch(0o600)
    stage.broker.allow(f"password_file {passwords}", anonymous=False)
    await stage.start()
    yield
    stage.broker.stop()
    stage.broker.allow()


@asynccontextmanager
async def broker_refuses_the_subscriptions(stage: Stage) -> AsyncIterator[None]:
    stage.broker.stop()  # an ACL file of mosquitto never refuses a subscription; other brokers do
    async with scripted_broker(NOT_AUTHORISED, stage.broker.port):
        await stage.start()
        yield
    stage.broker.start()


def connect_is_refused_with(reason: int, properties: bytes = b"") -> Scenario:
    """A broker that answers each CONNECT with this reason code."""

    @asynccontextmanager
    async def scenario(stage: Stage) -> AsyncIterator[None]:
        stage.broker.stop()
        async with scripted(Script(connack(reason, properties)), stage.broker.port):
            await stage.start()
            yield
        stage.broker.start()

    return scenario


@asynccontextmanager
async def broker_has_no_retained_messages(stage: Stage) -> AsyncIterator[None]:
    stage.broker.stop()
    stage.broker.allow("retain_available false")
    await stage.start()
    yield
    stage.broker.stop()
    stage.broker.allow()


@asynccontextmanager
async def acl_refuses_each_publication(stage: Stage) -> AsyncIterator[None]:
    stage.broker.stop()
    acl = stage.place.folder / "acl"
    acl.write_text("topic read #\n")
    stage.broker.allow(f"acl_file {acl}")
    await stage.start()
    yield
    stage.broker.stop()
    stage.broker.allow()


@asynccontextmanager
async def broker_accepts_small_packets_only(stage: Stage) -> AsyncIterator[None]:
    """Large enough for CONNECT, too small for ``state`` with its key and limits."""
    stage.broker.stop()
    stage.broker.allow("max_packet_size 900")
    await stage.start()
    yield
    stage.broker.stop()
    stage.broker.allow()


@asynccontextmanager
async def client_id_is_used_by_a_second_terminal(stage: Stage) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(status, "SINGLE_CLIENT_AFTER_S", 1.0)
        await stage.start()
        await stage.until(lambda: stage.running.till.connection.is_connected)
        second_is_up = asyncio.Event()
        mqtt = stage.agent_config().mqtt
        second = Connection(
            mqtt, ClientOptions(CLIENT_ID, [("a", 1)], lambda _message: None, second_is_up.set)
        )
        await second.start()
        await second_is_up.wait()
        yield
        await second.stop()
        await stage.until(lambda: "mqtt_client_id_taken" not in stage.shown())


@asynccontextmanager
async def topics_are_used_by_a_second_terminal(stage: Stage) -> AsyncIterator[None]:
    """A terminal with another key publishes ``online`` to the same state topic."""
    other = TerminalIdentity("shop-1", "terminal-1", boot_id="another-boot", epoch="e" * 32)
    living = state("online", other, {"key": {"kid": "cc" * 8, "sha256": "cc" * 32}}, Signer.generate())
    await stage.start()
    await stage.until(lambda: stage.running.till.connection.is_connected)
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect("127.0.0.1", stage.broker.port)
    client.loop_start()
    client.publish(TOPICS.state, living, qos=1, retain=True).wait_for_publish(5)
    yield
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_publisher, "CLONED_FOR_S", 1.0)
        client.publish(TOPICS.state, living, qos=1, retain=True).wait_for_publish(5)  # the last one
        client.disconnect()
        client.loop_stop()
        await stage.until(lambda: "terminal_cloned" not in stage.shown())


@asynccontextmanager
async def certificate_expires_and_is_renewed(
    stage: Stage, days: float, *, required: bool = True
) -> AsyncIterator[None]:
    """A broker with client certificates. The certificate ends in ``days`` and is replaced at the end."""
    folder = stage.place.folder
    authority = Authority(folder, "ca")
    broker, terminal = authority.issue("broker"), authority.issue("terminal-1", days=days)
    files = (f"cafile {authority.path}", f"certfile {broker.cert}", f"keyfile {broker.key}")
    stage.place.mqtt = "tls = true\n" + "\n".join(
        f'{key} = "{path}"'
        for key, path in (
            ("ca_file", authority.path),
            ("cert_file", terminal.cert),
            ("key_file", terminal.key),
        )
    )
    stage.broker.stop()
    stage.broker.allow(*files, f"require_certificate {str(required).lower()}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background_jobs, "CERTIFICATE_EVERY_S", 0.1)
        await stage.start()
        yield
        authority.issue("terminal-1", days=90)
        await stage.until(lambda: not stage.shown())  # without a restart of the agent


@asynccontextmanager
async def certificate_ends_in_three_weeks(stage: Stage) -> AsyncIterator[None]:
    async with certificate_expires_and_is_renewed(stage, 21):
        await stage.until(lambda: stage.running.till.connection.is_connected)
        yield


@asynccontextmanager
async def certificate_ends_in_three_days(stage: Stage) -> AsyncIterator[None]:
    async with certificate_expires_and_is_renewed(stage, 3):
        await stage.until(lambda: stage.running.till.connection.is_connected)
        yield


@asynccontextmanager
async def certificate_ended_yesterday(stage: Stage) -> AsyncIterator[None]:
    async with certificate_expires_and_is_renewed(stage, -1, required=False):  # else mqtt_unreachable, too
        await stage.until(lambda: stage.running.till.connection.is_connected)
        yield


@asynccontextmanager
async def broker_port_requires_tls(stage: Stage) -> AsyncIterator[None]:
    broker = Authority(stage.place.folder, "ca").issue("broker")
    stage.broker.stop()
    stage.broker.allow(f"certfile {broker.cert}", f"keyfile {broker.key}")
    await stage.start()
    yield
    stage.broker.stop()
    stage.broker.allow()


@asynccontextmanager
async def broker_certificate_is_of_another_ca(stage: Stage) -> AsyncIterator[None]:
    folder = stage.place.folder
    broker, other = Authority(folder, "ca").issue("broker"), Authority(folder, "other")
    stage.place.mqtt = f'tls = true\nca_file = "{folder / "ca-of-terminal.pem"}"'
    (folder / "ca-of-terminal.pem").write_bytes(other.path.read_bytes())
    stage.broker.stop()
    stage.broker.allow(f"certfile {broker.cert}", f"keyfile {broker.key}")
    await stage.start()
    yield
    (folder / "ca-of-terminal.pem").write_bytes((folder / "ca.pem").read_bytes())


SCENARIOS: dict[str, Scenario] = {
    "mqtt_unreachable": broker_is_killed,
    "mqtt_tls_failed": broker_port_requires_tls,
    "mqtt_certificate_refused": broker_certificate_is_of_another_ca,
    "mqtt_refused": broker_does_not_know_the_terminal,
    "mqtt_banned": connect_is_refused_with(0x8A),
    "mqtt_protocol_refused": connect_is_refused_with(0x84),
    "mqtt_client_id_refused": connect_is_refused_with(0x85),
    "mqtt_broker_busy": connect_is_refused_with(0x89),
    "mqtt_quota_exceeded": connect_is_refused_with(0x97),
    "mqtt_broker_moved": connect_is_refused_with(0x9D, b"\x1c\x00\x0bother:18830"),
    "mqtt_broker_fault": connect_is_refused_with(0x83),
    "mqtt_broker_limits": broker_has_no_retained_messages,
    "mqtt_publish_refused": acl_refuses_each_publication,
    "mqtt_message_not_taken": broker_accepts_small_packets_only,
    "mqtt_subscription_refused": broker_refuses_the_subscriptions,
    "terminal_cloned": topics_are_used_by_a_second_terminal,
    "certificate_ends_soon": certificate_ends_in_three_weeks,
    "certificate_ends_this_week": certificate_ends_in_three_days,
    "certificate_ended": certificate_ended_yesterday,
    "mqtt_client_id_taken": client_id_is_used_by_a_second_terminal,
}
