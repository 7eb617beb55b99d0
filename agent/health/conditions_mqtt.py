"""Conditions of the broker connection. While the terminal is offline, only local commands show these."""

from agent.health.condition import Condition, Severity

MQTT_REFUSED = Condition(code="mqtt_refused")
MQTT_BANNED = Condition(code="mqtt_banned")
MQTT_PROTOCOL_REFUSED = Condition(code="mqtt_protocol_refused")
MQTT_CLIENT_ID_REFUSED = Condition(code="mqtt_client_id_refused")
MQTT_BROKER_BUSY = Condition(code="mqtt_broker_busy")
MQTT_QUOTA_EXCEEDED = Condition(code="mqtt_quota_exceeded")
MQTT_BROKER_LIMITS = Condition(code="mqtt_broker_limits")
MQTT_BROKER_MOVED = Condition(code="mqtt_broker_moved")
MQTT_BROKER_FAULT = Condition(code="mqtt_broker_fault")
MQTT_PUBLISH_REFUSED = Condition(code="mqtt_publish_refused", depends_on=(MQTT_REFUSED,))
MQTT_MESSAGE_NOT_TAKEN = Condition(code="mqtt_message_not_taken")
MQTT_SUBSCRIPTION_REFUSED = Condition(code="mqtt_subscription_refused", depends_on=(MQTT_REFUSED,))
MQTT_CLIENT_ID_TAKEN = Condition(code="mqtt_client_id_taken")
TERMINAL_CLONED = Condition(code="terminal_cloned")
CERTIFICATE_ENDS_SOON = Condition(code="certificate_ends_soon", severity=Severity.WARNING)
CERTIFICATE_ENDS_THIS_WEEK = Condition(code="certificate_ends_this_week", severity=Severity.WARNING)
CERTIFICATE_ENDED = Condition(code="certificate_ended")
MQTT_CERTIFICATE_REFUSED = Condition(code="mqtt_certificate_refused")
MQTT_TLS_FAILED = Condition(
    code="mqtt_tls_failed",
    depends_on=(CERTIFICATE_ENDED,),
    visible_after_ms=5_000,  # a broker that starts may end a connection
)
MQTT_UNREACHABLE = Condition(
    code="mqtt_unreachable",
    depends_on=(
        CERTIFICATE_ENDED,  # the broker ends the TLS handshake without a reason that could be shown
        MQTT_CLIENT_ID_TAKEN,  # two clients with one id disconnect each other again and again
        MQTT_MESSAGE_NOT_TAKEN,  # a broker may disconnect after such a message
    ),
    visible_after_ms=5_000,  # a broker restarts
)
