"""Why a connection attempt failed before the answer of the broker (CONNACK): the fault, and its description.

The descriptions contain no host and no port, because ``state`` publishes them.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from paho.mqtt.client import WebsocketConnectionError

from agent.config import MqttConfig
from agent.config.tls_files import unverified_context
from agent.mqtt.reason_codes import BrokerProblem

_PROBE_TIMEOUT_S = 3.0
_NO_CONNACK = "the broker ended the connection before its answer (CONNACK)"


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    why: str
    problem: BrokerProblem = BrokerProblem.UNREACHABLE


NO_ANSWER = ConnectFailure("no answer")


def failure_of(error: Exception, *, tls: bool) -> ConnectFailure:
    """The failure for an error of TCP or TLS. ``tls``: the connection uses TLS."""
    match error:
        case ssl.SSLCertVerificationError():
            why = f"the broker's certificate is refused: {error.verify_message}"
            return ConnectFailure(why, BrokerProblem.CERTIFICATE)
        case ssl.SSLError():
            why = f"the TLS handshake failed: {error.reason or error}"
            return ConnectFailure(why, BrokerProblem.TLS)
        case socket.gaierror():
            return ConnectFailure(f"the host name has no address: {error.strerror}")
        case TimeoutError():
            return NO_ANSWER
        case WebsocketConnectionError():
            return ConnectFailure("no WebSocket at this port with mqtt.websocket_path")
        case ConnectionResetError() | BrokenPipeError() if (
            tls
        ):  # TCP was connected: a refusal has another error
            return ConnectFailure(f"the TLS handshake failed: {_os_reason(error)}", BrokerProblem.TLS)
        case OSError():
            return ConnectFailure(_os_reason(error))
        case _:
            return ConnectFailure(str(error))


def without_connack(config: MqttConfig) -> ConnectFailure:
    """The failure of a connection that the broker ended without a CONNACK. Blocks at most some seconds.

    A port that requires TLS ends a connection without TLS in this way; a TLS handshake without data shows it.
    """
    if not config.tls and _requires_tls(config):
        return ConnectFailure(f"{_NO_CONNACK}: the port requires TLS, and mqtt.tls is off", BrokerProblem.TLS)
    return ConnectFailure(_NO_CONNACK)


def _requires_tls(config: MqttConfig) -> bool:
    try:
        with socket.create_connection((config.host, config.port), _PROBE_TIMEOUT_S) as plain:
            unverified_context().wrap_socket(plain, server_hostname=config.host).close()
    except OSError:
        return False
    return True


def _os_reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
