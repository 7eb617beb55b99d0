"""Every check `facepay doctor` knows, as data. The ids are stable; the order is that of the output."""

from __future__ import annotations

from agent.diagnostics.check import Check
from agent.diagnostics.checks import (
    agent,
    api,
    camera,
    certificate,
    config,
    model,
    mqtt,
    network,
    outbox,
    privacy,
    service,
    system,
)

LINT, STATUS = ("config.lint",), ("agent.status",)

CHECKS: tuple[Check, ...] = (
    Check("config.lint", "Config file", "配置文件", config.lint),
    Check("keys.files", "Secret files", "密钥文件", config.files, LINT),
    Check("keys.permissions", "Permissions", "文件权限", config.permissions, LINT),
    Check("agent.status", "Running agent", "运行中的服务", agent.status, LINT),
    Check("agent.conditions", "Its conditions", "服务状况", agent.conditions, STATUS),
    Check("service.state", "systemd unit", "系统服务", service.state),
    Check("model.integrity", "Face detector", "人脸检测模型", model.integrity, LINT, timeout_s=30.0),
    Check("camera.detect", "Camera", "摄像头", camera.detect, STATUS, timeout_s=15.0),
    Check("camera.frame", "Frames", "画面", camera.frame, ("camera.detect",), timeout_s=15.0),
    Check("camera.light", "Light", "光线", camera.light, ("camera.frame",), timeout_s=15.0),
    Check("camera.focus", "Focus", "对焦", camera.focus, ("camera.frame",), timeout_s=15.0),
    Check("sys.power", "Power supply", "电源", system.power),
    Check("sys.thermal", "Temperature", "温度", system.thermal),
    Check("sys.disk", "Disk", "磁盘", system.disk, LINT),
    Check("sys.memory", "Memory", "内存", system.memory),
    Check("sys.clock", "Clock", "系统时间", system.clock),
    Check("net.dns", "API's name", "域名解析", network.dns, LINT),
    Check("net.tcp", "API's port", "网络连接", network.tcp, ("net.dns",)),
    Check("api.clock", "API's clock", "与接口的时差", api.clock, ("net.tcp", "sys.clock")),
    Check("net.tls", "API's certificate", "接口证书", network.tls, ("net.tcp", "api.clock")),
    Check("api.latency", "API's answer time", "接口响应时间", api.latency, ("net.tls",)),
    Check("api.auth", "API's word on our key", "接口密钥", api.auth, ("api.latency",), 15.0),
    Check("mqtt.certificate", "Terminal's certificate", "终端证书", certificate.own, LINT),
    Check("mqtt.tls", "Broker's certificate", "MQTT 服务器证书", mqtt.tls, ("mqtt.certificate",), 20.0),
    Check("mqtt.connect", "Broker", "MQTT 连接", mqtt.reach, (*STATUS, "mqtt.tls"), 20.0),
    Check("mqtt.roundtrip", "Broker's rights", "MQTT 收发", mqtt.roundtrip, ("mqtt.connect",), 20.0),
    Check("outbox.state", "Outbox", "发件箱", outbox.state, LINT),
    Check("privacy.audit", "Data at rest", "本机留存数据", privacy.at_rest, ("keys.permissions",), 20.0),
)
