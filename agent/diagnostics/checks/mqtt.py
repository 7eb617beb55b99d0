"""The broker: can it be reached, does it take this terminal, may the terminal publish and hear?

A second connection with this terminal's certificate may throw the agent's own off the broker. So while an
agent is connected, nobody else connects.
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
from agent.diagnostics.checks.network import BROKER_KEYS, BROKER_WAY, RESOLVER, unconnected, unresolved, way
from agent.diagnostics.checks.network import endpoint as api_endpoint
from agent.diagnostics.checks.tls import handshake
from agent.diagnostics.endpoint_probe import Endpoint, addresses, connect, is_address
from agent.diagnostics.world import World
from agent.health.conditions import CONDITIONS
from agent.texts import Text

_RIGHTS = Text("fix.broker_rights_missing")
_WILL = Text("fix.broker_will_refused")
_LOG = Text("fix.read_broker_log")
_NO_BROKER = Text("fix.broker_not_answering")


def tls(world: World) -> Finding:
    """The certificate that the broker shows, also beside an agent that is connected."""
    mqtt = world.config().mqtt
    where = Endpoint(mqtt.host, mqtt.port, "", mqtt.tls)
    if not where.tls:
        return skipped("no TLS to the broker")
    hindrance = without_secrets(world.config(), "mqtt")
    if hindrance is not None:
        return hindrance
    if _way_there(world, where) is not None:
        return skipped("no connection to look at; mqtt.connect says why")
    return handshake(world, where, world.broker_trust(), "mqtt.ca_file", BROKER_WAY)


def reach(world: World) -> Finding:
    """As far as CONNECT; of a connected agent its own word."""
    told, mqtt = world.running(), world.config().mqtt
    where = Endpoint(mqtt.host, mqtt.port, "", mqtt.tls)
    if told is not None and told["mqtt"]["connected"]:
        return passed(f"the agent is connected to {where}")
    hindrance = without_secrets(world.config(), "mqtt")
    trouble = _way_there(world, where)
    if trouble is not None:
        return trouble
    if told is not None:
        return _of_the_agent(told, where)
    if hindrance is not None:
        return hindrance
    look = world.broker()
    if look.refused:
        return failed(f"{where} refuses this terminal: {look.reason}", _remedy_of(look.refused))
    if not look.connected:
        return failed(f"{where} takes the connection, but no MQTT 5 is answered", _NO_BROKER)
    return passed(f"{where} takes this terminal")


def roundtrip(world: World) -> Finding:
    """Publish on this terminal's own ``doctor`` topic and hear it; the will of a cut connection, too."""
    told = world.running()
    if told is not None:
        fault = _reported(told)
        if fault is not None and told["mqtt"]["connected"]:
            return failed(f"the running agent reports {fault[1]}", _remedy_of(fault[0]))
        return skipped("the agent holds the connection: a second one could throw it off")
    hindrance = without_secrets(world.config(), "mqtt")
    if hindrance is not None:
        return hindrance
    look = world.broker()
    if look.deaf:
        return failed("the broker refuses the terminal's subscriptions (ACL)", _RIGHTS)
    if look.publish_error:
        return failed(
            f"the broker refuses a message on the terminal's own topic (ACL): {look.publish_error}", _RIGHTS
        )
    if look.echo_ms is None:
        return failed(
            "published, but not delivered back: the broker's ACL lets the terminal not read it", _RIGHTS
        )
    if not look.will_heard:
        return warning("published and heard, but the last will of a cut connection did not come", _WILL)
    return passed(f"published and heard in {look.echo_ms} ms, last will heard")


def _way_there(world: World, where: Endpoint) -> Finding | None:
    """None when name and port are right."""
    try:
        found = addresses(world, where.host, where.port)
    except OSError as error:
        if _name_server_is_away(world):
            return consequence("net.dns")
        return failed(unresolved(where.host, error), RESOLVER)
    try:
        connect(found).close()
    except OSError as error:
        return failed(unconnected(str(where), error), way(error, BROKER_KEYS))
    return None


def _name_server_is_away(world: World) -> bool:
    """Then the API's name has no address either, and ``net.dns`` has said so."""
    api = api_endpoint(world)
    if is_address(api.host):
        return False
    try:
        addresses(world, api.host, api.port)
    except OSError:
        return True
    return False


def _of_the_agent(told: Mapping[str, Any], where: Endpoint) -> Finding:
    fault = _reported(told)
    if fault is not None:
        return failed(f"{where}: the agent reports {fault[1]}", _remedy_of(fault[0]))
    return failed(f"{where} can be reached, but the agent is not connected", _LOG)


def _reported(told: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first fault of the broker that the running agent reports: its code, and the code with details."""
    for each in told["conditions"]:
        code = str(each["code"])
        if code.startswith("mqtt_") and code != "mqtt_unreachable":
            return code, " ".join(filter(None, (code, each.get("detail", ""))))
    return None


def _remedy_of(code: str) -> Text:
    return CONDITIONS[code].fix
