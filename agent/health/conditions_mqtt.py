"""Conditions of the connection to the broker. Without it they are seen in `facepay status` only."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

ROWS = (
    Condition(
        code="mqtt_unreachable",
        depends_on=(
            "certificate_ended",  # a broker ends the handshake without a word that could be shown
            "mqtt_client_id_taken",  # two that kick each other off are each away now and then
            "mqtt_message_not_taken",  # a broker that ends the connection after it
        ),
        visible_after_ms=5_000,  # a broker that is started again
    ),
    Condition(
        code="mqtt_refused",
    ),
    Condition(
        code="mqtt_banned",
    ),
    Condition(
        code="mqtt_protocol_refused",
    ),
    Condition(
        code="mqtt_client_id_refused",
    ),
    Condition(
        code="mqtt_broker_busy",
    ),
    Condition(
        code="mqtt_quota_exceeded",
    ),
    Condition(
        code="mqtt_broker_limits",
    ),
    Condition(
        code="mqtt_broker_moved",
    ),
    Condition(
        code="mqtt_broker_fault",
    ),
    Condition(
        code="mqtt_publish_refused",
        depends_on=("mqtt_refused",),
    ),
    Condition(
        code="mqtt_message_not_taken",
    ),
    Condition(
        code="mqtt_subscription_refused",
        depends_on=("mqtt_refused",),
    ),
    Condition(
        code="mqtt_client_id_taken",
    ),
    Condition(
        code="terminal_cloned",
    ),
    Condition(
        code="certificate_ends_soon",
        severity=Severity.WARNING,
    ),
    Condition(
        code="certificate_ends_this_week",
        severity=Severity.WARNING,
    ),
    Condition(
        code="certificate_ended",
    ),
)
