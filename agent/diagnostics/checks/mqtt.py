"""Checks of the MQTT broker: connection, certificate, rights of the terminal.

A second connection with the terminal's certificate can end the agent's connection. So no check connects while
an agent is connected.
"""

from collections.abc import Mapping
from typing import Any

from agent.config.tls_files import unverified_context
from agent.core.hosts import is_address
from agent.diagnostics.check import Finding, consequence, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks.agent import condition_fix, reported
from agent.diagnostics.checks.config import without_secrets
from agent.diagnostics.checks.network import endpoint as api_endpoint
from agent.diagnostics.checks.network import unconnected, unresolved
from agent.diagnostics.checks.tls import Keys, handshake
from agent.diagnostics.endpoint_probe import Endpoint, addresses, connect
from agent.texts import Text

_RIGHTS_FIX = Text("fix.broker_rights_missing")
_NO_TLS_FIX = Text("fix.broker_without_tls")
_KEYS = Keys("[mqtt] host", "mqtt.ca_file")
_WITHOUT_ANSWER = ("mqtt_unreachable", "mqtt_certificate_refused", "mqtt_tls_failed")


def tls(inputs: CheckInputs) -> Finding:
    """The certificate of the broker; also while an agent is connected."""
    where = _endpoint(inputs)
    if not where.tls:
        return skipped(Text("why.mqtt.plain"))
    obstacle = without_secrets(inputs.config(), "mqtt")
    if obstacle is not None:
        return obstacle
    if _connection_fault(inputs, where) is not None:
        return skipped(Text("why.mqtt.tls.no_connection"))
    return handshake(inputs, where, inputs.broker_trust(), _KEYS, _NO_TLS_FIX)


def connection(inputs: CheckInputs) -> Finding:
    """Connect as far as CONNACK; for a running agent, read its status instead."""
    status, where = inputs.status_if_running(), _endpoint(inputs)
    if status is not None and status["mqtt"]["connected"]:
        return passed(Text("why.mqtt.connect.agent_connected", where=where))
    obstacle = without_secrets(inputs.config(), "mqtt")
    fault = _connection_fault(inputs, where)
    if fault is not None:
        return fault
    if status is not None:
        reported = _broker_fault(status)
        if reported is not None:
            why = Text("why.mqtt.connect.reported", where=where, condition=reported[1])
            return failed(why, condition_fix(reported[0]))
        unknown = failed(Text("why.mqtt.connect.not_connected", where=where), Text("fix.read_broker_log"))
        return _tls_fault(inputs, where) or unknown
    if obstacle is not None:
        return obstacle
    probe = inputs.broker()
    if probe.refused:
        why = Text("why.mqtt.connect.refused", where=where, reason=probe.reason)
        return failed(why, condition_fix(probe.refused))
    if not probe.connected:
        silent = failed(Text("why.mqtt.connect.no_answer", where=where), Text("fix.broker_not_answering"))
        return _tls_fault(inputs, where) or silent
    return passed(Text("why.mqtt.connect.accepted", where=where))


def roundtrip(inputs: CheckInputs) -> Finding:
    """Publish on the terminal's ``doctor`` topic and receive the message and the last will."""
    status = inputs.status_if_running()
    if status is not None:
        fault = _broker_fault(status)
        if fault is not None and status["mqtt"]["connected"]:
            return failed(Text("why.mqtt.roundtrip.reported", condition=fault[1]), condition_fix(fault[0]))
        if _has_request(status):
            return skipped(Text("why.mqtt.roundtrip.connected"))
        name = f"{status['site']}/{status['terminal']}"
        return skipped(Text("why.mqtt.roundtrip.no_request", name=name))
    obstacle = without_secrets(inputs.config(), "mqtt")
    if obstacle is not None:
        return obstacle
    probe = inputs.broker()
    if probe.subscription_refused:
        return failed(Text("why.mqtt.roundtrip.subscription"), _RIGHTS_FIX)
    if probe.publish_error:
        return failed(Text("why.mqtt.roundtrip.publish", error=probe.publish_error), _RIGHTS_FIX)
    if probe.roundtrip_ms is None:
        return failed(Text("why.mqtt.roundtrip.unread"), _RIGHTS_FIX)
    if not probe.will_received:
        return warning(Text("why.mqtt.roundtrip.no_will"), Text("fix.broker_will_refused"))
    return passed(Text("why.mqtt.roundtrip.received", roundtrip_ms=probe.roundtrip_ms))


def _has_request(status: Mapping[str, Any]) -> bool:
    """Whether a request arrived since the start of the agent.

    A broker can accept the subscription of a terminal that may not read requests, as mosquitto does.
    """
    return any(any(status["counters"][name].values()) for name in ("results", "refusals"))


def _endpoint(inputs: CheckInputs) -> Endpoint:
    mqtt = inputs.config().mqtt
    return Endpoint(mqtt.host, mqtt.port, "", mqtt.tls)


def _connection_fault(inputs: CheckInputs, where: Endpoint) -> Finding | None:
    """Why no TCP connection is possible; None when one was opened."""
    try:
        candidates = addresses(inputs, where.host, where.port)
    except OSError as error:
        if _has_no_name_server(inputs):
            return consequence("net.dns")
        return unresolved(where.host, error)
    try:
        connect(candidates).close()
    except OSError as error:
        return unconnected(where, error, "[mqtt] host, port")
    return None


def _tls_fault(inputs: CheckInputs, where: Endpoint) -> Finding | None:
    """The finding for a broker that requires TLS, which the config does not use."""
    if where.tls:
        return None
    try:
        with connect(addresses(inputs, where.host, where.port)) as plain:
            unverified_context().wrap_socket(plain, server_hostname=where.host).close()
    except OSError:
        return None
    return failed(Text("why.mqtt.connect.requires_tls", where=where), Text("fix.broker_requires_tls"))


def _has_no_name_server(inputs: CheckInputs) -> bool:
    """Whether the API's name has no address either; then ``net.dns`` failed."""
    api = api_endpoint(inputs)
    try:
        addresses(inputs, api.host, api.port)
    except OSError:
        return not is_address(api.host)
    return False


def _broker_fault(status: Mapping[str, Any]) -> tuple[str, Text] | None:
    """The first broker condition of a running agent: its code, and the code with details.

    Without the conditions before an answer of the broker: the checks examine that part themselves.
    """
    for condition in status["conditions"]:
        code = str(condition["code"])
        if code.startswith("mqtt_") and code not in _WITHOUT_ANSWER:
            return code, reported(condition)
    return None
