"""All checks of `facepay doctor`. The ids are stable; the order is the order of the output."""

from agent.diagnostics.check import Check
from agent.diagnostics.checks import agent, camera, config, display, mqtt, network, stored, system, tls

LINT, STATUS = ("config.lint",), ("agent.status",)
# Checks that load modules and models, and read files: a board with other work needs long and has no fault.
LOCAL_S = 60.0

CHECKS: tuple[Check, ...] = (
    Check("config.lint", config.lint, timeout_s=LOCAL_S),
    Check("keys.files", config.files, LINT),
    Check("keys.tills", config.tills, LINT),
    Check("keys.permissions", config.permissions, LINT),
    Check("agent.status", agent.status, LINT),
    Check("agent.conditions", agent.conditions, STATUS),
    Check("service.state", agent.unit),
    Check("model.integrity", stored.model, LINT, LOCAL_S),
    Check("camera.detect", camera.detect, STATUS, timeout_s=15.0),
    Check("camera.frame", camera.frame, ("camera.detect",), timeout_s=15.0),
    Check("camera.speed", camera.speed, (*STATUS, "model.integrity"), LOCAL_S),
    Check("camera.light", camera.light, ("camera.frame",), timeout_s=15.0),
    Check("camera.focus", camera.focus, ("camera.frame",), timeout_s=15.0),
    Check("camera.mounting", camera.mounting, ("camera.frame", "model.integrity"), timeout_s=15.0),
    Check("display.browser", display.connected, STATUS),
    Check("sys.power", system.power),
    Check("sys.thermal", system.thermal),
    Check("sys.disk", system.disk, LINT),
    Check("sys.memory", system.memory),
    Check("sys.clock", system.clock),
    Check("sys.upgrades", system.upgrades),
    Check("net.dns", network.dns, LINT),
    Check("net.tcp", network.tcp, ("net.dns",)),
    Check("api.clock", network.clock, ("net.tcp", "sys.clock")),
    Check("net.tls", network.tls, ("net.tcp", "api.clock")),
    # with a wrong clock, or without a network, api.clock or net.tcp is the cause
    Check("net.photos", network.photos, ("api.clock",), 30.0),
    Check("api.latency", network.latency, ("net.tls",)),
    Check("api.auth", network.auth, ("api.latency",), 15.0),
    Check("mqtt.certificate", tls.own_certificate, LINT),
    Check("mqtt.tls", mqtt.tls, ("mqtt.certificate", "sys.clock"), 20.0),
    Check("mqtt.connect", mqtt.connection, (*STATUS, "mqtt.tls"), 20.0),
    Check("mqtt.roundtrip", mqtt.roundtrip, ("mqtt.connect",), 20.0),
    Check("outbox.state", stored.outbox, LINT),
    Check("privacy.audit", stored.privacy, ("keys.permissions",), 20.0),
)
