"""Why a connection attempt failed before the answer of the broker (CONNACK): the fault, and its description.

The descriptions contain no host and no port, because ``state`` publishes them.
"""

import socket
import ssl
from dataclasses import dataclass

from paho.mqtt.client import WebsocketConnectionError

from agent.config import MqttConfig
from agent.config.tls_files import unverified_context
from agent.errors import reason_of
from agent.mqtt.reason_codes import BrokerProblem
from agent.texts import Text

_PROBE_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    why: str | Text
    problem: BrokerProblem = BrokerProblem.UNREACHABLE


NO_ANSWER = ConnectFailure(Text("detail.no_answer"))


def failure_of(error: Exception, *, tls: bool) -> ConnectFailure:
    """The failure for an error of TCP or TLS. ``tls``: the connection uses TLS."""
    match error:
        case ssl.SSLCertVerificationError():
            why = Text("detail.broker_certificate", reason=reason_of(error))
            return ConnectFailure(why, BrokerProblem.CERTIFICATE)
        case ssl.SSLError():
            why = Text("detail.handshake_failed", reason=reason_of(error))
            return ConnectFailure(why, BrokerProblem.TLS)
        case socket.gaierror():
            return ConnectFailure(Text("detail.host_no_address", reason=reason_of(error)))
        case TimeoutError():
            return NO_ANSWER
        case WebsocketConnectionError():
            return ConnectFailure(Text("detail.no_websocket"))
        case ConnectionResetError() | BrokenPipeError() if tls:  # TCP was connected, and TLS failed
            return ConnectFailure(Text("detail.handshake_failed", reason=reason_of(error)), BrokerProblem.TLS)
        case _:
            return ConnectFailure(reason_of(error))


def failure_without_connack(config: MqttConfig, waited_s: float | None = None) -> ConnectFailure:
    """The failure of a connection without a CONNACK. Blocks at most some seconds.

    A port that requires TLS ends a connection without TLS in this way; a TLS handshake without data shows it.

    Args:
        waited_s: this client ended the connection after such a wait; None: the broker ended it.
    """
    if not config.tls and _requires_tls(config):
        return ConnectFailure(Text("detail.no_connack_tls"), BrokerProblem.TLS)
    if waited_s is not None:
        return ConnectFailure(Text("detail.connack_late", limit_s=waited_s))
    return ConnectFailure(Text("detail.no_connack"))


def _requires_tls(config: MqttConfig) -> bool:
    try:
        with socket.create_connection((config.host, config.port), _PROBE_TIMEOUT_S) as plain:
            unverified_context().wrap_socket(plain, server_hostname=config.host).close()
    except OSError:
        return False
    return True
