"""Checks of the MQTT broker: connection, certificate, rights of the terminal.

A second connection with the terminal's certificate can end the agent's connection. So no check connects while
an agent is connected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.diagnostics.check import (
    Finding,
    consequence,
    failed,
    passed,
    skipped,
    warning,
)
from agent.diagnostics.checks.config import without_secrets
from agent.diagnostics.checks.network import (
    BROKER_FIX,
    BROKER_KEYS,
    RESOLVER,
    connection_fix,
    unconnected,
    unresolved,
)
from agent.diagnostics.checks.network import endpoint as api_endpoint
from agent.diagnostics.checks.tls import handshake
from agent.diagnostics.endpoint_probe import Endpoint, addresses, connect, is_address
from agent.diagnostics.world import World
from agent.health.conditions import condition_of
from agent.texts import Text

_RIGHTS = Text("fix.broker_rights_missing")
_WILL = Text("fix.broker_will_refused")
_LOG = Text("fix.read_broker_log")
_NO_BROKER = Text("fix.broker_not_answering")


def tls(world: World) -> Finding:
    """The certificate of the broker; also while an agent is connected."""
    mqtt = world.config().mqtt
    where = Endpoint(mqtt.host, mqtt.port, "", mqtt.tls)
    if not where.tls:
        return skipped("no TLS to the broker")
    obstacle = without_secrets(world.config(), "mqtt")
    if obstacle is not None:
        return obstacle
    if _connection_fault(world, where) is not None:
        return skipped("no connection; see mqtt.connect")
    return handshake(world, where, world.broker_trust(), "mqtt.ca_file", BROKER_FIX)


def reach(world: World) -> Finding:
    """Connect as far as CONNACK; for a running agent, read its status instead."""
    status, mqtt = world.running(), world.config().mqtt
    where = Endpoint(mqtt.host, mqtt.port, "", mqtt.tls)
    if status is not None and status["mqtt"]["connected"]:
        return passed(f"the agent is connected to {where}")
    obstacle = without_secrets(world.config(), "mqtt")
    fault = _connection_fault(world, where)
    if fault is not None:
        return fault
    if status is not None:
        return _agent_fault(status, where)
    if obstacle is not None:
        return obstacle
    probe = world.broker()
    if probe.refused:
        return failed(f"{where} refuses this terminal: {probe.reason}", _fix_of(probe.refused))
    if not probe.connected:
        return failed(f"{where} accepts the connection, but does not answer in MQTT 5", _NO_BROKER)
    return passed(f"{where} accepts this terminal")


def roundtrip(world: World) -> Finding:
    """Publish on the terminal's ``doctor`` topic and receive the message and the last will."""
    status = world.running()
    if status is not None:
        fault = _broker_fault(status)
        if fault is not None and status["mqtt"]["connected"]:
            return failed(f"the running agent reports {fault[1]}", _fix_of(fault[0]))
        return skipped("the agent is connected: a second connection could end its connection")
    obstacle = without_secrets(world.config(), "mqtt")
    if obstacle is not None:
        return obstacle
    probe = world.broker()
    if probe.deaf:
        return failed("the broker refuses the terminal's subscriptions (ACL)", _RIGHTS)
    if probe.publish_error:
        return failed(
            f"the broker refuses a message on the terminal's own topic (ACL): {probe.publish_error}", _RIGHTS
        )
    if probe.roundtrip_ms is None:
        return failed("published, but not received: the broker's ACL does not allow to read it", _RIGHTS)
    if not probe.will_received:
        return warning("published and received, but the last will of a cut connection did not come", _WILL)
    return passed(f"published and received in {probe.roundtrip_ms} ms, last will received")


def _connection_fault(world: World, where: Endpoint) -> Finding | None:
    """Why no TCP connection is possible; None when one was opened."""
    try:
        found = addresses(world, where.host, where.port)
    except OSError as error:
        if _has_no_name_server(world):
            return consequence("net.dns")
        return failed(unresolved(where.host, error), RESOLVER)
    try:
        connect(found).close()
    except OSError as error:
        return failed(unconnected(str(where), error), connection_fix(error, BROKER_KEYS))
    return None


def _has_no_name_server(world: World) -> bool:
    """Whether the API's name has no address either; then ``net.dns`` failed."""
    api = api_endpoint(world)
    if is_address(api.host):
        return False
    try:
        addresses(world, api.host, api.port)
    except OSError:
        return True
    return False


def _agent_fault(status: Mapping[str, Any], where: Endpoint) -> Finding:
    fault = _broker_fault(status)
    if fault is not None:
        return failed(f"{where}: the agent reports {fault[1]}", _fix_of(fault[0]))
    return failed(f"{where} can be reached, but the agent is not connected", _LOG)


def _broker_fault(status: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first broker condition of a running agent: its code, and the code with details."""
    for each in status["conditions"]:
        code = str(each["code"])
        if code.startswith("mqtt_") and code != "mqtt_unreachable":
            return code, " ".join(filter(None, (code, each.get("detail", ""))))
    return None


def _fix_of(code: str) -> Text:
    known = condition_of(code)
    return known.fix if known else Text("fix.other_version_running")
