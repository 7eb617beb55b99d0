"""The cells of the broker table, as ``test_matrix`` measured them; the test fails when one differs."""

from __future__ import annotations

from tests.broker_matrix.checks import CHECKS, NO, YES

_ALL_YES = dict.fromkeys(CHECKS, YES) | {"message expiry at the terminal": "kept"}
_RABBITMQ = _ALL_YES | {
    "retained `state` for a wildcard subscriber": NO,
    "message expiry at the terminal": "whole, rounded down",
    "shared subscriptions (`$share`)": NO,
}
EXPECTED: dict[str, dict[str, str]] = {
    "mosquitto 2.0": _ALL_YES,
    "mosquitto bridge": _ALL_YES | {'PUBACK reports "no subscriber"': NO},
    "demo (rumqttd)": _ALL_YES
    | {
        "request with the retain flag is refused": NO,
        "MQTT 3.1.1 till": NO,
        'PUBACK reports "no subscriber"': NO,
    },
    "RabbitMQ 4.0, one node": _RABBITMQ,
    "RabbitMQ 4.0, three nodes": _RABBITMQ | {"retained `state` for a new subscriber": NO},
}
